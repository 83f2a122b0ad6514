//! Services.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::values::{ips, optional_ip};
use super::{Labels, Metadata, PortRef, Protocol};

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// `metadata`.
    pub metadata: Metadata,
    /// `spec`.
    pub spec: ServiceSpec,
    /// `status`.
    pub status: ServiceStatus,
}

/// `spec` of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// What kind of Service it is.
    pub r#type: ServiceType,
    /// Primary address.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: ClusterIp,
    /// All its addresses, primary first.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<ClusterIp>,
    /// Addresses that are routed to the cluster by other means.
    #[serde(rename = "externalIPs", deserialize_with = "ips")]
    pub external_ips: Vec<IpAddr>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Labels of the pods that it stands for.
    pub selector: Labels,
    /// Families of the endpoints' addresses.
    pub ip_families: Vec<IpFamily>,
    /// Pods are endpoints whether ready or not.
    pub publish_not_ready_addresses: bool,
    /// Whether a client stays with its endpoint.
    pub session_affinity: SessionAffinity,
    /// For how long.
    pub session_affinity_config: SessionAffinityConfig,
    /// Which endpoints connections from inside the cluster go to.
    pub internal_traffic_policy: InternalTrafficPolicy,
    /// Which endpoints are preferred.
    pub traffic_distribution: Option<TrafficDistribution>,
}

/// `type` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum ServiceType {
    /// An alias of a DNS name.
    ExternalName,
    /// Any of those that have endpoints.
    #[default]
    #[serde(rename = "ClusterIP", alias = "LoadBalancer", alias = "NodePort", other)]
    Addressed,
}

/// `clusterIP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ClusterIp {
    /// An address.
    Address(IpAddr),
    /// `None`: the Service is headless.
    Headless,
    /// Not said.
    #[default]
    Unset,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum IpFamily {
    /// IPv4.
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    V6,
    /// A family that is not known.
    #[serde(other)]
    Unknown,
}

/// `sessionAffinity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum SessionAffinity {
    /// A client stays with its endpoint.
    #[serde(rename = "ClientIP")]
    ClientIp,
    /// Every connection is placed on its own.
    #[default]
    #[serde(other)]
    None,
}

/// `sessionAffinityConfig`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SessionAffinityConfig {
    /// Of `ClientIP`.
    #[serde(rename = "clientIP")]
    pub client_ip: ClientIpConfig,
}

/// `sessionAffinityConfig.clientIP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientIpConfig {
    /// How long an idle client is remembered.
    pub timeout_seconds: Option<u32>,
}

/// `internalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum InternalTrafficPolicy {
    /// Those of the client's node.
    Local,
    /// All.
    #[default]
    #[serde(other)]
    Cluster,
}

/// `trafficDistribution`, and the values that Istio's annotation of that name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum TrafficDistribution {
    /// Near ones.
    PreferClose,
    /// Those of the client's zone.
    PreferSameZone,
    /// Those of the client's node.
    PreferSameNode,
    /// A value that is not known: no preference.
    #[serde(other)]
    Unknown,
}

/// One port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name; empty where it has none.
    pub name: Arc<str>,
    /// Its number.
    pub port: u16,
    /// The endpoints' port; the same number where nothing is said.
    pub target_port: Option<PortRef>,
    /// The nodes' port.
    pub node_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// What is spoken there.
    pub app_protocol: Option<Arc<str>>,
}

/// `status` of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Where its load balancer is.
    pub load_balancer: LoadBalancerStatus,
}

/// `status.loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LoadBalancerStatus {
    /// Its addresses.
    pub ingress: Vec<LoadBalancerIngress>,
}

/// One of a load balancer's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LoadBalancerIngress {
    /// The address, where it is not a host name.
    #[serde(deserialize_with = "optional_ip")]
    pub ip: Option<IpAddr>,
    /// How traffic comes to the nodes from there.
    pub ip_mode: IpMode,
}

/// `ipMode` of a load balancer's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum IpMode {
    /// Through a proxy that must not be bypassed.
    Proxy,
    /// With the address still on it.
    #[default]
    #[serde(rename = "VIP", other)]
    Vip,
}

impl ServiceSpec {
    /// Whether it was made without an address of its own.
    pub fn is_headless(&self) -> bool {
        self.cluster_ip == ClusterIp::Headless || self.cluster_ips.contains(&ClusterIp::Headless)
    }

    /// Its own addresses, primary first.
    pub fn cluster_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let address = |ip: &ClusterIp| match ip {
            ClusterIp::Address(ip) => Some(*ip),
            ClusterIp::Headless | ClusterIp::Unset => None,
        };
        let primary = address(&self.cluster_ip);
        let others = self.cluster_ips.iter().filter_map(address);
        primary.into_iter().chain(others.filter(move |ip| Some(*ip) != primary))
    }
}

impl TryFrom<String> for ClusterIp {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "" => Ok(Self::Unset),
            "None" => Ok(Self::Headless),
            address => match address.parse() {
                Ok(ip) => Ok(Self::Address(ip)),
                Err(_) => Err(format!("{address:?} is neither an IP address nor None")),
            },
        }
    }
}
