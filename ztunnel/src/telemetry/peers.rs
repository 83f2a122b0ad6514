//! Labels of workloads, made once per deployment and node.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use daemon::metrics::Peer;
use identity::SpiffeId;
use mesh::{HostNode, Profile, Workload};

use crate::telemetry::End;

/// Labels by what they are made of.
#[derive(Debug, Default)]
pub(super) struct Peers(RefCell<HashMap<Key, Known, foldhash::fast::RandomState>>);

/// Profiles and nodes are shared by all workloads that have them, so their places in memory tell them apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    profile: usize,
    node: usize,
    /// The workload's own name, where its profile has none.
    name: Option<Arc<str>>,
    identity: Option<SpiffeId>,
}

/// Labels, with what keeps the places in memory from being used again.
#[derive(Debug)]
struct Known {
    peer: Arc<Peer>,
    _profile: Arc<Profile>,
    _node: Arc<HostNode>,
}

impl Peers {
    /// The labels of that end.
    pub(super) fn of(&self, end: &End) -> Arc<Peer> {
        let Some(workload) = &end.workload else {
            return Arc::new(Peer { principal: principal(end.identity.as_ref()), ..Peer::default() });
        };
        let (profile, node) = (&workload.profile, &workload.node);
        let key = Key {
            profile: place(profile),
            node: place(node),
            name: profile.workload_name.is_empty().then(|| workload.name.clone()),
            identity: end.identity.clone(),
        };
        if let Some(known) = self.0.borrow().get(&key) {
            return known.peer.clone();
        }
        let peer = Arc::new(labels(workload, end.identity.as_ref()));
        let mut all = self.0.borrow_mut();
        if all.len() >= MAX_PEERS {
            all.clear();
        }
        all.insert(key, Known { peer: peer.clone(), _profile: profile.clone(), _node: node.clone() });
        peer
    }
}

fn labels(workload: &Workload, identity: Option<&SpiffeId>) -> Peer {
    let (profile, node) = (&workload.profile, &workload.node);
    Peer {
        workload: workload.telemetry_name().clone(),
        namespace: profile.namespace.clone(),
        principal: principal(identity),
        app: profile.app.clone(),
        version: profile.version.clone(),
        cluster: profile.cluster.0.clone(),
        region: node.locality.region.clone(),
        zone: node.locality.zone.clone(),
        canonical_service: profile.canonical_name.clone(),
        canonical_revision: profile.canonical_revision.clone(),
    }
}

fn principal(identity: Option<&SpiffeId>) -> Arc<str> {
    identity.map(SpiffeId::shared).unwrap_or_default()
}

fn place<T>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared).addr()
}

/// Labels kept per worker. Each keeps a profile and a node from being freed, so it is emptied rather than grown.
const MAX_PEERS: usize = 4096;
