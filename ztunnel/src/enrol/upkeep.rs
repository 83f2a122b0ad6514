//! Keeping an enrolled pod's capture as it was installed.

use std::time::{Duration, Instant};

use certs::describe;

use super::enrolled::{Enrolled, Means};
use super::error::EnrolError;

impl Enrolled {
    /// Looks whether capture is as it should be if that is due, and puts it right. True when anything changed.
    pub(super) fn check(&mut self, means: &Means, now: Instant) -> bool {
        if now < self.check_at {
            return false;
        }
        self.announcements.discard();
        self.check_at = now + CHECK_PERIOD;
        let Err(problem) = self.capture.verify(&self.listeners) else {
            return self.problem.take().is_some();
        };
        tracing::warn!(pod = %self.pod.uid, name = self.pod.name, %problem, "capture is not as installed");
        // Somebody who keeps changing the rules must not keep this thread busy.
        self.check_at = now + REPAIR_PAUSE;
        self.problem = match self.repair(means) {
            Ok(()) => None,
            Err(error) => Some(describe(&error)),
        };
        true
    }

    /// Looks at once, and puts right what is wrong.
    pub(super) fn check_now(&mut self, means: &Means) -> Result<(), EnrolError> {
        if self.capture.verify(&self.listeners).is_err() {
            self.repair(means)?;
        }
        self.problem = None;
        Ok(())
    }

    /// Something was announced: look soon.
    pub(super) fn check_soon(&mut self, now: Instant) {
        self.announcements.discard();
        self.check_at = self.check_at.min(now + ANNOUNCEMENT_PAUSE);
    }

    /// Whether an announcement would bring the next look forward.
    pub(super) fn awaits_announcement(&self, now: Instant) -> bool {
        self.check_at > now + ANNOUNCEMENT_PAUSE
    }

    /// Whether something is to be done within moments.
    pub(super) fn is_restless(&self, now: Instant) -> bool {
        (self.is_draining() && self.lease.is_some()) || !self.awaits_announcement(now)
    }

    fn repair(&mut self, means: &Means) -> Result<(), EnrolError> {
        self.repairs += 1;
        self.look_at_udp();
        self.capture.repair()?;
        self.announcements.discard();
        self.remember(means)?;
        Ok(self.capture.verify(&self.listeners)?)
    }
}

/// How often a pod's rules are looked at when nothing was announced. A look takes a quarter of a millisecond.
pub(super) const CHECK_PERIOD: Duration = Duration::from_secs(10);
/// How long after an announcement a pod's rules are looked at: a transaction announces each of its rules.
const ANNOUNCEMENT_PAUSE: Duration = Duration::from_millis(100);
/// Shortest time between two repairs of one pod. A repair takes some 20 ms.
const REPAIR_PAUSE: Duration = Duration::from_secs(1);
