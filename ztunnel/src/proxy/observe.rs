//! What policies that are not enforced say of a connection that was let in.

use super::counts::Decision;
use super::worker::Worker;
use crate::decision::Admission;
use crate::telemetry::{denied_by, rule_ref};

impl Worker {
    /// Counts and logs what AUDIT and dry-run policies say. Costs a look at three numbers where there are none.
    pub(super) fn observe(&self, admission: &Admission) {
        if !admission.policies.has_observers() {
            return;
        }
        let Admission { source, source_ip, destination, policies, .. } = admission;
        let observed = policies.observe(&admission.attributes());
        let source = source.as_ref().map_or("", |source| source.as_str());
        let counts = &self.shared.counts;
        if let Some(rule) = observed.audit {
            counts.decided(Some(&rule_ref(&rule)), Decision::Audit, "audit_matched");
            let (policy, rule) = (format!("{}/{}", rule.policy.namespace, rule.policy.name), rule.rule);
            tracing::info!(target: "audit", policy, rule, source, %source_ip, %destination, "connection matches");
        }
        if let Some(denied) = observed.dry_run {
            counts.decided(denied_by(&denied).as_ref(), Decision::DryRunDeny, denied.reason.label());
            tracing::info!(target: "audit", %denied, source, %source_ip, %destination, "dry run would refuse");
        }
    }
}
