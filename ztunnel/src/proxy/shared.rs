//! What all workers share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use certs::Identities;
use daemon::drain::Drain;
use daemon::logs::AccessLog;
use daemon::metrics::{Metrics, RegisterError};
use mesh::{Affinities, Snapshots};
use prometheus::{IntCounter, IntCounterVec, IntGauge};

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

/// What workers count besides Istio's families of connections. Everything here is counted once per connection or
/// tunnel at most.
#[derive(Clone, Debug)]
pub struct ProxyMetrics {
    /// Tunnels that came up, by direction and whether a ticket was used.
    pub handshakes: IntCounterVec,
    /// Tunnels that did not, by direction and cause.
    pub handshake_failures: IntCounterVec,
    /// Attempts to reach an upstream, by outcome.
    pub dials: IntCounterVec,
    /// Connections refused by policy, by policy.
    pub denials: IntCounterVec,
    /// Connections that dry-run policies would have refused.
    pub dry_denials: IntCounter,
    /// Live connections that were cut, by reason.
    pub cuts: IntCounterVec,
    /// Connections admitted as the node's own probes.
    pub probes: IntCounter,
    /// Connections that were turned away since a limit was reached.
    pub turned_away: IntCounterVec,
    /// Outbound tunnels that are open.
    pub tunnels: IntGauge,
    /// Tasks that panicked, by name.
    pub panics: IntCounterVec,
    /// Connections carried without protection although the destination should have it.
    pub unprotected: IntCounter,
}

impl ProxyMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Never, unless our own metrics' names clash.
    pub fn new(metrics: &Metrics) -> Result<Self, RegisterError> {
        let by = |name, help, labels: &[&str]| metrics.counter_vec(name, help, labels);
        Ok(Self {
            handshakes: by(
                "ambient_tunnel_handshakes_total",
                "TLS handshakes of tunnels that ended well.",
                &["direction", "kind"],
            )?,
            handshake_failures: by(
                "ambient_tunnel_handshake_failures_total",
                "TLS handshakes of tunnels that failed.",
                &["direction", "cause"],
            )?,
            dials: by("ambient_dials_total", "Attempts to connect to an upstream.", &["path", "outcome"])?,
            denials: by(
                "ambient_policy_denials_total",
                "Connections refused by policy.",
                &["policy_namespace", "policy_name", "reason"],
            )?,
            dry_denials: metrics.counter(
                "ambient_policy_dry_run_denials_total",
                "Connections that policies in dry run would have refused.",
            )?,
            cuts: by("ambient_connections_cut_total", "Live connections that were cut.", &["reason"])?,
            probes: metrics
                .counter("ambient_probes_total", "Connections admitted as the node's own probes.")?,
            turned_away: by(
                "ambient_connections_turned_away_total",
                "Connections turned away since a limit was reached.",
                &["limit"],
            )?,
            tunnels: metrics.gauge("ambient_tunnels_open", "Outbound tunnels that are open.")?,
            panics: by("ambient_task_panics_total", "Tasks that panicked.", &["task"])?,
            unprotected: metrics.counter(
                "ambient_unprotected_connections_total",
                "Connections in plaintext to workloads that are to be captured and are not yet.",
            )?,
        })
    }
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
