//! The task that fetches, renews and forgets.

mod restore;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use identity::SpiffeId;
use rustls_pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::fetch::{FetchError, Fetched, check_life, fetch};
use super::ledger::{Attempt, Held, Ledger, Now, Renewal, Wait};
use super::{Current, FetchOutcome, IdentityChange, Shared};
use crate::bundle::Bundles;
use crate::cache::CredentialCache;
use crate::clock::Clock;
use crate::configs::IdentityConfigs;
use crate::describe;
use crate::signer::Signer;
use crate::trust::{FederatedWithItself, Reloaded, Trust, TrustFiles};

/// Keeps identities up to date while it [runs](Upkeep::run).
pub struct Upkeep {
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    trust: Trust,
    cache: Option<CredentialCache>,
    bundles: Arc<Bundles>,
    next_reload: Instant,
    ledger: Ledger,
    /// Of all identities together: an identity that comes back never has an epoch that its tunnels had before.
    last_epoch: u64,
    fetches: JoinSet<(Attempt, Result<Fetched, FetchError>)>,
    shared: Arc<Shared>,
    wanted: watch::Receiver<Arc<BTreeSet<SpiffeId>>>,
    waits: mpsc::Receiver<Wait>,
}

/// What woke the task.
enum Event {
    Fetched(Attempt, Result<Fetched, FetchError>),
    Stop,
    Time,
    Wait(Wait),
    Wanted,
}

impl Upkeep {
    pub(super) fn new(
        signer: Arc<dyn Signer>,
        trust: TrustFiles,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
        (wanted, waits): (watch::Receiver<Arc<BTreeSet<SpiffeId>>>, mpsc::Receiver<Wait>),
    ) -> Result<Self, FederatedWithItself> {
        Ok(Self {
            signer,
            clock,
            trust: Trust::new(trust)?,
            cache: None,
            bundles: Arc::default(),
            next_reload: Instant::now(),
            ledger: Ledger::new(roll),
            last_epoch: 0,
            fetches: JoinSet::new(),
            shared,
            wanted,
            waits,
        })
    }

