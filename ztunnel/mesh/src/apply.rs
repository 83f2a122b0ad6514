//! Makes the next snapshot out of the current one and an update.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use authz::{Policy, PolicyName};

use crate::index::{ByPodUid, ByUid};
use crate::select::Picks;
use crate::snapshot::Indexed;
use crate::{
    Capture, Change, ChangeSet, HostNode, NamespaceSettings, NetworkAddress, NetworkGateway, NetworkPolicy,
    Profile, Service, ServiceKey, Snapshot, TunnelProtocol, Update, Workload, WorkloadKind, WorkloadUid,
};

/// The next snapshot while it is made.
pub(crate) struct Writer {
    next: Snapshot,
    changes: ChangeSet,
}

impl Writer {
    pub(crate) fn new(current: &Snapshot) -> Self {
        let mut next = current.clone();
        next.generation += 1;
        let changes = ChangeSet { generation: next.generation, ..ChangeSet::default() };
        Self { next, changes }
    }

    pub(crate) fn apply(&mut self, update: Update) {
        let update = if update.replace { self.with_removals(update) } else { update };
        for change in update.nodes {
            self.node(change);
        }
        for change in update.namespaces {
            self.namespace(change);
        }
        for change in update.policies {
            self.policy(change);
        }
        for change in update.network_policies {
            self.network_policy(change);
        }
        for change in update.gateways {
            self.gateway(change);
        }
        for change in update.workloads {
            self.workload(change);
        }
        for change in update.services {
            self.service(change);
        }
    }

    pub(crate) fn finish(self) -> (Snapshot, ChangeSet) {
        (self.next, self.changes)
    }

    /// Spells out what a full replacement removes by not naming it. Removals come first: an address may pass from an
    /// object that goes to one that comes.
    fn with_removals(&self, mut update: Update) -> Update {
        fn removals<K: Clone + Eq + std::hash::Hash, V>(
            known: impl Iterator<Item = K>,
            changes: &mut Vec<Change<K, V>>,
            key: impl Fn(&V) -> K,
        ) {
            let named: HashSet<K> = changes
                .iter()
                .filter_map(|change| match change {
                    Change::Upsert(value) => Some(key(value)),
                    Change::Remove(_) => None,
                })
                .collect();
            let gone: Vec<_> = known.filter(|known| !named.contains(known)).map(Change::Remove).collect();
            changes.splice(0..0, gone);
        }
        let now = &self.next;
        removals(now.nodes.iter().map(|node| node.name.clone()), &mut update.nodes, |node| node.name.clone());
        removals(now.namespaces.iter().map(|it| it.name.clone()), &mut update.namespaces, |settings| {
            settings.name.clone()
        });
        removals(now.policies.iter().map(|policy| policy.name.clone()), &mut update.policies, |p| {
            p.name.clone()
        });
        removals(
            now.network_policies.iter().map(|policy| policy.key.clone()),
            &mut update.network_policies,
            |policy| policy.key.clone(),
        );
        removals(now.gateways.iter().map(|gateway| gateway.key.clone()), &mut update.gateways, |gateway| {
            gateway.key.clone()
        });
        removals(now.workloads().map(|workload| workload.uid.clone()), &mut update.workloads, |workload| {
            workload.uid.clone()
        });
        removals(now.services().map(|service| service.key.clone()), &mut update.services, |service| {
            service.key.clone()
        });
        update
    }

    fn workload(&mut self, change: Change<WorkloadUid, Workload>) {
        let uid = match &change {
            Change::Remove(uid) => uid.clone(),
            Change::Upsert(workload) => workload.uid.clone(),
        };
        let known = self.next.workload(&uid).cloned();
        match (known, change) {
            (None, Change::Remove(_)) => return,
            (Some(known), Change::Upsert(workload)) if *known == workload => return,
            (Some(known), Change::Remove(_)) => {
                self.forget_workload(&known);
                self.forget_picks(Some(&known), None);
            }
            (known, Change::Upsert(workload)) => {
                if let Some(known) = &known {
                    self.forget_workload(known);
                }
                let workload = Arc::new(workload);
                self.index_workload(&workload);
                self.forget_picks(known.as_deref(), Some(&workload));
            }
        }
        self.changes.workloads.push(uid);
    }

