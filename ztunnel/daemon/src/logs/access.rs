//! One record per connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::logs::Output;

/// Takes records. Clones write to the same output.
#[derive(Clone, Debug)]
pub struct AccessLog {
    output: Output,
}

/// What became of one connection. Formatted by the thread that writes it.
pub struct Record {
    /// When the connection ended.
    pub ended: SystemTime,
    /// How long it lasted.
    pub duration: Duration,
    /// Which side of it this daemon was.
    pub direction: Direction,
    /// How its bytes travelled.
    pub path: Path,
    /// Who opened it.
    pub source: Party,
    /// Whom it reached, or was meant for.
    pub destination: Party,
    /// Where its tunnel went; none without a tunnel.
    pub hbone_addr: Option<SocketAddr>,
    /// Host name of the service that was called.
    pub service: Option<Arc<str>>,
    /// Host name that the client asked for, where that is not the service's.
    pub hostname: Option<Arc<str>>,
    /// The other end's network, where it is another one; of a peer, what it says itself.
    pub network: Option<Arc<str>>,
    /// Bytes from source to destination.
    pub bytes_sent: u64,
    /// Bytes from destination to source.
    pub bytes_received: u64,
    /// The policy that allowed or denied.
    pub policy: Option<PolicyRef>,
    /// The trace that it belongs to, if it is traced.
    pub trace: Option<u128>,
    /// Why it failed.
    pub error: Option<Box<dyn fmt::Display + Send>>,
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct Party {
    /// Its address.
    pub addr: SocketAddr,
    /// Pod or entry.
    pub workload: Option<Arc<str>>,
    /// Its namespace.
    pub namespace: Option<Arc<str>>,
    /// Its verified identity.
    pub identity: Option<Arc<str>>,
    /// What it is known to be without one, as policies name it.
    pub class: Option<&'static str>,
    /// Its cluster.
    pub cluster: Option<Arc<str>>,
}

/// The policy that decided.
#[derive(Clone, Debug)]
pub struct PolicyRef {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Index of the rule that matched.
    pub rule: Option<usize>,
}

/// Which side of a connection this daemon was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards a workload of this node.
    Inbound,
    /// From a workload of this node.
    Outbound,
}

/// How a connection's bytes travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// As they are, to a destination that the mesh knows.
    Direct,
    /// In an mTLS tunnel within one to a gateway of another network.
    DoubleHbone,
    /// In an mTLS tunnel.
    Hbone,
    /// Between two workloads of this node.
    NodeLocal,
    /// As they are, to or from whoever it is.
    Passthrough,
}

impl AccessLog {
    /// Records go to `output`.
    pub const fn new(output: Output) -> Self {
        Self { output }
    }

    /// Queues a record; drops and counts it when there is no room. Never waits.
    pub fn push(&self, record: Record) {
        self.output.record(record);
    }
}

impl Party {
    /// A party of whom only the address is known.
    pub const fn unknown(addr: SocketAddr) -> Self {
        Self { addr, workload: None, namespace: None, identity: None, class: None, cluster: None }
    }
}

impl PolicyRef {
    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Direction {
    /// As it is logged.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

impl Path {
    /// As it is logged.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::DoubleHbone => "double-hbone",
            Self::Hbone => "hbone",
            Self::NodeLocal => "node-local",
            Self::Passthrough => "passthrough",
        }
    }
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        self.rule.map_or(Ok(()), |rule| write!(f, " rule {rule}"))
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("direction", &self.direction)
            .field("path", &self.path)
            .field("source", &self.source.addr)
            .field("destination", &self.destination.addr)
            .finish_non_exhaustive()
    }
}
