//! What guards a workload: policies of the mesh that select it, and whether the network has policies of its own.

use std::sync::Arc;

use authz::{Action, Match, Policy, Rule, Scope};

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
    network_policies: Namespaced<()>,
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
        let mut network_policies = Namespaced::default();
        for object in &objects.network_policies {
            network_policies.insert(&object.metadata.namespace, object.spec.pod_selector.clone(), ());
        }
        let root_namespace = settings.root_namespace.clone();
        Self { policies, selecting, modes, network_policies, root_namespace }
    }

    /// The policies that select a workload, sorted: equal workloads have equal lists.
    pub(super) fn of(&self, namespace: &str, labels: &Labels) -> Arc<[Arc<str>]> {
        let selecting = self.selecting(namespace, labels);
        let mut names: Vec<_> = selecting.chain(self.modes.policies(namespace, labels)).cloned().collect();
        names.sort();
        names.into()
    }

    /// Whether a NetworkPolicy selects a pod.
    pub(super) fn is_on_network(&self, namespace: &str, labels: &Labels) -> bool {
        self.network_policies.selecting(namespace, labels).next().is_some()
    }

    /// Whether a workload refuses plaintext at a port; without one, at any.
    pub(super) fn refuses_plaintext(&self, namespace: &str, labels: &Labels, port: Option<u16>) -> bool {
        self.modes.refuses_plaintext(namespace, labels, port)
    }

    /// Whether a DENY policy may deny a connection to a workload's port; without one, to any.
    pub(super) fn may_deny(&self, namespace: &str, labels: &Labels, port: Option<u16>) -> bool {
        let mut denying = self.enforced(Action::Deny, namespace, labels);
        denying.any(|policy| policy.rules.iter().any(|rule| may_match(rule, port)))
    }

    /// Whether ALLOW policies let but some clients in to a workload's port; without one, to all ports.
    pub(super) fn allows_only_some(&self, namespace: &str, labels: &Labels, port: Option<u16>) -> bool {
        let mut allowing = self.enforced(Action::Allow, namespace, labels).peekable();
        let is_guarded = allowing.peek().is_some();
        is_guarded && !allowing.any(|policy| policy.rules.iter().any(|rule| matches_all(rule, port)))
    }

    /// The policies of an action that are in force for a workload.
    fn enforced<'a>(
        &'a self,
        action: Action,
        namespace: &'a str,
        labels: &'a Labels,
    ) -> impl Iterator<Item = &'a Policy> {
        let selecting: Vec<_> = self.selecting(namespace, labels).collect();
        let concerns = move |policy: &&Policy| match policy.scope {
            Scope::Global => true,
            Scope::Namespace => &*policy.name.namespace == namespace,
            Scope::WorkloadSelector => selecting.contains(&&Arc::from(policy.name.to_string())),
        };
        self.policies.iter().filter(move |policy| policy.action == action && !policy.dry_run).filter(concerns)
    }

    /// The policies that select a workload; those of the root namespace select in all.
    fn selecting<'a>(&'a self, namespace: &str, labels: &'a Labels) -> impl Iterator<Item = &'a Arc<str>> {
        let root = (*self.root_namespace != *namespace).then_some(&*self.root_namespace);
        let of_root = root.into_iter().flat_map(|root| self.selecting.selecting(root, labels));
        self.selecting.selecting(namespace, labels).chain(of_root)
    }
}

/// Whether some connection to the port matches the rule.
fn may_match(rule: &Rule, port: Option<u16>) -> bool {
    let Some(port) = port else { return true };
    rule.clauses.iter().all(|clause| {
        clause.matches.is_empty()
            || clause.matches.iter().any(|it| {
                (it.destination_ports.is_empty() || it.destination_ports.contains(&port))
                    && !it.not_destination_ports.contains(&port)
            })
    })
}

/// Whether every connection to the port matches the rule; without one, every connection.
fn matches_all(rule: &Rule, port: Option<u16>) -> bool {
    let ports_only = |it: &Match| Match {
        destination_ports: it.destination_ports.clone(),
        not_destination_ports: it.not_destination_ports.clone(),
        ..Match::default()
    };
    rule.clauses.iter().all(|clause| {
        clause.matches.is_empty()
            || clause.matches.iter().any(|it| {
                let (of, not_of) = (&it.destination_ports, &it.not_destination_ports);
                let has_port = port.is_some_and(|port| of.contains(&port));
                *it == ports_only(it)
                    && (of.is_empty() || has_port)
                    && (not_of.is_empty() || port.is_some_and(|port| !not_of.contains(&port)))
                    && !it.is_empty()
            })
    })
}
