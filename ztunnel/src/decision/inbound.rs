//! Whether a connection to a pod of this node is let in, and which port of it it reaches.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use authz::{Denied, Permit, SourceClass};
use hbone::authority::{Authority, AuthorityError, Host};
use identity::SpiffeId;
use mesh::{EndpointTarget, Isolated, Service, Snapshot, Workload};

use super::admission::{Admission, Source};
use super::is_ours;
use crate::redirect::canonical;

/// A CONNECT request in a tunnel to a pod of this node.
#[derive(Clone, Copy, Debug)]
pub struct TunnelledCall<'a> {
    /// The pod.
    pub local: &'a Workload,
    /// The peer's verified identity.
    pub peer: &'a SpiffeId,
    /// The original source address.
    pub source_ip: IpAddr,
    /// Where the peer wants to go.
    pub authority: &'a Authority,
    /// The pod's address that the tunnel came to.
    pub local_ip: IpAddr,
    /// What it leads to.
    pub reach: Reach,
}

/// What a tunnel to a pod of this node leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The applications of a captured pod.
    Applications,
    /// The daemon's own metrics, under this port of its own pod's addresses. That pod is in its node's network: nothing
    /// else that is there may be reached.
    Metrics {
        /// The port.
        port: u16,
    },
}

/// What an inbound connection reaches.
#[derive(Debug)]
pub struct InboundTarget {
    /// The pod's address and the application's port.
    pub upstream: SocketAddr,
    /// The service that was asked for by name, if one was.
    pub service: Option<Arc<Service>>,
    /// Proof that policy allows it.
    pub permit: Permit,
    /// On which grounds: asked again when policies change.
    pub admission: Admission,
}

