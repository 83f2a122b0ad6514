//! What all workers share.

use std::sync::Mutex;
use std::time::Duration;

use certs::Identities;
use daemon::drain::Drain;
use daemon::metrics::Metrics;
use mesh::{Affinities, Snapshots};

use super::counts::ProxyMetrics;
use super::limits::Bounds;
use crate::decision::Strangers;
use crate::dns::Resolver;
use crate::telemetry::Records;

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
    /// Where connections' records go, and which leave one.
    pub records: Records,
    /// How much there may be of what is bounded for the daemon as a whole.
    pub bounds: Bounds,
}

/// What holds for every connection.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Two pods of this node are joined without a tunnel where that may be.
    pub node_local: bool,
    /// The daemon is in its node's network, and so sees who probes.
    pub on_node: bool,
    /// Applications see the original source address.
    pub original_source: bool,
    /// How long a worker looks for more before it sleeps.
    pub linger: Duration,
    /// What becomes of tunnels from addresses that nobody is known at.
    pub strangers: Strangers,
    /// How long things may take.
    pub timeouts: crate::config::Timeouts,
    /// How much there may be.
    pub limits: crate::config::Limits,
}
