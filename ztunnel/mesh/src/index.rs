//! What a snapshot's maps hold, and by what it is found.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use identity::SpiffeId;
use smallvec::SmallVec;

use crate::map::{Keyed, Map};
use crate::snapshot::Indexed;
use crate::{
    HostNode, NamespaceSettings, Network, NetworkGateway, NetworkPolicy, PodUid, ServiceKey, Workload,
    WorkloadUid,
};

/// A workload, found by its uid.
#[derive(Clone, Debug)]
pub(crate) struct ByUid(pub(crate) Arc<Workload>);

/// A pod, found by Kubernetes' uid of it.
#[derive(Clone, Debug)]
pub(crate) struct ByPodUid(pub(crate) Arc<Workload>);

/// On which networks workloads that somebody wrote down have an identity, and how many on each.
#[derive(Clone, Debug)]
pub(crate) struct Residence {
    identity: SpiffeId,
    networks: SmallVec<[(Network, usize); 1]>,
}

/// Who claims something that is to be one's alone, best first.
#[derive(Clone, Debug)]
pub(crate) struct Claims<K, T> {
    key: K,
    by: SmallVec<[Arc<T>; 1]>,
}

impl<K: Clone + Eq + Hash, T: Clone> Map<Claims<K, T>> {
    /// Those who claim it.
    pub(crate) fn claims(&self, key: &K) -> &[Arc<T>] {
        self.get(key).map(|claims| claims.by.as_slice()).unwrap_or_default()
    }

    /// Adds a claim behind others, then has `order` put them in order.
    pub(crate) fn claim(&mut self, key: &K, claim: Arc<T>, order: impl FnOnce(&mut [Arc<T>])) {
        let mut by = self.get(key).map(|claims| claims.by.clone()).unwrap_or_default();
        by.push(claim);
        order(&mut by);
        let claims = Claims { key: key.clone(), by };
        self.insert(key, claims);
    }

    /// Takes claims back.
    pub(crate) fn unclaim(&mut self, key: &K, mine: impl Fn(&T) -> bool) {
        let Some(mut claims) = self.remove(key) else { return };
        claims.by.retain(|claim| !mine(claim));
        if !claims.by.is_empty() {
            self.insert(key, claims);
        }
    }
}

impl Map<Residence> {
    /// Adds a workload.
    pub(crate) fn settle(&mut self, identity: SpiffeId, network: &Network) {
        let known = self.get(&identity).cloned();
        let mut residence = known.unwrap_or_else(|| Residence { identity, networks: SmallVec::new() });
        match residence.networks.iter_mut().find(|(known, _)| known == network) {
            Some((_, count)) => *count += 1,
            None => residence.networks.push((network.clone(), 1)),
        }
        let identity = residence.identity.clone();
        self.insert(&identity, residence);
    }

    /// Takes one out.
    pub(crate) fn unsettle(&mut self, identity: &SpiffeId, network: &Network) {
        let Some(mut residence) = self.remove(identity) else { return };
        residence.networks.retain(|(known, count)| {
            *count -= usize::from(known == network);
            *count > 0
        });
        if !residence.networks.is_empty() {
            self.insert(identity, residence);
        }
    }
}

impl Residence {
    /// Whether there is one on another network than that.
    pub(crate) fn is_beyond(&self, network: &Network) -> bool {
        self.networks.iter().any(|(known, _)| known != network)
    }
}

impl Keyed for Residence {
    type Key = SpiffeId;

    fn is(&self, key: &SpiffeId) -> bool {
        self.identity == *key
    }
}

impl Keyed for Arc<NetworkGateway> {
    type Key = str;

    fn is(&self, key: &str) -> bool {
        &*self.key == key
    }
}

impl Keyed for ByUid {
    type Key = WorkloadUid;

    fn is(&self, key: &WorkloadUid) -> bool {
        self.0.uid == *key
    }
}

impl Keyed for ByPodUid {
    type Key = PodUid;

    fn is(&self, key: &PodUid) -> bool {
        self.0.pod_uid.as_ref() == Some(key)
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Keyed for Claims<K, T> {
    type Key = K;

    fn is(&self, key: &K) -> bool {
        self.key == *key
    }
}

impl Keyed for Arc<Indexed> {
    type Key = ServiceKey;

    fn is(&self, key: &ServiceKey) -> bool {
        self.service().key == *key
    }
}

impl Keyed for Arc<HostNode> {
    type Key = str;

    fn is(&self, key: &str) -> bool {
        &*self.name == key
    }
}

impl Keyed for (IpAddr, Arc<HostNode>) {
    type Key = IpAddr;

    fn is(&self, key: &IpAddr) -> bool {
        self.0 == *key
    }
}

impl Keyed for Arc<NamespaceSettings> {
    type Key = str;

    fn is(&self, key: &str) -> bool {
        &*self.name == key
    }
}

impl Keyed for Arc<NetworkPolicy> {
    type Key = str;

    fn is(&self, key: &str) -> bool {
        &*self.key == key
    }
}
