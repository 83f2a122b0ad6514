//! Whether a peer's identity agrees with what the mesh knows of its address.

use std::net::IpAddr;
use std::sync::Arc;

use daemon::config::Value;
use identity::SpiffeId;
use mesh::{Network, NetworkAddress, Snapshot, Workload, WorkloadKind};

/// What becomes of peers at addresses that the mesh knows nobody at: nodes that masquerade, other networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strangers {
    /// Their certificate is enough.
    #[default]
    Accept,
    /// They are refused.
    Refuse,
}

impl PeerMismatch {
    /// Whether it may be somebody whom the mesh does not know yet.
    pub const fn is_stranger(&self) -> bool {
        matches!(self, Self::Stranger { .. })
    }
}

impl Value for Strangers {
    const WANT: &'static str = "accept or refuse";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "accept" => Some(Self::Accept),
            "refuse" => Some(Self::Refuse),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Accept => "accept".to_owned(),
            Self::Refuse => "refuse".to_owned(),
        }
    }
}

/// A peer's identity is not one that is at its address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerMismatch {
    /// Another workload is at that address.
    #[error("peer at {ip} presented {presented}, but {expected} is there")]
    Identity {
        /// Its address.
        ip: IpAddr,
        /// What it presented.
        presented: SpiffeId,
        /// Who is known to be there.
        expected: SpiffeId,
    },
    /// A workload without an identity is at that address.
    #[error("peer at {ip} presented {presented}, but what is there has no identity")]
    NoIdentity {
        /// Its address.
        ip: IpAddr,
        /// What it presented.
        presented: SpiffeId,
    },
    /// Nobody is known to be at that address.
    #[error("peer at {ip} presented {presented}, but nobody is known to be there")]
    Stranger {
        /// Its address.
        ip: IpAddr,
        /// What it presented.
        presented: SpiffeId,
    },
}

/// Who a peer's tunnel comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// The workload at its address.
    Workload(&'a Arc<Workload>),
    /// Somebody on another network, through this gateway of the own one.
    Beyond(&'a Arc<Workload>),
    /// None of the mesh's workloads, as far as that is known.
    Unknown,
}

/// Who a tunnel comes from. While an address passes from one workload to another, either may be there.
/// Where only entries are, whom their services name is expected as well, as another mesh's workload: none of ours.
///
/// From a gateway of the own network, tunnels come of workloads on others, whose addresses nobody sees: the certificate
/// alone says who they are. One account may have pods on several networks, so that a name that is at home here says
/// nothing against it. Where strangers are refused, only those come so who are known to be on another network.
///
/// # Errors
/// When only workloads of other identities are at its address, or nobody is and strangers are refused.
pub fn verify_peer<'a>(
    snapshot: &'a Snapshot,
    network: &Network,
    ip: IpAddr,
    presented: &SpiffeId,
    strangers: Strangers,
) -> Result<Origin<'a>, PeerMismatch> {
    let ip = ip.to_canonical();
    let there = snapshot.workloads_by_address(&NetworkAddress::new(network.clone(), ip));
    if let Some(workload) = there.iter().find(|workload| workload.is(presented)) {
        return Ok(Origin::Workload(workload));
    }
    let is_entry = |workload: &Arc<Workload>| workload.profile.kind == WorkloadKind::Entry;
    if there.iter().all(is_entry) && there.iter().any(|entry| is_named(snapshot, entry, presented)) {
        return Ok(Origin::Unknown);
    }
    let is_let_in = || strangers == Strangers::Accept || snapshot.is_known_beyond(network, presented);
    if let [gateway, ..] = there
        && is_gateway(there)
        && is_let_in()
    {
        return Ok(Origin::Beyond(gateway));
    }
    let presented = presented.clone();
    match (there.first(), strangers) {
        (None, Strangers::Accept) => Ok(Origin::Unknown),
        (None, Strangers::Refuse) => Err(PeerMismatch::Stranger { ip, presented }),
        (Some(other), _) => Err(match other.identity() {
            Some(expected) => PeerMismatch::Identity { ip, presented, expected },
            None => PeerMismatch::NoIdentity { ip, presented },
        }),
    }
}

/// Whether a gateway of the own network is at an address: one tunnel comes from there for each connection of others.
pub fn is_own_gateway(snapshot: &Snapshot, network: &Network, ip: IpAddr) -> bool {
    is_gateway(snapshot.workloads_by_address(&NetworkAddress::new(network.clone(), ip.to_canonical())))
}

/// Whether nothing else than gateways of the own network may be at an address.
fn is_gateway(there: &[Arc<Workload>]) -> bool {
    !there.is_empty() && there.iter().all(|workload| workload.profile.network_gateway)
}

/// Whether a service that a workload serves names `presented` as who may answer.
fn is_named(snapshot: &Snapshot, workload: &Workload, presented: &SpiffeId) -> bool {
    let mut services = workload.services.iter().filter_map(|key| snapshot.service(key));
    services.any(|service| service.subject_alt_names.contains(presented))
}
