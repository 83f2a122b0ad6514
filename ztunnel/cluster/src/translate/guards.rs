//! What guards a workload: policies of the mesh that select it, and whether the network has policies of its own.

use std::sync::Arc;

use authz::{Action, Match, Policy, PolicyName, Rule, Scope};

use super::namespaces::Namespaces;
use super::network_policies::NetworkPolicies;
use super::note::Notes;
use super::peer_authentication::PeerModes;
use super::selectors::Namespaced;
use super::{Settings, authorization};
use crate::objects::{Labels, Objects};

/// What guards whom.
#[derive(Debug)]
pub(super) struct Guards {
    /// All policies.
    pub(super) policies: Vec<Policy>,
    /// Names of those that select workloads.
    selecting: Namespaced<Arc<str>>,
    modes: PeerModes,
    /// What the network itself is to let pass.
    pub(super) network: NetworkPolicies,
    root_namespace: Arc<str>,
}

impl Guards {
    pub(super) fn new(objects: &Objects, settings: &Settings, notes: &mut Notes) -> Self {
        let (modes, mut policies) = PeerModes::new(objects, settings, notes);
        let mut selecting = Namespaced::default();
        for object in &objects.authorization_policies {
            let Some((policy, selector)) = authorization::policy(object, settings, notes) else { continue };
            if let Some(selector) = selector {
                selecting.insert(&policy.name.namespace, selector, policy.name.to_string().into());
            }
            policies.push(policy);
        }
        let network =
            NetworkPolicies::new(objects, &Namespaces::new(objects), settings.network_policies, notes);
        let root_namespace = settings.root_namespace.clone();
        Self { policies, selecting, modes, network, root_namespace }
    }

    /// The policies that select a workload, sorted: equal workloads have equal lists.
    pub(super) fn of(&self, namespace: &str, labels: &Labels) -> Arc<[Arc<str>]> {
        let selecting = self.selecting(namespace, labels);
        let mut names: Vec<_> = selecting.chain(self.modes.policies(namespace, labels)).cloned().collect();
        names.sort();
        names.into()
    }

    /// Whether a workload refuses plaintext at a port; without one, at any.
    pub(super) fn refuses_plaintext(&self, namespace: &str, labels: &Labels, port: Option<u16>) -> bool {
        self.modes.refuses_plaintext(namespace, labels, port)
    }

    /// A DENY policy that may deny a connection to a workload's port; without one, to any.
    pub(super) fn may_deny(
        &self,
        namespace: &str,
        labels: &Labels,
        port: Option<u16>,
    ) -> Option<&PolicyName> {
        let mut denying = self.applying(namespace, labels).filter(|policy| policy.action == Action::Deny);
        let denying = denying.find(|policy| policy.rules.iter().any(|rule| may_match(rule, port)));
        denying.map(|policy| &policy.name)
    }

    /// An ALLOW policy that applies to a workload, where none allows everybody to connect to a port; without one, to all.
    pub(super) fn may_not_allow(
        &self,
        namespace: &str,
        labels: &Labels,
        port: Option<u16>,
    ) -> Option<&PolicyName> {
        let mut allowing =
            self.applying(namespace, labels).filter(|policy| policy.action == Action::Allow).peekable();
        let first = &allowing.peek()?.name;
        let is_open = allowing.any(|policy| policy.rules.iter().any(|rule| matches_everybody(rule, port)));
        (!is_open).then_some(first)
    }

    /// The policies in force that apply to a workload.
    fn applying<'a, 'of>(
        &'a self,
        namespace: &'of str,
        labels: &'of Labels,
    ) -> impl Iterator<Item = &'a Policy> {
        let selecting: Vec<_> = self.selecting(namespace, labels).cloned().collect();
        let concerns = move |policy: &&Policy| match policy.scope {
            Scope::Global => true,
            Scope::Namespace => &*policy.name.namespace == namespace,
            Scope::WorkloadSelector => selecting.contains(&Arc::from(policy.name.to_string())),
        };
        self.policies.iter().filter(|policy| !policy.dry_run).filter(concerns)
    }

    /// The policies that select a workload; those of the root namespace select in all.
    fn selecting<'a>(&'a self, namespace: &str, labels: &'a Labels) -> impl Iterator<Item = &'a Arc<str>> {
        let root = (*self.root_namespace != *namespace).then_some(&*self.root_namespace);
        let of_root = root.into_iter().flat_map(|root| self.selecting.selecting(root, labels));
        self.selecting.selecting(namespace, labels).chain(of_root)
    }
}

/// Whether every connection to the port matches the rule.
fn matches_everybody(rule: &Rule, port: Option<u16>) -> bool {
    rule.clauses.iter().all(|clause| {
        clause.matches.is_empty()
            || clause.matches.iter().any(|it| {
                let ports = Match {
                    destination_ports: it.destination_ports.clone(),
                    not_destination_ports: it.not_destination_ports.clone(),
                    ..Match::default()
                };
                *it == ports && !it.is_empty() && port.is_some_and(|port| may_match_port(it, port))
            })
    })
}

/// Whether some connection to the port matches the rule.
fn may_match(rule: &Rule, port: Option<u16>) -> bool {
    let Some(port) = port else { return true };
    rule.clauses
        .iter()
        .all(|clause| clause.matches.is_empty() || clause.matches.iter().any(|it| may_match_port(it, port)))
}

fn may_match_port(it: &Match, port: u16) -> bool {
    (it.destination_ports.is_empty() || it.destination_ports.contains(&port))
        && !it.not_destination_ports.contains(&port)
}
