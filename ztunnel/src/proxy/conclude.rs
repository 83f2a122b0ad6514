//! How connections end, as it is counted and told.

use std::error::Error;

use authz::Denied;
use certs::describe;
use daemon::logs::PolicyRef;
use daemon::metrics::ResponseFlag;

use super::counts::Decision;
use super::live::Cut;
use super::meter::Metered;
use super::revoked::is_revoked;
use super::worker::Worker;
use crate::decision::InboundError;
use crate::telemetry::{Opening, denied_by};

impl Worker {
    /// Notes how a connection ended that had come about.
    pub(super) fn conclude<E: Error + 'static>(&self, metered: &Metered, ended: Result<Result<(), E>, Cut>) {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) if is_revoked(&error) => {
                metered.failed(ResponseFlag::CertRevoked, describe(&error));
            }
            Ok(Err(error)) => metered.broken(&describe(&error)),
            Err(cut) => self.cut_off(metered, &cut),
        }
    }

    /// Notes that a connection was cut.
    pub(super) fn cut_off(&self, metered: &Metered, cut: &Cut) {
        let flag = match cut {
            Cut::Refused(error) => {
                metered.decided_by(policy_of(error).as_ref());
                ResponseFlag::Deny
            }
            Cut::PlaintextRefused(denied) => {
                metered.decided_by(denied_by(denied).as_ref());
                ResponseFlag::Deny
            }
            Cut::EgressRefused(_) => ResponseFlag::Deny,
            _ => ResponseFlag::Connect,
        };
        metered.failed(flag, cut);
    }

    /// Notes that a connection to a pod of this node was not let in.
    pub(super) fn not_let_in(&self, mut opening: Opening, error: &InboundError) {
        let flag = match error {
            InboundError::Denied(_) | InboundError::Isolated(_) => {
                self.count_refusal(error);
                opening.policy = policy_of(error);
                ResponseFlag::Deny
            }
            _ => ResponseFlag::Connect,
        };
        self.telemetry.open(opening).failed(flag, describe(error));
    }

    /// Counts a refusal under the policy that it comes from.
    pub(super) fn count_refusal(&self, error: &InboundError) {
        let reason = match error {
            InboundError::Denied(denied) => denied.reason.label(),
            InboundError::Isolated(_) => "network_policy",
            _ => return,
        };
        self.shared.counts.decided(policy_of(error).as_ref(), Decision::Deny, reason);
    }

    /// Counts what a policy of the destination denied here, as nobody there would; says which.
    pub(super) fn denied(&self, denied: &Denied) -> Option<PolicyRef> {
        let policy = denied_by(denied);
        self.shared.counts.decided(policy.as_ref(), Decision::Deny, denied.reason.label());
        policy
    }
}

/// The policy that refused, as it is told; of several NetworkPolicies the first.
pub(super) fn policy_of(error: &InboundError) -> Option<PolicyRef> {
    match error {
        InboundError::Denied(denied) => denied_by(denied),
        InboundError::Isolated(isolated) => {
            let key = isolated.by.first()?;
            let (namespace, name) = key.split_once('/').unwrap_or(("", key));
            Some(PolicyRef { namespace: namespace.into(), name: name.into(), rule: None })
        }
        _ => None,
    }
}
