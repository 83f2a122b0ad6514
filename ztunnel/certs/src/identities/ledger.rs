//! What is known of each identity, and what to do next: no I/O, no clock of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use identity::SpiffeId;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::schedule::{Priority, back_off, later, renew_at};
use super::status::{CertificateStatus, IdentityState, IdentityStatus};
use super::{Unavailable, UnavailableReason};
use crate::configs::IdentityConfigs;
use crate::verify::PeerError;

/// Both clocks, read once for one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// For intervals.
    pub(super) instant: Instant,
    /// For certificates.
    pub(super) wall: UnixTime,
}

/// All identities that are wanted or waited for.
pub(super) struct Ledger {
    entries: BTreeMap<SpiffeId, Entry>,
    wanted: Arc<BTreeSet<SpiffeId>>,
    next_attempt: u64,
    roll: fn() -> f64,
}

/// A connection that waits for an identity.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) identity: SpiffeId,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Arc<IdentityConfigs>, Unavailable>>,
}

/// A fetch to be started; its number tells it from earlier ones for the same identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) identity: SpiffeId,
    pub(super) number: u64,
}

/// When a certificate is renewed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Renewal {
    /// At half of its life.
    HalfLife,
    /// Soon, at some time within this: it is a stopgap.
    Within(Duration),
}

/// What is in use for an identity.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) configs: Arc<IdentityConfigs>,
    /// The roots that came with the certificate.
    pub(super) roots: Vec<CertificateDer<'static>>,
}

#[derive(Debug)]
struct Entry {
    held: Option<Held>,
    /// Whether and when it is renewed, once it is held.
    renew_at: UnixTime,
    fetching: Option<u64>,
    /// No fetch starts earlier.
    not_before: Instant,
    last_failure: Option<Failure>,
    failures: u32,
    waits: Vec<Wait>,
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    text: Arc<str>,
}

impl Ledger {
    pub(super) fn new(roll: fn() -> f64) -> Self {
        Self { entries: BTreeMap::new(), wanted: Arc::default(), next_attempt: 0, roll }
    }

    /// From now on these are the identities of local workloads. Returns those that had a certificate and go.
    pub(super) fn want(&mut self, wanted: Arc<BTreeSet<SpiffeId>>, now: Now) -> Vec<SpiffeId> {
        for identity in &*wanted {
            self.entries.entry(identity.clone()).or_insert_with(|| Entry::new(now.instant));
        }
        self.wanted = wanted;
        let gone = self.entries.extract_if(.., |identity, _| !self.wanted.contains(identity));
        let had = |(identity, entry): (SpiffeId, Entry)| entry.forgotten(&identity).then_some(identity);
        gone.filter_map(had).collect()
    }

    /// A connection waits, up to its deadline. The identity need not be wanted yet: news of a workload and its first
    /// connection come by different ways.
    pub(super) fn wait(&mut self, wait: Wait, now: Now) {
        let entry = self.entries.entry(wait.identity.clone()).or_insert_with(|| Entry::new(now.instant));
        if let Some(held) = &entry.held {
            // Whoever waits no longer doesn't mind.
            let _ = wait.reply.send(Ok(held.configs.clone()));
            return;
        }
        if let Some(failure) = &entry.last_failure {
            entry.not_before = entry.not_before.min((failure.at + WAITED_RETRY).max(now.instant));
        }
        if entry.waits.len() == entry.waits.capacity() {
            entry.waits.retain(|wait| !wait.reply.is_closed());
        }
        entry.waits.push(wait);
    }

    /// The fetch that should start now, if any, which the caller then starts. Comes after a [sweep](Self::sweep).
    pub(super) fn start_next(&mut self, now: Now) -> Option<Attempt> {
        let due = self.entries.iter_mut().filter(|(_, entry)| entry.is_due(now));
        let (identity, entry) = due.min_by_key(|(_, entry)| entry.urgency())?;
        self.next_attempt += 1;
        entry.fetching = Some(self.next_attempt);
        Some(Attempt { identity: identity.clone(), number: self.next_attempt })
    }

    /// Whether the outcome of an attempt is still of interest.
    pub(super) fn awaits(&self, attempt: &Attempt) -> bool {
        self.entries.get(&attempt.identity).is_some_and(|entry| entry.fetching == Some(attempt.number))
    }

