//! By what connections are found when something changes that may concern them.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use authz::Touched;
use foldhash::fast::RandomState;
use mesh::{Capture, ChangeSet, Hostname, PodUid, Snapshot, Workload, WorkloadUid};

use super::{Entry, Grounds, Peers, What};
use crate::decision::Departure;

/// Places in the list.
pub(super) type Keys = HashSet<usize, RandomState>;

/// Connections and tunnels, by what may change about them.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    /// What comes in, by the pod that it reaches.
    inbound: Index<PodUid>,
    /// What goes out, by the pod that opened it.
    outbound: Index<PodUid>,
    /// What comes in, by the workload that it comes from.
    by_peer: Index<WorkloadUid>,
    /// What comes in, by the address that it comes from: who is there may become known later.
    by_source: Index<IpAddr>,
    /// What goes out, by the workload that receives it.
    by_receiver: Index<WorkloadUid>,
    /// What goes out, by the address that it reaches.
    by_destination: Index<IpAddr>,
    /// What goes out, by the names of services that let it.
    by_host: Index<Hostname>,
    /// What goes out to other networks.
    crossings: Keys,
    /// Peers' tunnels that gateways bring: whether one may be is for entries on other networks to say.
    beyond: Keys,
}

/// What is found by one thing that it has.
#[derive(Debug)]
struct Index<K>(HashMap<K, Keys, RandomState>);

impl Indexes {
    pub(super) fn add(&mut self, key: usize, entry: &Entry) {
        match entry.is_outbound() {
            true => self.outbound.add(entry.pod.clone(), key),
            false => self.inbound.add(entry.pod.clone(), key),
        }
        if let Some(peer) = &entry.peer {
            self.by_peer.add(peer.clone(), key);
        }
        if let Some(source) = entry.source() {
            self.by_source.add(source, key);
        }
        if let What::Connection { grounds: Grounds::Outbound(departure), .. } = &entry.what {
            self.add_departure(key, departure);
        }
        if let What::Connection { grounds: Grounds::Remote(crossing), .. } = &entry.what {
            self.by_host.add(crossing.service.hostname.clone(), key);
            self.crossings.insert(key);
        }
        if let What::Tunnel { is_beyond: true, .. } = &entry.what {
            self.beyond.insert(key);
        }
    }

    pub(super) fn remove(&mut self, key: usize, entry: &Entry) {
        match entry.is_outbound() {
            true => self.outbound.remove(&entry.pod, key),
            false => self.inbound.remove(&entry.pod, key),
        }
        if let Some(peer) = &entry.peer {
            self.by_peer.remove(peer, key);
        }
        if let Some(source) = entry.source() {
            self.by_source.remove(&source, key);
        }
        if let What::Connection { grounds: Grounds::Outbound(departure), .. } = &entry.what {
            self.remove_departure(key, departure);
        }
        if let What::Connection { grounds: Grounds::Remote(crossing), .. } = &entry.what {
            self.by_host.remove(&crossing.service.hostname, key);
            self.crossings.remove(&key);
        }
        if let What::Tunnel { is_beyond: true, .. } = &entry.what {
            self.beyond.remove(&key);
        }
    }

    pub(super) fn add_departure(&mut self, key: usize, departure: &Departure) {
        self.by_destination.add(departure.reached.ip(), key);
        if let Some(receiver) = &departure.receiver {
            self.by_receiver.add(receiver.clone(), key);
        }
        for host in hosts(departure) {
            self.by_host.add(host, key);
        }
    }

    pub(super) fn remove_departure(&mut self, key: usize, departure: &Departure) {
        self.by_destination.remove(&departure.reached.ip(), key);
        if let Some(receiver) = &departure.receiver {
            self.by_receiver.remove(receiver, key);
        }
        for host in hosts(departure) {
            self.by_host.remove(&host, key);
        }
    }

    /// Everything of a pod.
    pub(super) fn of_pod(&self, pod: &PodUid) -> impl Iterator<Item = usize> {
        self.inbound.of(pod).chain(self.outbound.of(pod))
    }

    /// What comes in to a pod.
    pub(super) fn inbound_of(&self, pod: &PodUid) -> impl Iterator<Item = usize> {
        self.inbound.of(pod)
    }

    /// What comes from a workload.
    pub(super) fn of_peer(&self, peer: &WorkloadUid) -> impl Iterator<Item = usize> {
        self.by_peer.of(peer)
    }

