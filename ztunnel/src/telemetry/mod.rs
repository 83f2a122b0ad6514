//! What is told of each connection: Istio's counters while it lives, one access record when it ends.
//!
//! A worker has one [`Telemetry`]. A connection opens a [`Report`] as soon as it is known where it goes, counts its
//! bytes there, and closes it with or without an error; a report that is dropped counts as closed and leaves its
//! record too, so that no path out of a task forgets it.

mod denials;
#[cfg(feature = "otlp")]
pub mod otlp;
mod peers;
mod report;
mod trace;
mod view;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use authz::SourceClass;
use daemon::logs::{AccessLog, Direction, Path, PolicyRef};
use daemon::metrics::{Reporter, Security, WorkerCounters};
use identity::SpiffeId;
use mesh::{AccessLogging, Service, Snapshots, Workload};
use prometheus::IntCounter;

pub use denials::{Denial, Denials};
use peers::Peers;
pub use report::Report;
pub use trace::Trace;
pub use view::EndView;

/// Counters and access log of one worker. Not `Send`: it stays on its worker.
#[derive(Debug)]
pub struct Telemetry {
    counters: WorkerCounters,
    records: Rc<Records>,
    peers: Peers,
}

/// Where connections leave their records, and which of them do.
#[derive(Clone, Debug)]
pub struct Records {
    /// Where they go.
    pub access: AccessLog,
    /// Which connections leave one where their namespace does not say.
    pub default: AccessLogging,
    /// What namespaces say.
    pub snapshots: Snapshots,
    /// Connections that left none.
    pub skipped: IntCounter,
    /// Those that were denied of late, whether they left one or not.
    pub denials: Denials,
    /// Where spans of traced connections go; none while nobody wants them.
    #[cfg(feature = "otlp")]
    pub spans: Option<otlp::Spans>,
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
    /// What its source is known to be without an identity.
    pub class: Option<SourceClass>,
    /// Whom it reaches.
    pub destination: End,
    /// Where its tunnel goes; none without a tunnel.
    pub hbone_addr: Option<SocketAddr>,
    /// The service that was called.
    pub service: Option<Arc<Service>>,
    /// Host name that the client asked for, where that is not the service's.
    pub hostname: Option<Arc<str>>,
    /// The other end's network, where it is another one; of a peer, what it says itself.
    pub network: Option<Arc<str>>,
    /// The policy that allowed or denied, if one did.
    pub policy: Option<PolicyRef>,
    /// The trace that it belongs to.
    pub trace: Trace,
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

impl End {
    /// What a workload is at an address, under the identity that it has in the mesh.
    pub fn of(addr: SocketAddr, workload: Option<Arc<Workload>>) -> Self {
        let identity = workload.as_ref().and_then(|workload| workload.identity());
        Self { addr, workload, identity }
    }
}

impl Telemetry {
    /// Telemetry of a worker, made on its own thread.
    pub fn new(counters: WorkerCounters, records: Records) -> Self {
        Self { counters, records: Rc::new(records), peers: Peers::default() }
    }

    /// Hands what was counted to the shared counters; to be called about once a second.
    pub fn flush(&self) {
        self.counters.flush();
    }
}

impl Records {
    /// Whether a connection that begins here is traced; `draw` is random.
    pub fn traces(&self, draw: u64) -> bool {
        #[cfg(feature = "otlp")]
        return self.spans.as_ref().is_some_and(|spans| spans.samples(draw));
        #[cfg(not(feature = "otlp"))]
        {
            let _nobody_wants_spans = draw;
            false
        }
    }

    /// Hands the span of a traced connection over.
    #[cfg(feature = "otlp")]
    fn span(&self, record: &daemon::logs::Record, trace: &Trace) {
        if let Some(spans) = self.spans.as_ref().filter(|_| trace.own.sampled) {
            spans.push(otlp::of(record, trace));
        }
    }

    /// Whether a connection leaves a record, as things stand when it ends.
    fn wants(&self, own: Option<&Workload>, failed: bool, draw: u64) -> bool {
        let snapshot = self.snapshots.load();
        let namespace = own.map(|workload| &workload.profile.namespace);
        let settings = namespace.and_then(|name| snapshot.namespace(name));
        let rule = settings.and_then(|settings| settings.access_log).unwrap_or(self.default);
        rule.records(failed, draw)
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
        Path::DoubleHbone | Path::Hbone => Security::MutualTls,
        Path::NodeLocal => Security::NodeLocal,
        Path::Direct | Path::Passthrough => Security::Unknown,
    }
}

/// The rule that matched, as it is told.
pub fn rule_ref(matched: &authz::MatchedRule) -> PolicyRef {
    policy_ref(&matched.policy, Some(matched.rule))
}

/// The policy and rule that denied, as they are told; none where it was for want of one that allows.
pub fn denied_by(denied: &authz::Denied) -> Option<PolicyRef> {
    denied.policy.as_ref().map(|name| policy_ref(name, denied.rule))
}

fn policy_ref(name: &authz::PolicyName, rule: Option<usize>) -> PolicyRef {
    PolicyRef { namespace: name.namespace.clone(), name: name.name.clone(), rule }
}