    /// Has what is worked out for services worked out anew, where it depends on what changed of an endpoint of theirs.
    fn forget_picks(&mut self, old: Option<&Workload>, new: Option<&Workload>) {
        let weighs = |workload: Option<&Workload>| usize::from(workload.is_some_and(|it| it.weight != 1));
        self.next.weights = self.next.weights + weighs(new) - weighs(old);
        for key in [old, new].into_iter().flatten().flat_map(|workload| workload.services.iter()) {
            let Some(indexed) = self.next.services.get(key) else { continue };
            // Even if nothing is worked out yet: a reader of an older snapshot may be about to, in the shared entry.
            if Picks::depend_on(indexed.service(), old, new) {
                let anew = Indexed::new(indexed.service().clone());
                self.next.services.insert(key, Arc::new(anew));
            }
        }
    }

    fn index_workload(&mut self, workload: &Arc<Workload>) {
        if let Some(pod) = &workload.pod_uid {
            self.next.pods.insert(pod, ByPodUid(workload.clone()));
        }
        for address in addresses(workload) {
            self.next.addresses.claim(&address, workload.clone(), |claims| {
                claims.sort_by_cached_key(|claim| rank(claim));
            });
        }
        for socket in host_sockets(workload) {
            self.next.host_sockets.claim(&socket, workload.clone(), |claims| {
                claims.sort_by_cached_key(|claim| rank(claim));
            });
        }
        if let Some(identity) = entry_identity(workload) {
            self.next.residences.settle(identity, &workload.profile.network);
        }
        self.next.workloads.insert(&workload.uid, ByUid(workload.clone()));
    }

    fn forget_workload(&mut self, workload: &Workload) {
        if let Some(pod) = &workload.pod_uid {
            self.next.pods.remove(pod);
        }
        for address in addresses(workload) {
            self.next.addresses.unclaim(&address, |claim| claim.uid == workload.uid);
        }
        for socket in host_sockets(workload) {
            self.next.host_sockets.unclaim(&socket, |claim| claim.uid == workload.uid);
        }
        if let Some(identity) = entry_identity(workload) {
            self.next.residences.unsettle(&identity, &workload.profile.network);
        }
        self.next.workloads.remove(&workload.uid);
    }

    fn service(&mut self, change: Change<ServiceKey, Service>) {
        let key = match &change {
            Change::Remove(key) => key.clone(),
            Change::Upsert(service) => service.key.clone(),
        };
        let known = self.next.service(&key).cloned();
        match (known, change) {
            (None, Change::Remove(_)) => return,
            (Some(known), Change::Upsert(service)) if *known == service => return,
            (Some(known), Change::Remove(_)) => self.forget_service(&known),
            (known, Change::Upsert(service)) => {
                if let Some(known) = known {
                    self.forget_service(&known);
                }
                self.index_service(&Arc::new(service));
            }
        }
        self.changes.services.push(key);
    }

    fn index_service(&mut self, service: &Arc<Service>) {
        for address in &service.addresses {
            self.next.vips.claim(address, service.clone(), |_| ());
        }
        self.next.ranges.insert(service);
        self.next.hostnames.claim(&service.key.hostname, service.clone(), |_| ());
        self.next.services.insert(&service.key, Arc::new(Indexed::new(service.clone())));
    }

    fn forget_service(&mut self, service: &Service) {
        for address in &service.addresses {
            self.next.vips.unclaim(address, |claim| claim.key == service.key);
        }
        self.next.ranges.remove(service);
        self.next.hostnames.unclaim(&service.key.hostname, |claim| claim.key == service.key);
        self.next.services.remove(&service.key);
    }

    fn policy(&mut self, change: Change<PolicyName, Policy>) {
        let touched = match change {
            Change::Remove(name) => self.next.policies.remove(&name),
            Change::Upsert(policy) => self.next.policies.insert(policy),
        };
        for concerned in touched {
            if !self.changes.policies.contains(&concerned) {
                self.changes.policies.push(concerned);
            }
        }
    }

    fn network_policy(&mut self, change: Change<Arc<str>, NetworkPolicy>) {
        let (key, policy) = match change {
            Change::Remove(key) => (key, None),
            Change::Upsert(policy) => (policy.key.clone(), Some(policy)),
        };
        if self.next.network_policies.get(&key).map(|known| &**known) == policy.as_ref() {
            return;
        }
        match policy {
            None => self.next.network_policies.remove(&key),
            Some(policy) => self.next.network_policies.insert(&key, Arc::new(policy)),
        };
        self.changes.network_policies.push(key);
    }

