//! What is told of each connection: Istio's counters while it lives, one access record when it ends.
//!
//! A worker has one [`Telemetry`]. A connection opens a [`Report`] as soon as it is known where it goes, counts its
//! bytes there, and closes it with or without an error; a report that is dropped counts as closed and leaves its
//! record too, so that no path out of a task forgets it.

mod peers;
mod report;

use std::net::SocketAddr;
use std::sync::Arc;

use daemon::logs::{AccessLog, Direction, Path, PolicyRef};
use daemon::metrics::{Reporter, Security, WorkerCounters};
use identity::SpiffeId;
use mesh::{Service, Workload};

use peers::Peers;
pub use report::Report;

/// Counters and access log of one worker. Not `Send`: it stays on its worker.
#[derive(Debug)]
pub struct Telemetry {
    counters: WorkerCounters,
    access: AccessLog,
    peers: Peers,
}

/// What is known of a connection when it is opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Which side of it this node is.
    pub direction: Direction,
    /// How its bytes travel.
    pub path: Path,
    /// Who opened it.
    pub source: End,
    /// Whom it reaches.
    pub destination: End,
    /// Where its tunnel goes; none without a tunnel.
    pub hbone_addr: Option<SocketAddr>,
    /// The service that was called.
    pub service: Option<Arc<Service>>,
    /// Host name that the client asked for, where that is not the service's.
    pub hostname: Option<Arc<str>>,
    /// The policy that allowed or denied, if one did.
    pub policy: Option<PolicyRef>,
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct End {
    /// Its address.
    pub addr: SocketAddr,
    /// The workload there, if one is known.
    pub workload: Option<Arc<Workload>>,
    /// Its identity, as verified.
    pub identity: Option<SpiffeId>,
}

impl Telemetry {
    /// Telemetry of a worker, made on its own thread.
    pub fn new(counters: WorkerCounters, access: AccessLog) -> Self {
        Self { counters, access, peers: Peers::default() }
    }

    /// Hands what was counted to the shared counters; to be called about once a second.
    pub fn flush(&self) {
        self.counters.flush();
    }
}

impl End {
    /// An end of which only the address is known.
    pub const fn unknown(addr: SocketAddr) -> Self {
        Self { addr, workload: None, identity: None }
    }
}

/// Istio's name of the side that reports.
const fn reporter(direction: Direction) -> Reporter {
    match direction {
        Direction::Inbound => Reporter::Destination,
        Direction::Outbound => Reporter::Source,
    }
}

/// What the path means for the connection's protection.
const fn security(path: Path) -> Security {
    match path {
        Path::Hbone => Security::MutualTls,
        Path::NodeLocal => Security::NodeLocal,
        Path::Direct | Path::Passthrough => Security::Unknown,
    }
}

/// The policy that a permit or a refusal names, as it is logged.
pub fn policy_ref(name: &authz::PolicyName, rule: Option<usize>) -> PolicyRef {
    PolicyRef { namespace: name.namespace.clone(), name: name.name.clone(), rule }
}
