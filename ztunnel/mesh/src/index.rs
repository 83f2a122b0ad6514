//! What a snapshot's maps hold, and by what it is found.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::map::{Keyed, Map};
use crate::snapshot::Indexed;
use crate::{HostNode, NamespaceSettings, NetworkPolicy, PodUid, ServiceKey, Workload, WorkloadUid};

/// A workload, found by its uid.
#[derive(Clone, Debug)]
pub(crate) struct ByUid(pub(crate) Arc<Workload>);

/// A pod, found by Kubernetes' uid of it.
#[derive(Clone, Debug)]
pub(crate) struct ByPodUid(pub(crate) Arc<Workload>);

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