    /// Whether an identity is wanted or waited for.
    pub(super) fn knows(&self, identity: &SpiffeId) -> bool {
        self.entries.contains_key(identity)
    }

    /// Whether local workloads have an identity.
    pub(super) fn wants(&self, identity: &SpiffeId) -> bool {
        self.wanted.contains(identity)
    }

    /// There is a certificate for an identity that the ledger [knows](Self::knows).
    pub(super) fn hold(&mut self, identity: &SpiffeId, held: Held, renewal: Renewal, now: Now) {
        let Some(entry) = self.entries.get_mut(identity) else { return };
        entry.fetching = None;
        entry.failures = 0;
        entry.last_failure = None;
        entry.not_before = now.instant;
        entry.renew_at = match renewal {
            Renewal::HalfLife => renew_at(now.wall, held.configs.leaf().not_after, (self.roll)()),
            Renewal::Within(spread) => later(now.wall, spread.mul_f64((self.roll)())),
        };
        for wait in entry.waits.drain(..) {
            let _ = wait.reply.send(Ok(held.configs.clone()));
        }
        entry.held = Some(held);
    }

    /// An attempt, which the ledger [awaits](Self::awaits), failed. Who waits for longer than until the next attempt
    /// goes on waiting.
    pub(super) fn failed(&mut self, attempt: &Attempt, text: &Arc<str>, now: Now) {
        let Some(entry) = self.entries.get_mut(&attempt.identity) else { return };
        entry.fetching = None;
        entry.failures = entry.failures.saturating_add(1);
        let mut pause = back_off(entry.failures, (self.roll)());
        if entry.is_awaited() {
            pause = pause.min(WAITED_RETRY);
        }
        entry.not_before = now.instant + pause;
        entry.last_failure = Some(Failure { at: now.instant, text: text.clone() });
        let next = entry.not_before;
        for wait in entry.waits.extract_if(.., |wait| wait.deadline <= next) {
            let reason = UnavailableReason::Failed(text.clone());
            let _ = wait.reply.send(Err(Unavailable { identity: attempt.identity.clone(), reason }));
        }
    }

    /// Lets go of certificates that ended, and of identities that nobody wants or waits for when they would have to be
    /// fetched. Returns those that had a certificate.
    pub(super) fn sweep(&mut self, now: Now) -> Vec<SpiffeId> {
        let wanted = &self.wanted;
        let unwanted = |identity: &SpiffeId, entry: &mut Entry| {
            !wanted.contains(identity) && !entry.is_awaited() && entry.is_due(now)
        };
        let dropped = self.entries.extract_if(.., unwanted);
        let mut gone: Vec<_> =
            dropped.filter_map(|(identity, entry)| entry.held.is_some().then_some(identity)).collect();
        for (identity, entry) in &mut self.entries {
            if entry.held.take_if(|held| held.has_ended(now.wall)).is_some() {
                tracing::error!(%identity, "certificate ended before another one came");
                gone.push(identity.clone());
            }
        }
        gone
    }

    /// Renews everything within `spread`.
    pub(super) fn renew_all(&mut self, spread: Duration, now: Now) {
        for entry in self.entries.values_mut() {
            entry.renew_at = entry.renew_at.min(later(now.wall, spread.mul_f64((self.roll)())));
        }
    }

    /// Renews what is revoked: peers refuse it.
    pub(super) fn renew_revoked(&mut self, now: Now) {
        for entry in self.entries.values_mut() {
            if entry.held.as_ref().is_some_and(Held::is_revoked) {
                (entry.renew_at, entry.not_before) = (now.wall, now.instant);
            }
        }
    }

    /// When to look again.
    pub(super) fn next_step(&self, now: Now) -> Instant {
        let steps = self.entries.values().filter_map(|entry| entry.next_step(now));
        steps.min().map_or(now.instant + MAX_SLEEP, |next| next.min(now.instant + MAX_SLEEP))
    }

    /// What is in use for one identity.
    pub(super) fn held_by(&self, identity: &SpiffeId) -> Option<&Held> {
        self.entries.get(identity)?.held.as_ref()
    }

    /// What is in use.
    pub(super) fn held(&self) -> impl Iterator<Item = (&SpiffeId, &Held)> {
        self.entries.iter().filter_map(|(identity, entry)| Some((identity, entry.held.as_ref()?)))
    }