    /// Runs until the last [`Identities`](super::Identities) is gone; a task for the control runtime. Dropped, it ends
    /// the fetches in flight.
    pub async fn run(mut self) {
        loop {
            self.reload_trust();
            self.sweep();
            while self.fetches.len() < MAX_IN_FLIGHT
                && let Some(attempt) = self.ledger.start_next(self.now())
            {
                self.start(attempt);
            }
            self.publish_statuses();
            match self.next_event().await {
                Event::Fetched(attempt, outcome) => self.settle(&attempt, outcome),
                Event::Stop => return,
                Event::Time => {}
                Event::Wait(wait) => self.wait(wait),
                Event::Wanted => self.want(),
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let wake = self.ledger.next_step(self.now());
        // Fetches that have no place yet are not waited for: the end of one in flight brings the next step.
        let wake = if self.fetches.len() < MAX_IN_FLIGHT { wake } else { self.next_reload };
        let wake = wake.min(self.next_reload);
        tokio::select! {
            changed = self.wanted.changed() => if changed.is_ok() { Event::Wanted } else { Event::Stop },
            Some(wait) = self.waits.recv() => Event::Wait(wait),
            Some(joined) = self.fetches.join_next() => match joined {
                Ok((attempt, outcome)) => Event::Fetched(attempt, outcome),
                // Nothing ends a fetch but its own panic, which must not go unnoticed here.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = sleep_until(wake) => Event::Time,
        }
    }

    fn now(&self) -> Now {
        Now { instant: Instant::now(), wall: self.clock.now() }
    }

    fn start(&mut self, attempt: Attempt) {
        let signer = self.signer.clone();
        self.fetches.spawn(async move {
            let outcome = fetch(&*signer, &attempt.identity).await;
            (attempt, outcome)
        });
    }

    fn want(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let unknown: Vec<_> =
            wanted.iter().filter(|identity| !self.ledger.knows(identity)).cloned().collect();
        let gone = self.ledger.want(wanted.clone(), self.now());
        self.publish(gone.into_iter().map(IdentityChange::Gone));
        unknown.iter().for_each(|identity| self.restore(identity));
        if let Some(cache) = &self.cache {
            cache.retain(&wanted);
        }
    }

    fn wait(&mut self, wait: Wait) {
        let unknown = (!self.ledger.knows(&wait.identity)).then(|| wait.identity.clone());
        self.ledger.wait(wait, self.now());
        if let Some(identity) = unknown {
            self.restore(&identity);
        }
    }

    fn sweep(&mut self) {
        let gone = self.ledger.sweep(self.now());
        self.publish(gone.into_iter().map(IdentityChange::Gone));
    }

    fn settle(&mut self, attempt: &Attempt, outcome: Result<Fetched, FetchError>) {
        if !self.ledger.awaits(attempt) {
            return;
        }
        let identity = &attempt.identity;
        match outcome.and_then(|fetched| self.take(attempt, fetched)) {
            Ok(changes) => {
                self.shared.fetches.count(FetchOutcome::Fetched);
                tracing::debug!(%identity, "certificate fetched");
                self.publish(changes.into_iter());
            }
            Err(error) => {
                self.shared.fetches.count(FetchOutcome::of(&error));
                let cause = describe(&error);
                tracing::warn!(%identity, cause, "certificate was not fetched");
                self.ledger.failed(attempt, &cause.into(), self.now());
            }
        }
    }

    /// Puts a certificate of the CA to use.
    fn take(&mut self, attempt: &Attempt, fetched: Fetched) -> Result<Vec<IdentityChange>, FetchError> {
        let changes = self.adopt(&attempt.identity, fetched, Renewal::HalfLife)?;
        self.keep(&attempt.identity);
        Ok(changes)
    }

    /// Puts a certificate to use, together with what its roots change for the others.
    fn adopt(
        &mut self,
        identity: &SpiffeId,
        fetched: Fetched,
        renewal: Renewal,
    ) -> Result<Vec<IdentityChange>, FetchError> {
        let Fetched { credential, roots } = fetched;
        let now = self.now();
        check_life(&credential, now.wall)?;
        let bundles = self.bundles_with(Some((identity, &roots)));
        let epoch = self.last_epoch + 1;
        let configs = Arc::new(IdentityConfigs::new(credential, bundles.clone(), epoch)?);
        configs.check_own(now.wall).map_err(FetchError::Own)?;
        self.last_epoch = epoch;
        self.ledger.hold(identity, Held { configs, roots }, renewal, now);
        let mut changes = vec![IdentityChange::Renewed { identity: identity.clone(), epoch }];
        if bundles != self.bundles {
            changes.extend(self.trust_in(bundles, Some(identity)));
        }
        Ok(changes)
    }

    fn reload_trust(&mut self) {
        let now = self.now();
        if now.instant < self.next_reload {
            return;
        }
        self.next_reload = now.instant + RELOAD;
        let reloaded = self.trust.reload();
        if reloaded == Reloaded::default() {
            return;
        }
        tracing::info!(?reloaded, "trust changed");
        let bundles = self.bundles_with(None);
        if bundles == self.bundles {
            return;
        }
        let mut changes = self.trust_in(bundles, None);
        // Tunnels may outlive the identities that they were opened under.
        changes.extend(reloaded.revocations.then_some(IdentityChange::Resync));
        self.publish(changes.into_iter());
        if reloaded.roots {
            // The CA may hand out other roots, and sign with another one.
            self.ledger.renew_all(RENEW_ALL_WITHIN, now);
        }
        if reloaded.revocations {
            self.ledger.renew_revoked(now);
        }
    }

    /// The bundles as they are if `renewed` has those roots of its own from now on.
    fn bundles_with(&self, renewed: Option<(&SpiffeId, &Vec<CertificateDer<'static>>)>) -> Arc<Bundles> {
        let others =
            self.ledger.held().filter(|(identity, _)| renewed.is_none_or(|(new, _)| new != *identity));
        let others = others.flat_map(|(_, held)| &held.roots);
        let bundles = self.trust.bundles(others.chain(renewed.into_iter().flat_map(|(_, roots)| roots)));
        // Most often nothing changed: identities then go on sharing one value.
        if bundles == *self.bundles { self.bundles.clone() } else { Arc::new(bundles) }
    }

    /// Rebuilds all identities but one, which is built already.
    fn trust_in(&mut self, bundles: Arc<Bundles>, but: Option<&SpiffeId>) -> Vec<IdentityChange> {
        let mut changes = Vec::new();
        let others = self.ledger.held_mut().filter(|(identity, _)| but != Some(*identity));
        for (identity, held) in others {
            let (credential, epoch) = (held.configs.credential().clone(), self.last_epoch + 1);
            match IdentityConfigs::new(credential, bundles.clone(), epoch) {
                Ok(configs) => {
                    held.configs = Arc::new(configs);
                    self.last_epoch = epoch;
                    changes.push(IdentityChange::Renewed { identity: identity.clone(), epoch });
                }
                Err(error) => {
                    tracing::error!(%identity, cause = describe(&error), "identity keeps its old roots");
                }
            }
        }
        self.bundles = bundles;
        changes
    }

    /// Makes what is in use visible, then tells of it.
    fn publish(&self, changes: impl ExactSizeIterator<Item = IdentityChange>) {
        if changes.len() == 0 {
            return;
        }
        let held = self.ledger.held().map(|(identity, held)| (identity.clone(), held.configs.clone()));
        self.shared.current.store(Arc::new(held.collect::<Current>()));
        self.shared.bundles.store(self.bundles.clone());
        for change in changes {
            // Nobody follows: then nobody has to know.
            let _ = self.shared.changes.send(change);
        }
    }

    fn publish_statuses(&self) {
        let mut statuses = self.shared.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        *statuses = self.ledger.statuses().into();
    }
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").field("in_flight", &self.fetches.len()).finish_non_exhaustive()
    }
}

/// A random number from 0 to 1.
fn roll() -> f64 {
    let mut bytes = [0; 4];
    // Without random bytes there is no key either: what is spread here no longer matters.
    let _ = rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

/// Fetches at a time: Istio's, which keeps a node from drowning its CA.
const MAX_IN_FLIGHT: usize = 8;

/// How often the files of roots and revocation lists are looked at: a revoked peer is cut within that time.
const RELOAD: Duration = Duration::from_secs(2);

/// When roots change, every node renews all it has: spread, so that the CA can bear it.
const RENEW_ALL_WITHIN: Duration = Duration::from_secs(30);