    /// What comes from peers.
    pub(super) fn of_peers(&self, peers: Peers<'_>) -> Keys {
        match peers {
            Peers::All => self.by_source.0.values().flatten().copied().collect(),
            Peers::Beyond => self.beyond.clone(),
            Peers::Of { workload, addresses } => {
                let there = addresses.iter().flat_map(|address| self.by_source.of(address));
                there.chain(self.by_peer.of(workload)).collect()
            }
        }
    }

    /// What a change may concern: of pods of this node, whose policies, labels, identities or namespaces changed; what
    /// comes from or goes to workloads and nodes that changed; what goes to workloads whose policies changed; and what
    /// services let out that changed.
    pub(super) fn concerned(&self, changes: &ChangeSet, snapshot: &Snapshot) -> Keys {
        let mut keys = Keys::default();
        let pod = |uid: &PodUid| snapshot.workload_by_pod_uid(uid);
        let receiver = |uid: &WorkloadUid| snapshot.workload(uid);
        self.inbound.gather(&mut keys, |uid| pod(uid).is_some_and(|it| concerns_receiver(changes, it)));
        self.outbound.gather(&mut keys, |uid| pod(uid).is_some_and(|it| concerns_sender(changes, it)));
        if !changes.policies.is_empty() {
            let touched = |it: &Arc<Workload>| it.capture != Capture::Off && touches(&changes.policies, it);
            self.by_receiver.gather(&mut keys, |uid| receiver(uid).is_some_and(touched));
        }
        for uid in &changes.workloads {
            keys.extend(self.by_peer.of(uid).chain(self.by_receiver.of(uid)));
            let addresses = receiver(uid).into_iter().flat_map(|workload| &workload.addresses);
            keys.extend(addresses.flat_map(|address| self.by_destination.of(address)));
            if !self.crossings.is_empty() {
                let services = receiver(uid).into_iter().flat_map(|workload| workload.services.iter());
                keys.extend(services.flat_map(|service| self.by_host.of(&service.hostname)));
            }
        }
        if !changes.gateways.is_empty() {
            keys.extend(&self.crossings);
        }
        for service in &changes.services {
            keys.extend(self.by_host.of(&service.hostname));
        }
        for address in &changes.node_addresses {
            // Whoever comes from a node's address is known as such, and nodes may be reached.
            keys.extend(self.by_source.of(address).chain(self.by_destination.of(address)));
        }
        keys
    }
}

/// The names of services that may let a connection out.
fn hosts(departure: &Departure) -> impl Iterator<Item = Hostname> {
    let by_name = departure.name.iter().flat_map(|name| Hostname::covering(name));
    by_name.chain(departure.service.clone())
}

/// Whether a change may concern what decides about connections to a workload.
fn concerns_receiver(changes: &ChangeSet, workload: &Workload) -> bool {
    let isolates = |key: &Arc<str>| workload.profile.network_membership.isolated_by.contains(key);
    changes.resync
        || changes.workloads.contains(&workload.uid)
        || changes.network_policies.iter().any(isolates)
        || touches(&changes.policies, workload)
}

/// Whether a change may concern what decides about connections that a workload opened, wherever they go.
fn concerns_sender(changes: &ChangeSet, workload: &Workload) -> bool {
    changes.resync
        || changes.workloads.contains(&workload.uid)
        || changes.namespaces.contains(&workload.profile.namespace)
}

/// Whether changed policies concern a workload.
fn touches(policies: &[Touched], workload: &Workload) -> bool {
    let selected = |policy: &authz::PolicyName| {
        let names = |named: &Arc<str>| named.split_once('/') == Some((&*policy.namespace, &*policy.name));
        workload.profile.policies.iter().any(names)
    };
    policies.iter().any(|touched| match touched {
        Touched::Everything => true,
        Touched::Namespace(namespace) => *namespace == workload.profile.namespace,
        Touched::Selected(policy) => selected(policy),
    })
}

impl<K: Hash + Eq> Index<K> {
    fn add(&mut self, name: K, key: usize) {
        self.0.entry(name).or_default().insert(key);
    }

    fn remove(&mut self, name: &K, key: usize) {
        if let Some(keys) = self.0.get_mut(name) {
            keys.remove(&key);
            if keys.is_empty() {
                self.0.remove(name);
            }
        }
    }

    fn of(&self, name: &K) -> impl Iterator<Item = usize> {
        self.0.get(name).into_iter().flatten().copied()
    }

    /// Adds what is found by names that will do.
    fn gather(&self, keys: &mut Keys, will_do: impl Fn(&K) -> bool) {
        let found = self.0.iter().filter(|(name, _)| will_do(name));
        keys.extend(found.flat_map(|(_, found)| found));
    }
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}
