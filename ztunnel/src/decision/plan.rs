//! How an outbound connection is carried.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use certs::PeerIdentities;
use hbone::authority::Authority;
use identity::SpiffeId;
use mesh::{GatewayHost, Network, Place, Remembered, Service, ServiceKey, WaypointRef, Workload};

/// How an outbound connection is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// In plaintext to a workload or an endpoint that has no tunnel.
    Direct {
        /// Where to.
        upstream: Upstream,
        /// The workload is to be captured and isn't yet: what should be protected is not.
        unprotected: bool,
    },
    /// In a tunnel to the workload.
    Hbone(Tunnel),
    /// To a workload of this very node: from socket to socket if policy permits, under the same identities. The tunnel
    /// says what would be said on the wire.
    Local(Tunnel),
    /// To another network: in a tunnel to who answers there, within one to the network's gateway.
    Nested(Box<Nested>),
    /// To where the client wanted to go: nobody in the mesh.
    Passthrough {
        /// Where to.
        destination: SocketAddr,
        /// Why.
        passed: Passed,
        /// The service that says so, if one does.
        service: Option<Arc<Service>>,
    },
    /// In a tunnel to the waypoint that the destination asks for; the authority is the original destination.
    Waypoint(Tunnel),
}

/// Who receives a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is.
    pub place: Place,
    /// The port.
    pub port: u16,
    /// The workload, if one is known.
    pub workload: Option<Arc<Workload>>,
    /// The service that was called, if one was.
    pub service: Option<Arc<Service>>,
    /// The endpoint that was picked; none when the client named the workload itself. After a dial that failed, ask again
    /// with its target excluded.
    pub picked: Option<Picked>,
}

/// An endpoint that was picked for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    /// The service that it was picked from: the waypoint's for a waypoint.
    pub service: ServiceKey,
    /// Port of that service.
    pub port: u16,
    /// The endpoint.
    pub endpoint: Remembered,
    /// Remember the endpoint for this client, for so long after its last connection.
    pub remember: Option<Duration>,
}

/// A tunnel to who receives a connection, or to its waypoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Who is at its other end. With a waypoint, `service` is the one that the client called, if any.
    pub upstream: Upstream,
    /// Where the tunnel goes.
    pub address: SocketAddr,
    /// Where its other end is to connect to.
    pub authority: SocketAddr,
    /// The identities that its other end may have.
    pub identities: PeerIdentities,
    /// The waypoint that it leads to, if it is one.
    pub waypoint: Option<WaypointName>,
}

/// A tunnel within a tunnel, through the gateway of another network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nested {
    /// The endpoint that was picked, which says what network it is: the gateway may pick another one there.
    pub upstream: Upstream,
    /// The service that was called.
    pub service: ServiceKey,
    /// The network.
    pub network: Network,
    /// Where the outer tunnel goes.
    pub gateway: Gateway,
    /// Whom to expect there.
    pub identity: SpiffeId,
    /// The service and its port: what both ends are asked for.
    pub authority: Authority,
    /// The identities that the inner tunnel's other end may have.
    pub identities: PeerIdentities,
}

/// One place of a gateway of another network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// `namespace/name` of its manifest.
    pub key: Arc<str>,
    /// Where it is.
    pub host: GatewayHost,
    /// Its port of tunnels.
    pub port: u16,
}

/// The name of a waypoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaypointName {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name there.
    pub name: Arc<str>,
}

/// Why a connection goes where the client wanted to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Passed {
    /// The source's namespace lists the address.
    ListedAddress,
    /// The source's namespace lists the name, or a ServiceEntry describes it, and the pod resolved it to the address.
    ListedName(Arc<str>),
    /// The destination is a node.
    Node,
    /// A ServiceEntry says so (`resolution: NONE`).
    Service,
    /// Nobody in the mesh has the address.
    Unknown,
    /// Nobody in the mesh has the address, and the source's namespace wants to hear of it.
    UnknownReported,
}

impl Passed {
    /// The name by which it passed, if it did by one.
    pub const fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::ListedName(name) => Some(name),
            _ => None,
        }
    }

    /// What a namespace's egress settings made of it, if they were asked.
    pub const fn egress_outcome(&self) -> Option<&'static str> {
        match self {
            Self::ListedAddress => Some("listed_address"),
            Self::ListedName(_) => Some("listed_name"),
            Self::UnknownReported => Some("reported"),
            Self::Node | Self::Service | Self::Unknown => None,
        }
    }
}

impl From<&WaypointRef> for WaypointName {
    fn from(waypoint: &WaypointRef) -> Self {
        Self { namespace: waypoint.namespace.clone(), name: waypoint.name.clone() }
    }
}

impl fmt::Display for WaypointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Plan {
    /// The service that was called, if one was.
    pub fn service(&self) -> Option<&Arc<Service>> {
        match self {
            Self::Passthrough { service, .. } => service.as_ref(),
            Self::Direct { upstream, .. } => upstream.service.as_ref(),
            Self::Nested(nested) => nested.upstream.service.as_ref(),
            Self::Hbone(tunnel) | Self::Local(tunnel) | Self::Waypoint(tunnel) => {
                tunnel.upstream.service.as_ref()
            }
        }
    }

    /// The workload that the connection goes to, if one is known.
    pub fn workload(&self) -> Option<&Arc<Workload>> {
        match self {
            Self::Passthrough { .. } => None,
            Self::Direct { upstream, .. } => upstream.workload.as_ref(),
            Self::Nested(nested) => nested.upstream.workload.as_ref(),
            Self::Hbone(tunnel) | Self::Local(tunnel) | Self::Waypoint(tunnel) => {
                tunnel.upstream.workload.as_ref()
            }
        }
    }

    /// The endpoint that was picked, if there was a choice.
    pub fn picked(&self) -> Option<&Picked> {
        match self {
            Self::Passthrough { .. } => None,
            Self::Direct { upstream, .. } => upstream.picked.as_ref(),
            Self::Nested(nested) => nested.upstream.picked.as_ref(),
            Self::Hbone(tunnel) | Self::Local(tunnel) | Self::Waypoint(tunnel) => {
                tunnel.upstream.picked.as_ref()
            }
        }
    }
}
