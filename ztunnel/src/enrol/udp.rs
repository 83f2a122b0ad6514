//! A pod's UDP, gathered over all rulesets that counted it.

use super::enrolled::Enrolled;
use crate::redirect::{UdpCount, UdpRule};

/// UDP of a pod that was counted and not told yet. A ruleset that replaces another counts from zero, and may do
/// something else with UDP: so the counters are looked at before each change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UdpLedger {
    last: UdpCount,
    passed: UdpCount,
    refused: UdpCount,
}

/// UDP of a pod since it was last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpSeen {
    /// What passed.
    pub passed: UdpCount,
    /// What was refused.
    pub refused: UdpCount,
}

impl Enrolled {
    /// Reads the counters of the rules in force.
    pub(super) fn look_at_udp(&mut self) {
        let Ok(count) = self.capture.udp_count() else { return };
        let fresh = count.since(self.udp.last);
        self.udp.last = count;
        let sum = match self.capture.options().udp {
            UdpRule::Pass => &mut self.udp.passed,
            UdpRule::Refuse => &mut self.udp.refused,
        };
        *sum = sum.and(fresh);
    }

    /// What was counted since this was last asked; none when there was none.
    pub(super) fn take_udp(&mut self) -> Option<UdpSeen> {
        self.look_at_udp();
        let UdpLedger { passed, refused, .. } = self.udp;
        let seen = UdpSeen { passed, refused };
        (self.udp.passed, self.udp.refused) = (UdpCount::default(), UdpCount::default());
        (seen != UdpSeen::default()).then_some(seen)
    }
}
