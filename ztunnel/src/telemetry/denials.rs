//! The connections that were denied of late, for whoever asks who was and why.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use daemon::logs::{PolicyRef, Rfc3339};

use crate::telemetry::Opening;
use crate::telemetry::view::EndView;

/// The last connections that were denied, in all workers. Clones are the same. Nothing that is let in touches it.
#[derive(Clone, Debug, Default)]
pub struct Denials(Arc<Mutex<VecDeque<Denial>>>);

/// A connection that was denied, as it is shown.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Denial {
    /// When, as in the log.
    pub time: String,
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    /// How its bytes would have travelled.
    pub path: &'static str,
    /// Who opened it.
    pub source: EndView,
    /// Whom it was meant for.
    pub destination: EndView,
    /// Host name of the service that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Arc<str>>,
    /// `namespace/name` of the policy that denied; none where it was for want of one that allows, or nobody said which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Index of its rule that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// Why, as in the log.
    pub reason: String,
}

impl Denials {
    /// The last ones, oldest first.
    pub fn list(&self) -> Vec<Denial> {
        self.lock().iter().cloned().collect()
    }

    pub(super) fn push(&self, opening: &Opening, reason: String) {
        let denial = Denial::new(opening, reason);
        let mut last = self.lock();
        if last.len() >= KEPT {
            last.pop_front();
        }
        last.push_back(denial);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Denial>> {
        // A panic elsewhere leaves one more or one less, and nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Denial {
    fn new(opening: &Opening, reason: String) -> Self {
        Self {
            time: Rfc3339(SystemTime::now()).to_string(),
            direction: opening.direction.as_str(),
            path: opening.path.as_str(),
            source: EndView::source(opening),
            destination: (&opening.destination).into(),
            service: opening.service.as_ref().map(|service| service.key.hostname.0.clone()),
            policy: opening.policy.as_ref().map(PolicyRef::key),
            rule: opening.policy.as_ref().and_then(|policy| policy.rule),
            reason,
        }
    }
}

/// How many are kept: some 60 kB, and more than anybody reads.
const KEPT: usize = 128;