/// Why an inbound connection is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboundError {
    /// The peer asks for another address than the one that its tunnel came to.
    #[error("authority asks for {asked}, but the tunnel came to {local}")]
    AddressMismatch {
        /// The address that it asks for.
        asked: IpAddr,
        /// The address that its tunnel came to.
        local: IpAddr,
    },
    /// What the peer asks for is no destination.
    #[error("the request's authority is no destination")]
    Authority(#[from] AuthorityError),
    /// Policy refuses it.
    #[error("policy refused the connection")]
    Denied(#[source] Denied),
    /// NetworkPolicies keep it out.
    #[error("the pod's network policies refused the connection")]
    Isolated(#[source] Isolated),
    /// The pod is no endpoint of a service of that name.
    #[error("the pod is no endpoint of a service named {host}")]
    NotAnEndpoint {
        /// The name that the peer asks for.
        host: Arc<str>,
    },
    /// The peer asks for something else than a connection.
    #[error("the request is no CONNECT")]
    NotConnect,
    /// The peer asks the daemon for something else than it serves.
    #[error(
        "the daemon serves nothing but its metrics, at port {metrics} of its pod, and not port {port} of {ip}"
    )]
    NotServed {
        /// The address that it asks for.
        ip: IpAddr,
        /// The port that it asks for.
        port: u16,
        /// The port of its metrics.
        metrics: u16,
    },
    /// The service that the peer asks for has no such port on this pod.
    #[error("service {host} has no port {port} on the pod")]
    NoSuchPort {
        /// The name that the peer asks for.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
    /// The peer asks for a port of the daemon.
    #[error("port {port} is the daemon's")]
    OwnPort {
        /// The port.
        port: u16,
    },
}

/// Decides about a CONNECT request.
///
/// # Errors
/// [`InboundError`], with the status to answer ([`InboundError::status`]).
pub fn inbound(snapshot: &Snapshot, call: &TunnelledCall<'_>) -> Result<InboundTarget, InboundError> {
    let local_ip = call.local_ip.to_canonical();
    let (port, service) = match call.authority.host() {
        Host::Ip(asked) if asked.to_canonical() == local_ip => (call.authority.port(), None),
        Host::Ip(asked) => return Err(InboundError::AddressMismatch { asked: *asked, local: local_ip }),
        Host::Name(name) => {
            let service = called_service(snapshot, call.local, name.as_str())?;
            let port = own_port(service, call.local, local_ip, call.authority.port())?;
            (port, Some(service.clone()))
        }
    };
    if let Reach::Metrics { port: metrics } = call.reach
        && (port != metrics || !call.local.addresses.contains(&local_ip))
    {
        return Err(InboundError::NotServed { ip: local_ip, port, metrics });
    }
    let upstream = SocketAddr::new(local_ip, port);
    let target = admit(snapshot, call.local, Source::Peer(call.peer), call.source_ip, upstream)?;
    Ok(InboundTarget { service, ..target })
}

/// Decides about a connection in plaintext, to `destination`, from a source of that class.
///
/// # Errors
/// [`InboundError`].
pub fn inbound_plaintext(
    snapshot: &Snapshot,
    local: &Workload,
    source_ip: IpAddr,
    destination: SocketAddr,
    class: Option<SourceClass>,
) -> Result<InboundTarget, InboundError> {
    admit(snapshot, local, Source::Unproven(class), source_ip, canonical(destination))
}

/// Decides about a connection from one pod of this node to another, as its receiver would. Who `source` is needs no
/// proof: the connection was taken from its own namespace.
///
/// # Errors
/// [`InboundError`].
pub fn node_local(
    snapshot: &Snapshot,
    local: &Workload,
    source: &SpiffeId,
    source_ip: IpAddr,
    destination: SocketAddr,
) -> Result<InboundTarget, InboundError> {
    admit(snapshot, local, Source::Peer(source), source_ip, canonical(destination))
}

fn admit(
    snapshot: &Snapshot,
    local: &Workload,
    source: Source<'_>,
    source_ip: IpAddr,
    destination: SocketAddr,
) -> Result<InboundTarget, InboundError> {
    if is_ours(destination.port()) {
        return Err(InboundError::OwnPort { port: destination.port() });
    }
    let (permit, admission) = Admission::decide(snapshot, local, source, source_ip, destination)?;
    Ok(InboundTarget { upstream: destination, service: None, permit, admission })
}

/// The service of that name that the pod is an endpoint of.
fn called_service<'a>(
    snapshot: &'a Snapshot,
    local: &Workload,
    host: &str,
) -> Result<&'a Arc<Service>, InboundError> {
    let mut services = snapshot.services_by_hostname(host);
    services
        .find(|service| local.services.contains(&service.key))
        .ok_or_else(|| InboundError::NotAnEndpoint { host: host.into() })
}

/// The pod's own port for a port of the service; the endpoint of the tunnel's address decides before others of the pod.
fn own_port(service: &Service, local: &Workload, ip: IpAddr, port: u16) -> Result<u16, InboundError> {
    let mut own = service.endpoints.iter().filter(|endpoint| endpoint.target.workload() == Some(&local.uid));
    let by_ip =
        own.clone().find(|endpoint| endpoint.target == EndpointTarget::Workload(local.uid.clone(), ip));
    let host = || service.key.hostname.0.clone();
    let Some(endpoint) = by_ip.or_else(|| own.next()) else {
        return Err(InboundError::NotAnEndpoint { host: host() });
    };
    endpoint.port_for(port).ok_or_else(|| InboundError::NoSuchPort { host: host(), port })
}

impl InboundError {
    /// The status that answers the CONNECT request: as Istio's proxy does.
    pub const fn status(&self) -> u16 {
        match self {
            Self::AddressMismatch { .. }
            | Self::Authority(_)
            | Self::NotAnEndpoint { .. }
            | Self::NotConnect => 400,
            Self::Denied(_) | Self::Isolated(_) => 401,
            Self::NoSuchPort { .. } | Self::NotServed { .. } | Self::OwnPort { .. } => 503,
        }
    }
}