    /// What is in use, to be replaced.
    pub(super) fn held_mut(&mut self) -> impl Iterator<Item = (&SpiffeId, &mut Held)> {
        self.entries.iter_mut().filter_map(|(identity, entry)| Some((identity, entry.held.as_mut()?)))
    }

    /// How all of them fare.
    pub(super) fn statuses(&self) -> Vec<IdentityStatus> {
        self.entries.iter().map(|(identity, entry)| entry.status(identity)).collect()
    }
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self {
            held: None,
            renew_at: UnixTime::since_unix_epoch(Duration::ZERO),
            fetching: None,
            not_before: now,
            last_failure: None,
            failures: 0,
            waits: Vec::new(),
        }
    }

    fn is_awaited(&self) -> bool {
        self.waits.iter().any(|wait| !wait.reply.is_closed())
    }

    fn is_due(&self, now: Now) -> bool {
        let renews = self.held.is_none() || self.renew_at <= now.wall;
        self.fetching.is_none() && self.not_before <= now.instant && renews
    }

    /// What comes first among those that are due.
    fn urgency(&self) -> (Priority, UnixTime, Instant) {
        let priority = match &self.held {
            None if self.is_awaited() => Priority::Waiting,
            None => Priority::Prefetch,
            Some(_) => Priority::Renewal,
        };
        (priority, self.renew_at, self.not_before)
    }

    fn next_step(&self, now: Now) -> Option<Instant> {
        let from_now = |time: UnixTime| {
            now.instant + Duration::from_secs(time.as_secs().saturating_sub(now.wall.as_secs()))
        };
        let ends = self.held.as_ref().map(|held| from_now(held.configs.leaf().not_after));
        if self.fetching.is_some() {
            return ends;
        }
        let renews = self.held.as_ref().map_or(now.instant, |_| from_now(self.renew_at));
        let fetches = self.not_before.max(renews);
        Some(ends.map_or(fetches, |ends| ends.min(fetches)))
    }

    /// Tells who waits that it is in vain; says whether there was a certificate.
    fn forgotten(self, identity: &SpiffeId) -> bool {
        for wait in self.waits {
            let reason = UnavailableReason::Forgotten;
            let _ = wait.reply.send(Err(Unavailable { identity: identity.clone(), reason }));
        }
        self.held.is_some()
    }

    fn status(&self, identity: &SpiffeId) -> IdentityStatus {
        let state = match (&self.held, &self.last_failure) {
            (Some(_), _) => IdentityState::Available,
            (None, Some(_)) => IdentityState::Failed,
            (None, None) => IdentityState::Initializing,
        };
        IdentityStatus {
            identity: identity.clone(),
            state,
            certificate: self.held.as_ref().map(|held| held.status(self.renew_at)),
            last_error: self.last_failure.as_ref().map(|failure| failure.text.clone()),
            failures: self.failures,
            waiting: self.waits.iter().filter(|wait| !wait.reply.is_closed()).count(),
        }
    }
}

impl Held {
    fn has_ended(&self, wall: UnixTime) -> bool {
        self.configs.leaf().not_after <= wall
    }

    fn is_revoked(&self) -> bool {
        let chain = self.configs.credential().chain();
        matches!(self.configs.bundles().check_revocation(chain), Err(PeerError::Revoked { .. }))
    }

    fn status(&self, renew_at: UnixTime) -> CertificateStatus {
        let (leaf, credential) = (self.configs.leaf(), self.configs.credential());
        let serial = credential.chain().first().map(crate::leaf::serial_number);
        CertificateStatus {
            serial: serial.and_then(Result::ok).unwrap_or_default(),
            not_before: leaf.not_before.as_secs(),
            not_after: leaf.not_after.as_secs(),
            renew_at: renew_at.as_secs(),
            epoch: self.configs.epoch(),
        }
    }
}

/// How long after a failure an identity is tried again while a connection waits for it: however long it backs off
/// otherwise, a CA that is back is noticed, and one that is down is not asked more often than this.
const WAITED_RETRY: Duration = Duration::from_secs(2);

/// Certificates last by the time of day, which may be set: it is looked at this often.
const MAX_SLEEP: Duration = Duration::from_secs(60);