    fn gateway(&mut self, change: Change<Arc<str>, NetworkGateway>) {
        let (key, gateway) = match change {
            Change::Remove(key) => (key, None),
            Change::Upsert(gateway) => (gateway.key.clone(), Some(Arc::new(gateway))),
        };
        let known = self.next.gateways.get(&key).cloned();
        if known == gateway {
            return;
        }
        if let Some(known) = known {
            self.next.gateways_of.unclaim(&known.network, |claim| claim.key == key);
            self.next.gateways.remove(&key);
        }
        if let Some(gateway) = gateway {
            self.next.gateways_of.claim(&gateway.network, gateway.clone(), |claims| {
                claims.sort_by(|one, other| one.key.cmp(&other.key));
            });
            self.next.gateways.insert(&key, gateway);
        }
        self.changes.gateways.push(key);
    }

    fn namespace(&mut self, change: Change<Arc<str>, NamespaceSettings>) {
        let (name, changed) = match change {
            Change::Remove(name) => {
                let known = self.next.namespaces.remove(&name).is_some();
                (name, known)
            }
            Change::Upsert(settings) => {
                let name = settings.name.clone();
                let same = self.next.namespaces.get(&name).is_some_and(|known| **known == settings);
                self.next.namespaces.insert(&name, Arc::new(settings));
                (name, !same)
            }
        };
        if changed {
            self.changes.namespaces.push(name);
        }
    }

    fn node(&mut self, change: Change<Arc<str>, HostNode>) {
        let (name, node) = match change {
            Change::Remove(name) => (name, None),
            Change::Upsert(node) => (node.name.clone(), Some(Arc::new(node))),
        };
        let known = self.next.nodes.get(&name).cloned();
        if known == node {
            return;
        }
        let addresses = |of: &Option<Arc<HostNode>>| {
            of.iter().flat_map(|node| node.addresses.iter().copied()).collect::<HashSet<_>>()
        };
        let moved = addresses(&known).symmetric_difference(&addresses(&node)).copied().collect::<Vec<_>>();
        self.changes.node_addresses.extend(moved);
        for address in known.iter().flat_map(|known| &known.addresses) {
            if self.next.node_by_address(*address).is_some_and(|owner| owner.name == name) {
                self.next.node_addresses.remove(address);
            }
        }
        match node {
            None => {
                self.next.nodes.remove(&name);
            }
            Some(node) => {
                for address in &node.addresses {
                    self.next.node_addresses.insert(address, (*address, node.clone()));
                }
                self.next.nodes.insert(&name, node);
            }
        }
        self.changes.nodes.push(name);
    }
}

/// The identity of a workload that somebody wrote down.
fn entry_identity(workload: &Workload) -> Option<identity::SpiffeId> {
    // Pods are most of them, and making an identity costs an allocation.
    if workload.profile.kind == WorkloadKind::Entry { workload.identity() } else { None }
}

/// The addresses that a workload is found by.
fn addresses(workload: &Workload) -> impl Iterator<Item = NetworkAddress> {
    let own = if workload.profile.host_network { &[][..] } else { workload.addresses.as_slice() };
    own.iter().map(|ip| NetworkAddress::new(workload.profile.network.clone(), *ip))
}

/// The ports of its node that a workload in its node's network is found by.
fn host_sockets(workload: &Workload) -> impl Iterator<Item = (IpAddr, u16)> {
    let Profile { host_network, native_ports, .. } = &*workload.profile;
    let ports = if *host_network { &**native_ports } else { &[] };
    ports.iter().flat_map(|port| workload.addresses.iter().map(|ip| (*ip, *port)))
}

/// Order of those who claim one address, or one port of a node: pods that speak HBONE, other pods, the rest; those that terminate last of
/// their kind, since a successor may have their address already. The uid settles the rest.
fn rank(workload: &Workload) -> (Reverse<bool>, Reverse<bool>, bool, WorkloadUid) {
    let pod = workload.profile.kind != WorkloadKind::Entry;
    let hbone = workload.profile.protocol == TunnelProtocol::Hbone && workload.capture != Capture::Off;
    (Reverse(pod), Reverse(pod && hbone), workload.terminating, workload.uid.clone())
}
