//! What all workers share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use certs::Identities;
use daemon::drain::Drain;
use daemon::logs::AccessLog;
use daemon::metrics::Metrics;
use mesh::{Affinities, Snapshots};

use super::counts::ProxyMetrics;
use crate::decision::Strangers;
use crate::dns::Resolver;

/// What all workers share. Nothing in it is asked more than a few times per connection.
#[derive(Debug)]
pub struct Shared {
    /// The mesh.
    pub snapshots: Snapshots,
    /// TLS configurations.
    pub identities: Identities,
    /// Addresses of hosts that are known by name only.
    pub resolver: Resolver,
    /// What holds for every connection.
    pub settings: Settings,
    /// Which endpoint each client's connections go to, for services that want that.
    pub affinities: Mutex<Affinities>,
    /// Whether the daemon is about to end.
    pub drain: Drain,
    /// Where connections are counted.
    pub metrics: Metrics,
    /// What else is counted.
    pub counts: ProxyMetrics,
    /// Where connections' records go.
    pub access: AccessLog,
    /// TLS handshakes in progress.
    pub handshakes: AtomicUsize,
}

/// What holds for every connection.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Two pods of this node are joined without a tunnel where that may be.
    pub node_local: bool,
    /// Applications see the original source address.
    pub original_source: bool,
    /// What becomes of tunnels from addresses that nobody is known at.
    pub strangers: Strangers,
    /// How long things may take.
    pub timeouts: crate::config::Timeouts,
    /// How much there may be.
    pub limits: crate::config::Limits,
}

/// A place among a bounded number of things. Given back when dropped.
#[derive(Debug)]
pub(super) struct Slot<C: AsRef<AtomicUsize>>(C);

impl<C: AsRef<AtomicUsize>> Slot<C> {
    /// A place, unless `limit` are taken.
    pub(super) fn take(count: C, limit: usize) -> Option<Self> {
        let taken = count.as_ref().fetch_add(1, Ordering::Relaxed);
        // Dropped at once where it is one too many.
        let slot = Self(count);
        (taken < limit).then_some(slot)
    }
}

impl<C: AsRef<AtomicUsize>> Drop for Slot<C> {
    fn drop(&mut self) {
        self.0.as_ref().fetch_sub(1, Ordering::Relaxed);
    }
}

/// The count of handshakes in progress, as a [`Slot`] wants it.
#[derive(Clone, Debug)]
pub(super) struct Handshakes(pub(super) Arc<Shared>);

impl AsRef<AtomicUsize> for Handshakes {
    fn as_ref(&self) -> &AtomicUsize {
        &self.0.handshakes
    }
}
