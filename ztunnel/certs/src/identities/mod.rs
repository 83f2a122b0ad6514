//! The certificates of a node's workloads: fetched before they are needed, renewed before they end.
//!
//! - [`schedule`]: when to fetch; [`ledger`]: what is known of each identity, and what comes next; both are pure;
//! - [`fetch`]: one fetch; [`upkeep`]: the task that does what the ledger says;
//! - [`changes`], [`status`]: what others see of it.

mod changes;
mod fetch;
mod ledger;
mod schedule;
mod status;
mod upkeep;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use identity::SpiffeId;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::bundle::Bundles;
use crate::clock::Clock;
use crate::configs::IdentityConfigs;
use crate::signer::Signer;
use crate::trust::{FederatedWithItself, TrustFiles};
pub use changes::{IdentityChange, IdentityChanges};
use ledger::Wait;
use status::FetchCounts;
pub use status::{CertificateStatus, FetchOutcome, IdentityState, IdentityStatus};
pub use upkeep::Upkeep;

/// The TLS configurations of the local identities. Clones share them.
#[derive(Clone)]
pub struct Identities {
    shared: Arc<Shared>,
    wanted: watch::Sender<Arc<BTreeSet<SpiffeId>>>,
    waits: mpsc::Sender<Wait>,
}

/// Why an identity cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no certificate for {identity}: {reason}")]
pub struct Unavailable {
    /// The identity.
    pub identity: SpiffeId,
    /// Why there is no certificate.
    pub reason: UnavailableReason,
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnavailableReason {
    /// The last fetch failed.
    #[error("{0}")]
    Failed(Arc<str>),
    /// No local workload has the identity any more.
    #[error("no local workload has it")]
    Forgotten,
    /// Nobody fetches any more.
    #[error("the daemon is ending")]
    Stopped,
    /// The CA has not answered yet.
    #[error("the ca has not answered yet")]
    Unanswered,
}

/// What the upkeep publishes.
struct Shared {
    current: ArcSwap<Current>,
    bundles: ArcSwap<Bundles>,
    /// Written by the upkeep only, and never on the byte path.
    statuses: Mutex<Arc<[IdentityStatus]>>,
    changes: broadcast::Sender<IdentityChange>,
    fetches: FetchCounts,
}

/// A node has some hundred identities at most: a new map for each change costs less than a map that shares structure.
type Current = HashMap<SpiffeId, Arc<IdentityConfigs>, foldhash::fast::RandomState>;

impl Identities {
    /// Identities whose certificates come from `signer`, and the upkeep that must run for that.
    ///
    /// # Errors
    /// When a trust domain is federated with itself.
    pub fn start(
        signer: Arc<dyn Signer>,
        trust: TrustFiles,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Upkeep), FederatedWithItself> {
        let (wanted, wanted_by) = watch::channel(Arc::default());
        let (waits, waits_of) = mpsc::channel(WAITS);
        let shared = Shared::new(Current::default());
        let upkeep = Upkeep::new(signer, trust, clock, shared.clone(), (wanted_by, waits_of))?;
        Ok((Self { shared, wanted, waits }, upkeep))
    }

    /// Identities that never change.
    pub fn fixed(configs: impl IntoIterator<Item = Arc<IdentityConfigs>>) -> Self {
        let current = configs.into_iter().map(|configs| (configs.leaf().identity.clone(), configs));
        let (wanted, _) = watch::channel(Arc::default());
        let (waits, _) = mpsc::channel(1);
        Self { shared: Shared::new(current.collect()), wanted, waits }
    }

    /// What `identity` opens and accepts tunnels with, if its certificate is there. Takes no lock.
    pub fn current(&self, identity: &SpiffeId) -> Option<Arc<IdentityConfigs>> {
        self.shared.current.load().get(identity).cloned()
    }

    /// What is trusted now.
    pub fn bundles(&self) -> Arc<Bundles> {
        self.shared.bundles.load_full()
    }

    /// Waits for `identity`, whose fetch now comes before those that nobody waits for. Failed fetches are repeated as
    /// long as there is time for it.
    ///
    /// # Errors
    /// When there is no certificate at `deadline`, or it is known that there will be none by then.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn ready(
        &self,
        identity: &SpiffeId,
        deadline: Instant,
    ) -> Result<Arc<IdentityConfigs>, Unavailable> {
        if let Some(configs) = self.current(identity) {
            return Ok(configs);
        }
        let stopped = || self.unavailable(identity, UnavailableReason::Stopped);
        let (reply, answer) = oneshot::channel();
        let answered = async {
            let wait = Wait { identity: identity.clone(), deadline, reply };
            self.waits.send(wait).await.map_err(|_gone| stopped())?;
            answer.await.map_err(|_gone| stopped())?
        };
        timeout_at(deadline, answered).await.unwrap_or_else(|_elapsed| Err(self.overdue(identity)))
    }

    /// From now on these are the identities of local workloads: certificates of new ones are fetched ahead, those of
    /// others forgotten.
    pub fn want(&self, identities: BTreeSet<SpiffeId>) {
        self.wanted.send_if_modified(|wanted| {
            let differs = **wanted != identities;
            if differs {
                *wanted = Arc::new(identities);
            }
            differs
        });
    }

    /// Follows changes from now on.
    pub fn changes(&self) -> IdentityChanges {
        IdentityChanges(self.shared.changes.subscribe())
    }

    /// How each identity fares, by name.
    pub fn statuses(&self) -> Arc<[IdentityStatus]> {
        self.shared.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many fetches ended that way.
    pub fn fetches(&self, outcome: FetchOutcome) -> u64 {
        self.shared.fetches.of(outcome)
    }

    fn overdue(&self, identity: &SpiffeId) -> Unavailable {
        let statuses = self.statuses();
        let status = statuses.iter().find(|status| status.identity == *identity);
        let error = status.and_then(|status| status.last_error.clone());
        self.unavailable(identity, error.map_or(UnavailableReason::Unanswered, UnavailableReason::Failed))
    }

    fn unavailable(&self, identity: &SpiffeId, reason: UnavailableReason) -> Unavailable {
        Unavailable { identity: identity.clone(), reason }
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.shared.current.load().keys()).finish()
    }
}

impl Shared {
    fn new(current: Current) -> Arc<Self> {
        let (changes, _) = broadcast::channel(BACKLOG);
        Arc::new(Self {
            current: ArcSwap::from_pointee(current),
            bundles: ArcSwap::default(),
            statuses: Mutex::new([].into()),
            changes,
            fetches: FetchCounts::default(),
        })
    }
}

/// Connections that may queue up to be known to wait; more wait for a place, within their own deadlines.
const WAITS: usize = 1024;

/// Changes kept for followers that are busy: all identities of a full node, twice.
const BACKLOG: usize = 512;

#[cfg(test)]
mod tests;
