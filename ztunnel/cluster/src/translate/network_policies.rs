//! NetworkPolicies: who may reach which port of a pod, and whether tunnels reach it at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use mesh::{IngressRule, NetworkMembership, NetworkPeer, NetworkPolicy, NetworkPort};

use super::ignored::is_network_policy;
use super::names;
use super::namespaces::{Namespaces, invalid};
use super::note::{Notes, Remark};
use super::selectors::Namespaced;
use crate::objects::{
    Labels, NetworkPolicyIngress, NetworkPolicyPeer, NetworkPolicyPort, ObjectRef, Objects, Pod, PortRef,
    Protocol,
};

/// The NetworkPolicies of the cluster.
#[derive(Debug, Default)]
pub(super) struct NetworkPolicies {
    /// Those with ingress rules.
    policies: Vec<NetworkPolicy>,
    /// Of all, whatever they are about: whether any selects a pod.
    all: Namespaced<()>,
    /// There are policies for the whole cluster, which are not read: any pod may be selected.
    cluster_wide: bool,
    /// Those with ingress rules, by their place.
    isolating: Namespaced<usize>,
    /// Peers of rules.
    groups: Namespaced<Arc<str>>,
    enforced: bool,
}

/// One policy while it is read.
struct Reading<'a> {
    key: Arc<str>,
    namespace: &'a Arc<str>,
    namespaces: &'a Namespaces<'a>,
    reference: ObjectRef,
    groups: &'a mut Namespaced<Arc<str>>,
    /// Counts its groups.
    peers: usize,
    notes: &'a mut Notes,
}

impl NetworkPolicies {
    pub(super) fn new(
        objects: &Objects,
        namespaces: &Namespaces<'_>,
        enforced: bool,
        notes: &mut Notes,
    ) -> Self {
        let cluster_wide = objects.ignored.iter().any(is_network_policy);
        let mut this = Self { enforced, cluster_wide, ..Self::default() };
        for object in &objects.network_policies {
            let (metadata, spec) = (&object.metadata, &object.spec);
            this.all.insert(&metadata.namespace, spec.pod_selector.clone(), ());
            let reference = ObjectRef::of(names::NETWORK_POLICY, metadata);
            if enforced && spec.is_about_egress() {
                notes.add(reference.clone(), Remark::EgressNotEnforced);
            }
            if !spec.is_about_ingress() {
                continue;
            }
            let key: Arc<str> = format!("{}/{}", metadata.namespace, metadata.name).into();
            this.isolating.insert(&metadata.namespace, spec.pod_selector.clone(), this.policies.len());
            let mut reading = Reading {
                key: key.clone(),
                namespace: &metadata.namespace,
                namespaces,
                reference,
                groups: &mut this.groups,
                peers: 0,
                notes,
            };
            let ingress = spec.ingress.iter().map(|rule| reading.rule(rule)).collect();
            this.policies.push(NetworkPolicy { key, ingress });
        }
        this
    }

    /// Those that are to be enforced.
    pub(super) fn enforced(&self) -> impl Iterator<Item = NetworkPolicy> {
        self.policies.iter().filter(|_| self.enforced).cloned()
    }

    /// Whether any selects a pod, or may.
    pub(super) fn select(&self, namespace: &str, labels: &Labels) -> bool {
        self.cluster_wide || self.all.selecting(namespace, labels).next().is_some()
    }

    /// What those that are enforced have to do with a pod.
    pub(super) fn membership(&self, pod: &Pod) -> NetworkMembership {
        if !self.enforced {
            return NetworkMembership::default();
        }
        let (namespace, labels) = (&pod.metadata.namespace, &pod.metadata.labels);
        let mut isolated_by: Vec<_> = self.isolating(pod).map(|policy| policy.key.clone()).collect();
        isolated_by.sort();
        let mut groups: Vec<_> = self.groups.selecting(namespace, labels).cloned().collect();
        groups.sort();
        NetworkMembership {
            isolated_by: isolated_by.into(),
            groups: groups.into(),
            named_ports: self.named_ports(pod).into(),
        }
    }

