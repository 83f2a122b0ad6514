//! Why an outbound connection is refused.

use std::sync::Arc;

use authz::Denied;
use mesh::{Network, NoEndpoint, Service, Workload, WorkloadUid};

/// An outbound connection that is refused, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct Refused {
    /// Why.
    #[source]
    pub refusal: Box<Refusal>,
    /// The service that was called, if one was.
    pub service: Option<Arc<Service>>,
    /// The workload that would have received it, if one is known.
    pub workload: Option<Arc<Workload>>,
}

/// Why an outbound connection is refused. Each names what is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
pub enum Refusal {
    /// Every gateway of the network was tried.
    #[error("all gateways of network {:?} were tried for service {service}", .network.as_str())]
    GatewaysTried {
        /// The network.
        network: Network,
        /// Host name of the service.
        service: Arc<str>,
    },
    /// The network has gateways, but none that can be used.
    #[error("gateway {gateway} of network {:?}, where service {service} is, cannot be used: `ztunnel status` says why", .network.as_str())]
    GatewayUnusable {
        /// `namespace/name` of the first of them.
        gateway: Arc<str>,
        /// The network.
        network: Network,
        /// Host name of the service.
        service: Arc<str>,
    },
    /// The service has no endpoint for it.
    #[error("service {namespace}/{service} has no endpoint to connect to")]
    NoEndpoint {
        /// Namespace of the service.
        namespace: Arc<str>,
        /// Host name of the service.
        service: Arc<str>,
        /// Why.
        #[source]
        source: NoEndpoint,
    },
    /// The service's endpoint is on a network that no gateway is known for.
    #[error("no gateway is known for network {:?}, where service {service} is", .network.as_str())]
    NoGateway {
        /// The network.
        network: Network,
        /// Host name of the service.
        service: Arc<str>,
    },
    /// The workload's namespace and service account make no SPIFFE id.
    #[error("workload {} has no identity to expect of it", .workload.0)]
    NoIdentity {
        /// The workload.
        workload: WorkloadUid,
    },
    /// The destination has no address of its own to open a tunnel to.
    #[error("workload {} is known by a DNS name only, and speaks HBONE", .workload.0)]
    NoTunnelAddress {
        /// The workload.
        workload: WorkloadUid,
    },
    /// Only services are reached on other networks, and by their names: no address or wildcard says where to go there.
    #[error("on network {:?}, nothing is reached but services that have a name of their own", .network.as_str())]
    NotCalledByName {
        /// The network.
        network: Network,
    },
    /// The pod asks for a port of the daemon on itself.
    #[error("port {port} of the pod itself is the daemon's")]
    OwnPort {
        /// The port.
        port: u16,
    },
    /// The workload isn't reached by a tunnel (its capture isn't reported, or it speaks no HBONE), and its policies refuse plaintext.
    #[error("workload {} has no tunnel yet, and policy refuses plaintext", .workload.0)]
    PlaintextRefused {
        /// The workload.
        workload: WorkloadUid,
        /// What refuses it.
        #[source]
        denied: Denied,
    },
    /// Nobody in the mesh has the address, and the source's namespace denies unknown destinations.
    #[error("destination is unknown, and namespace {namespace} denies unknown destinations")]
    UnknownDestination {
        /// The source's namespace.
        namespace: Arc<str>,
    },
    /// The waypoint has no endpoint that answers.
    #[error("waypoint {namespace}/{name} has no endpoint to connect to")]
    WaypointDown {
        /// Namespace of the waypoint.
        namespace: Arc<str>,
        /// Name of the waypoint.
        name: Arc<str>,
        /// Why.
        #[source]
        source: NoEndpoint,
    },
    /// The waypoint is on another network.
    #[error("waypoint {namespace}/{name} is on network {:?}: only services are reached there", .network.as_str())]
    WaypointElsewhere {
        /// Namespace of the waypoint.
        namespace: Arc<str>,
        /// Name of the waypoint.
        name: Arc<str>,
        /// The network.
        network: Network,
    },
    /// The waypoint does not exist, or has no address yet.
    #[error("waypoint {namespace}/{name} is not ready")]
    WaypointNotReady {
        /// Namespace of the waypoint.
        namespace: Arc<str>,
        /// Name of the waypoint.
        name: Arc<str>,
    },
    /// Nothing is known to be at the waypoint's address.
    #[error("nothing is known at the address of waypoint {namespace}/{name}")]
    WaypointUnknown {
        /// Namespace of the waypoint.
        namespace: Arc<str>,
        /// Name of the waypoint.
        name: Arc<str>,
    },
}

impl Refusal {
    /// The network that nothing of a service is reached on, where that is why.
    pub const fn network(&self) -> Option<&Network> {
        match self {
            Self::GatewaysTried { network, .. }
            | Self::GatewayUnusable { network, .. }
            | Self::NoGateway { network, .. }
            | Self::NotCalledByName { network } => Some(network),
            _ => None,
        }
    }
}

impl Refused {
    /// Refused, and nothing more is known.
    pub(super) fn new(refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), service: None, workload: None }
    }

    pub(super) fn of_service(mut self, service: Option<&Arc<Service>>) -> Self {
        self.service = service.cloned();
        self
    }

    pub(super) fn of_workload(mut self, workload: &Arc<Workload>) -> Self {
        self.workload = Some(workload.clone());
        self
    }
}
