//! The policies of one scope, compiled: the mesh's, a namespace's, or those that select a workload.

use std::sync::Arc;

use crate::index::Index;
use crate::policy::{Action, Policy, PolicyName};
use crate::rule::CompiledRule;

/// Compiled policies of one scope. A clone shares everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    pub(crate) deny: Index,
    pub(crate) allow: Index,
    /// Dry-run DENY policies.
    pub(crate) dry_deny: Index,
    /// Dry-run ALLOW policies.
    pub(crate) dry_allow: Index,
    /// AUDIT policies.
    pub(crate) audit: Index,
    /// ALLOW policies in force, with or without rules.
    pub(crate) allow_policies: usize,
    /// Dry-run ALLOW policies, with or without rules.
    pub(crate) dry_allow_policies: usize,
    /// The rules of DENY policies in force, for questions about ports.
    pub(crate) denials: imbl::OrdMap<PolicyName, Arc<[Arc<CompiledRule>]>>,
    policies: usize,
}

impl Layer {
    pub(crate) fn insert(&mut self, policy: &Policy) {
        self.count(policy, 1);
        let rules = compile(policy);
        for (rule, compiled) in policy.rules.iter().zip(&rules) {
            self.index(policy).insert(rule, compiled);
        }
        if policy.action == Action::Deny && !policy.dry_run {
            self.denials.insert(policy.name.clone(), rules.into());
        }
    }

    /// Takes out a policy that was put in.
    pub(crate) fn remove(&mut self, policy: &Policy) {
        self.count(policy, -1);
        for (rule, compiled) in policy.rules.iter().zip(&compile(policy)) {
            self.index(policy).remove(rule, compiled);
        }
        self.denials.remove(&policy.name);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.policies == 0
    }

    fn index(&mut self, policy: &Policy) -> &mut Index {
        match (policy.action, policy.dry_run) {
            (Action::Allow, false) => &mut self.allow,
            (Action::Allow, true) => &mut self.dry_allow,
            (Action::Audit, _) => &mut self.audit,
            (Action::Deny, false) => &mut self.deny,
            (Action::Deny, true) => &mut self.dry_deny,
        }
    }

    fn count(&mut self, policy: &Policy, by: isize) {
        self.policies = self.policies.checked_add_signed(by).expect("only what was put in is taken out");
        let counter = match (policy.action, policy.dry_run) {
            (Action::Allow, false) => &mut self.allow_policies,
            (Action::Allow, true) => &mut self.dry_allow_policies,
            _ => return,
        };
        *counter = counter.checked_add_signed(by).expect("only what was put in is taken out");
    }
}

fn compile(policy: &Policy) -> Vec<Arc<CompiledRule>> {
    let rules = policy.rules.iter().enumerate();
    rules.map(|(place, rule)| Arc::new(CompiledRule::new(&policy.name, place, rule))).collect()
}
