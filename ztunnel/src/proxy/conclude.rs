//! How connections end, as it is counted and told.

use std::error::Error;

use authz::Denied;
use certs::describe;
use daemon::logs::PolicyRef;
use daemon::metrics::ResponseFlag;

use super::live::Cut;
use super::meter::Metered;
use super::worker::Worker;
use crate::decision::InboundError;
use crate::telemetry::{Opening, policy_ref};

impl Worker {
    /// Notes how a connection ended that had come about.
    pub(super) fn conclude<E: Error>(&self, metered: &Metered, ended: Result<Result<(), E>, Cut>) {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => metered.broken(&describe(&error)),
            Err(cut) => self.cut_off(metered, &cut),
        }
    }

    /// Notes that a connection was cut.
    pub(super) fn cut_off(&self, metered: &Metered, cut: &Cut) {
        let flag = match cut {
            Cut::Denied(denied) => {
                metered.decided_by(policy_of(denied).as_ref());
                ResponseFlag::Deny
            }
            _ => ResponseFlag::Connect,
        };
        metered.failed(flag, cut);
    }

    /// Notes that a connection to a pod of this node was not let in.
    pub(super) fn not_let_in(&self, mut opening: Opening, error: &InboundError) {
        let flag = match error {
            InboundError::Denied(denied) => {
                self.count_denial(denied);
                opening.policy = policy_of(denied);
                ResponseFlag::Deny
            }
            _ => ResponseFlag::Connect,
        };
        self.telemetry.open(opening).failed(flag, describe(error));
    }

    pub(super) fn count_denial(&self, denied: &Denied) {
        self.shared.counts.denied(denied);
    }
}

/// The policy that denied, as it is told.
fn policy_of(denied: &Denied) -> Option<PolicyRef> {
    denied.policy.as_ref().map(|name| policy_ref(name, denied.rule))
}
