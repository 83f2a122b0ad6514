//! Capture of one pod: put in force, checked, drained, removed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::listeners::PodListeners;
use super::nft::{self, NftError};
use super::routing::{Routing, RoutingError};
use super::{CaptureOptions, Marks, RulesDigest, RulesetDigest, UdpCount, conntrack, listening, rules};
use crate::netns::PodNetns;

/// The rules and routes inside one pod's namespace.
///
/// Dropping it leaves them in force: a daemon that dies must not open the pod. [`Capture::remove`] takes them away.
#[derive(Debug)]
pub struct Capture {
    netns: Arc<PodNetns>,
    marks: Marks,
    options: CaptureOptions,
    phase: CapturePhase,
    digest: RulesDigest,
    /// Rules of ours were in force before it.
    replaced: bool,
}

/// What the rules do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CapturePhase {
    /// New connections are redirected.
    Capturing,
    /// None is redirected; those that are proxied go on.
    Draining,
}

/// Why capture could not be put in force or taken away.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The kernel's ruleset could not be read back.
    #[error("ruleset cannot be read back")]
    Digest(#[source] io::Error),
    /// The rules vanished while they were being read back.
    #[error("ruleset vanished at once: something else in the pod removes it")]
    Gone,
    /// nft.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// Policy routing.
    #[error(transparent)]
    Routing(#[from] RoutingError),
}

/// What is wrong with a capture that should be in force.
#[derive(Debug, thiserror::Error)]
pub enum CaptureProblem {
    /// A listener is not where it should be.
    #[error("nothing of ours listens on port {port}")]
    ListenerMissing {
        /// Which port.
        port: u16,
    },
    /// Rule or route is missing.
    #[error("policy routing is missing or not as installed")]
    RoutingChanged,
    /// Somebody changed the rules.
    #[error("nft rules are not as installed")]
    RulesChanged,
    /// There are no rules.
    #[error("nft rules are missing")]
    RulesMissing,
    /// The check itself did not work.
    #[error("cannot look inside the namespace")]
    Unknown(#[source] io::Error),
}

impl Capture {
    /// Puts capture in force. The pod's listeners must be open by now. Safe to repeat: it replaces what it finds.
    ///
    /// # Errors
    /// When any part is refused. What was done by then is undone, unless rules of an earlier process were in force: a
    /// pod that those shut must not be opened by a capture that failed.
    pub fn install(
        netns: Arc<PodNetns>,
        marks: Marks,
        options: CaptureOptions,
    ) -> Result<Self, CaptureError> {
        let replaced = Self::is_left(&netns);
        let installed = put_in_force(&netns, marks, &rules::capture(marks, &options));
        match installed {
            Ok(digest) => {
                Ok(Self { netns, marks, options, phase: CapturePhase::Capturing, digest, replaced })
            }
            Err(error) => {
                // The first fault is the one to report.
                let _second_fault = if replaced { Ok(()) } else { take_away(&netns, marks) };
                Err(error)
            }
        }
    }

    /// Whether rules of ours are in force in the namespace, whoever made them. What cannot be looked at may be there.
    pub fn is_left(netns: &PodNetns) -> bool {
        RulesDigest::take(netns).map_or(true, |found| found.is_some())
    }

    /// Takes away rules and routes that an earlier process left of which nothing else is known. Whoever has `listeners`
    /// is the only one who could capture the pod. What those rules led to them meanwhile is reset.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn clear(netns: &PodNetns, listeners: &PodListeners) -> Result<(), CaptureError> {
        let marks = Marks::random().map_err(NftError::Run)?;
        // A reset is translated on its way back as long as there are chains that translate.
        nft::apply(netns, &rules::drain(marks))?;
        for (_, listener) in listeners.tcp() {
            while let Ok((connection, _)) = listener.accept() {
                // Where that is refused it ends in order.
                let _ends_anyway = connection.set_linger(Some(Duration::ZERO));
            }
        }
        take_away_rules(netns)
    }

    /// Takes up a capture that an earlier process put in force, changing nothing. [`Self::verify`] tells its state.
    pub const fn adopt(
        netns: Arc<PodNetns>,
        marks: Marks,
        options: CaptureOptions,
        phase: CapturePhase,
        digest: RulesDigest,
    ) -> Self {
        Self { netns, marks, options, phase, digest, replaced: true }
    }

    /// Puts the rules back as they should be, in one transaction; live connections do not notice.
    ///
    /// # Errors
    /// When any part is refused. What is in force stays: a pod must not be opened by a failed repair.
    pub fn repair(&mut self) -> Result<(), CaptureError> {
        self.digest = put_in_force(&self.netns, self.marks, &self.ruleset())?;
        Ok(())
    }

    /// Captures by other options from now on; live connections do not notice.
    ///
    /// # Errors
    /// When nft refuses. The rules in force stay then.
    pub fn update(&mut self, options: CaptureOptions) -> Result<(), CaptureError> {
        let before = std::mem::replace(&mut self.options, options);
        self.repair().inspect_err(|_| self.options = before)
    }

    /// Redirects nothing new from now on. Connections that are proxied go on working.
    ///
    /// # Errors
    /// When nft refuses. The rules in force stay then.
    pub fn drain(&mut self) -> Result<(), CaptureError> {
        self.phase = CapturePhase::Draining;
        self.repair().inspect_err(|_| self.phase = CapturePhase::Capturing)
    }

    /// Redirects new connections again, after all.
    ///
    /// # Errors
    /// When nft refuses. The rules in force stay then.
    pub fn resume(&mut self) -> Result<(), CaptureError> {
        self.phase = CapturePhase::Capturing;
        self.repair().inspect_err(|_| self.phase = CapturePhase::Draining)
    }

    /// Takes away rules, routes and what the connection table remembers of us. Proxied connections break.
    ///
    /// # Errors
    /// When a part cannot be taken away; the other parts are gone nevertheless.
    pub fn remove(&self) -> Result<(), CaptureError> {
        take_away(&self.netns, self.marks)
    }

    /// Undoes an installation that does not work, as [`Self::install`] does one that fails.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn abandon(&self) -> Result<(), CaptureError> {
        if self.replaced { Ok(()) } else { self.remove() }
    }

    /// Looks inside the namespace whether rules, routes and `listeners` are in force as installed.
    ///
    /// # Errors
    /// The first problem found.
    pub fn verify(&self, listeners: &PodListeners) -> Result<(), CaptureProblem> {
        match RulesDigest::take(&self.netns).map_err(CaptureProblem::Unknown)? {
            None => return Err(CaptureProblem::RulesMissing),
            Some(found) if found != self.digest => return Err(CaptureProblem::RulesChanged),
            Some(_) => {}
        }
        let routing = Routing::open(&self.netns).and_then(|it| it.is_installed(self.marks));
        if !routing.map_err(|error| CaptureProblem::Unknown(io::Error::other(error)))? {
            return Err(CaptureProblem::RoutingChanged);
        }
        match listening::missing(&self.netns, listeners).map_err(CaptureProblem::Unknown)? {
            Some(port) => Err(CaptureProblem::ListenerMissing { port }),
            None => Ok(()),
        }
    }

    /// The pod's UDP since its rules were last put in force.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel does not answer.
    pub fn udp_count(&self) -> io::Result<UdpCount> {
        UdpCount::take(&self.netns)
    }

    /// Whether it captures or drains.
    pub const fn phase(&self) -> CapturePhase {
        self.phase
    }

    /// How the pod is captured.
    pub const fn options(&self) -> &CaptureOptions {
        &self.options
    }

    /// The pod's marks.
    pub const fn marks(&self) -> Marks {
        self.marks
    }

    /// What the kernel holds when nobody interfered.
    pub const fn digest(&self) -> RulesDigest {
        self.digest
    }

    /// What this build makes of the pod: one that differs from what an earlier process made is still to be put in force.
    pub fn made(&self) -> RulesetDigest {
        RulesetDigest::of(&self.ruleset())
    }

    fn ruleset(&self) -> String {
        match self.phase {
            CapturePhase::Capturing => rules::capture(self.marks, &self.options),
            CapturePhase::Draining => rules::drain(self.marks),
        }
    }

    /// The pod's namespace.
    pub const fn netns(&self) -> &Arc<PodNetns> {
        &self.netns
    }
}

/// Routing first: once rules redirect, answers must find their way.
fn put_in_force(netns: &PodNetns, marks: Marks, ruleset: &str) -> Result<RulesDigest, CaptureError> {
    Routing::open(netns)?.install(marks)?;
    nft::apply(netns, ruleset)?;
    RulesDigest::take(netns).map_err(CaptureError::Digest)?.ok_or(CaptureError::Gone)
}

fn take_away(netns: &PodNetns, marks: Marks) -> Result<(), CaptureError> {
    let taken = take_away_rules(netns);
    // A translated entry that outlived its connection would catch a later one with the same 4-tuple. A kernel that
    // cannot delete by mark forgets them by itself within minutes.
    let _expires_anyway = conntrack::forget(netns, &[marks.spoofed, marks.redirected]);
    taken
}

fn take_away_rules(netns: &PodNetns) -> Result<(), CaptureError> {
    let rules = nft::apply(netns, &rules::removal());
    let routing = Routing::open(netns).and_then(|it| it.remove());
    rules?;
    Ok(routing?)
}