    /// Notes policies that keep tunnels from an enrolled pod.
    pub(super) fn note_shut(&self, pod: &Pod, notes: &mut Notes) {
        let named = self.named_ports(pod);
        let lets_in =
            |policy: &NetworkPolicy| policy.ingress.iter().any(|it| it.is_about(TUNNEL_PORT, &named));
        let isolating: Vec<_> = self.isolating(pod).collect();
        if isolating.iter().any(|policy| lets_in(policy)) {
            return;
        }
        for policy in isolating {
            let (namespace, name) = policy.key.split_once('/').unwrap_or_default();
            let kind = names::NETWORK_POLICY.into();
            let reference = ObjectRef { kind, namespace: namespace.into(), name: name.into() };
            notes.add(reference, Remark::TunnelShut { pod: pod.metadata.name.clone(), port: TUNNEL_PORT });
        }
    }

    fn isolating<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = &'a NetworkPolicy> {
        let places = self.isolating.selecting(&pod.metadata.namespace, &pod.metadata.labels);
        places.map(|place| &self.policies[*place])
    }

    /// The pod's ports that policies which select it call by name.
    fn named_ports(&self, pod: &Pod) -> Vec<(Arc<str>, u16)> {
        let rules = self.isolating(pod).flat_map(|policy| &policy.ingress);
        let called = rules.flat_map(|rule| rule.ports.iter().flatten());
        let known: BTreeSet<_> = called
            .filter_map(|port| match port {
                NetworkPort::Named(name) => Some((name.clone(), pod.port(name)?)),
                NetworkPort::Range(..) => None,
            })
            .collect();
        known.into_iter().collect()
    }
}

impl Reading<'_> {
    fn rule(&mut self, rule: &NetworkPolicyIngress) -> IngressRule {
        let from = (!rule.from.is_empty()).then(|| rule.from.iter().filter_map(|it| self.peer(it)).collect());
        let ports = (!rule.ports.is_empty()).then(|| rule.ports.iter().filter_map(port).collect());
        IngressRule { from, ports }
    }

    /// None for what means nobody.
    fn peer(&mut self, peer: &NetworkPolicyPeer) -> Option<NetworkPeer> {
        if let Some(block) = &peer.ip_block {
            let range = self.range("ipBlock.cidr", &block.cidr)?;
            let mut except = Vec::new();
            for text in &block.except {
                // What cannot be read might be all of it.
                except.push(self.range("ipBlock.except", text)?);
            }
            return Some(NetworkPeer::Range { range, except });
        }
        let pods = || peer.pod_selector.clone().unwrap_or_default();
        let group: Arc<str> = format!("{}#{}", self.key, self.peers).into();
        self.peers += 1;
        match &peer.namespace_selector {
            Some(selector) => {
                for namespace in self.namespaces.selected(selector) {
                    self.groups.insert(&namespace, pods(), group.clone());
                }
            }
            None if peer.pod_selector.is_some() => self.groups.insert(self.namespace, pods(), group.clone()),
            None => return None,
        }
        Some(NetworkPeer::Group(group))
    }

    fn range(&mut self, field: &str, text: &Arc<str>) -> Option<IpNet> {
        let range = text.parse::<IpNet>().ok();
        if range.is_none() {
            self.notes.add(self.reference.clone(), invalid(field, text));
        }
        range
    }
}

/// None for what is about another protocol, or means no port at all.
fn port(port: &NetworkPolicyPort) -> Option<NetworkPort> {
    if port.protocol != Protocol::Tcp {
        return None;
    }
    match (&port.port, port.end_port) {
        (None, _) => Some(NetworkPort::Range(0, u16::MAX)),
        (Some(PortRef::Name(name)), _) => Some(NetworkPort::Named(name.clone())),
        (Some(PortRef::Number(first)), last) => Some(NetworkPort::Range(*first, last.unwrap_or(*first))),
    }
}

/// Where tunnels arrive.
pub(super) const TUNNEL_PORT: u16 = 15008;
