//! What is called: services, their addresses, ports and endpoints.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::SpiffeId;
use ipnet::IpNet;
use smallvec::SmallVec;

use crate::{Network, NetworkAddress, WorkloadUid};

/// A lower-case DNS name without a trailing dot; may start with `*.` where a wildcard is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Hostname(pub Arc<str>);

impl Hostname {
    /// The names that cover a host, most specific first: `a.b.c`, `*.b.c`, `*.c`.
    pub fn covering(host: &str) -> impl Iterator<Item = Self> {
        let labels = host.match_indices('.').map(|(dot, _)| Self(format!("*{}", &host[dot..]).into()));
        std::iter::once(Self(host.into())).chain(labels)
    }
}

/// A service's key: the namespace it is defined in, and its host name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ServiceKey {
    /// Namespace of the Service or ServiceEntry.
    pub namespace: Arc<str>,
    /// `<name>.<namespace>.svc.<cluster domain>` for a Service, the host for a ServiceEntry.
    pub hostname: Hostname,
}

/// A Service, or one host of a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Service {
    /// Namespace and host name.
    pub key: ServiceKey,
    /// Name of the object.
    pub name: Arc<str>,
    /// Virtual addresses: clusterIPs, externalIPs, load-balancer IPs, ServiceEntry addresses. Empty when headless.
    pub addresses: SmallVec<[NetworkAddress; 2]>,
    /// Address ranges (ServiceEntry `addresses` in CIDR form).
    pub ranges: Arc<[(Network, IpNet)]>,
    /// Ports.
    pub ports: Arc<[ServicePort]>,
    /// Endpoints, ready or not; selection looks at their health.
    pub endpoints: Arc<[Endpoint]>,
    /// A Kubernetes Service rather than a ServiceEntry; wins over the latter for the same host name.
    pub canonical: bool,
    /// Creation time in seconds since the epoch; the oldest object wins a tie.
    pub created: i64,
    /// How an endpoint is chosen.
    pub load_balancing: LoadBalancing,
    /// How host names and endpoints are found.
    pub resolution: Resolution,
    /// Identities accepted from endpoints in addition to each endpoint's own.
    pub subject_alt_names: Arc<[SpiffeId]>,
    /// Waypoint that traffic to the service goes through.
    pub waypoint: Option<WaypointRef>,
    /// Namespaces that see it; none means all (`exportTo`).
    pub visible_to: Option<Arc<[Arc<str>]>>,
}

impl Service {
    /// Whether it has the port.
    pub fn has_port(&self, port: u16) -> bool {
        self.ports.iter().any(|own| own.port == port)
    }

    /// Whether clients in `namespace` see it.
    pub fn is_visible_to(&self, namespace: &str) -> bool {
        self.visible_to.as_ref().is_none_or(|seen| seen.iter().any(|name| name.as_ref() == namespace))
    }
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct ServicePort {
    /// Port name; empty when it has none.
    pub name: Arc<str>,
    /// Port of the service.
    pub port: u16,
    /// Port of the endpoint, unless an endpoint says otherwise.
    pub target: TargetPort,
    /// `nodePort`, or 0.
    pub node_port: u16,
    /// What is spoken there.
    pub protocol: AppProtocol,
}

/// `targetPort` of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum TargetPort {
    /// A named container port: each endpoint has its own number for it.
    Named(Arc<str>),
    /// The same number on every endpoint.
    Number(u16),
}

/// `appProtocol`, or what a port's name implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum AppProtocol {
    /// gRPC.
    Grpc,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// Opaque TCP.
    Tcp,
    /// TLS passed through.
    Tls,
    /// Not said.
    Unknown,
}

/// One endpoint of a service.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Endpoint {
    /// Where it is.
    pub target: EndpointTarget,
    /// Service port -> port of this endpoint; shared among the endpoints of a slice. Ports that are missing here are not served by it.
    pub ports: Arc<[(u16, u16)]>,
    /// Condition `ready`.
    pub ready: bool,
    /// Condition `serving`.
    pub serving: bool,
    /// Condition `terminating`.
    pub terminating: bool,
}

/// What an endpoint points at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum EndpointTarget {
    /// An address that no workload of the mesh is known for.
    Address(NetworkAddress),
    /// A workload, at this address of it (a dual-stack pod is an endpoint once per family).
    Workload(WorkloadUid, IpAddr),
    /// A workload known by a DNS name.
    Hostname(WorkloadUid),
    /// A workload on another network, wherever it is there: that network's gateway knows.
    Remote(WorkloadUid),
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct LoadBalancing {
    /// Most significant first.
    pub preference: Arc<[Scope]>,
    /// What the preference means.
    pub policy: TrafficPolicy,
    /// Which endpoints count as healthy.
    pub health: DestinationHealth,
    /// `sessionAffinity`.
    pub affinity: Affinity,
}

/// One step of a locality preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Scope {
    /// Same cluster.
    Cluster,
    /// Same network.
    Network,
    /// Same node.
    Node,
    /// Same region.
    Region,
    /// Same subzone.
    Subzone,
    /// Same zone.
    Zone,
}

/// What a locality preference means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub enum TrafficPolicy {
    /// All endpoints alike.
    #[default]
    Standard,
    /// The best match wins; worse ones serve when no better one is left (`trafficDistribution`).
    Failover,
    /// Every scope must match (`internalTrafficPolicy: Local`).
    Strict,
}

/// Which endpoints count as healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub enum DestinationHealth {
    /// Ready ones; when there is none, those that terminate but still serve, as kube-proxy does.
    #[default]
    Ready,
    /// All (`publishNotReadyAddresses`).
    All,
}

/// `sessionAffinity` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Affinity {
    /// Every connection is placed on its own.
    #[default]
    None,
    /// A client's connections go to one endpoint until it has been idle for this long.
    ClientIp(Duration),
}

/// How a service's endpoints are found (`ServiceEntry.resolution`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Resolution {
    /// By looking up DNS names when dialling.
    Dns,
    /// Connect to the address that the client asked for.
    Passthrough,
    /// From the list of endpoints.
    Static,
}

/// The waypoint that an object asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct WaypointRef {
    /// Namespace of the Gateway.
    pub namespace: Arc<str>,
    /// Name of the Gateway.
    pub name: Arc<str>,
    /// Where it answers; `None` while it is not ready or does not exist: such traffic is refused.
    pub address: Option<NetworkAddress>,
    /// Its HBONE port.
    pub port: u16,
}
