//! Pods.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use smallvec::SmallVec;

use super::values::optional_ip;
use super::{Metadata, PortRef, Protocol};

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// `metadata`.
    pub metadata: Metadata,
    /// `spec`.
    pub spec: PodSpec,
    /// `status`.
    pub status: PodStatus,
}

/// `spec` of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, from = "WrittenSpec")]
pub struct PodSpec {
    /// The node that it runs on; empty while it is not scheduled.
    pub node_name: Arc<str>,
    /// All else.
    pub template: Arc<PodTemplate>,
}

/// What the pods of one controller have in common of their `spec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodTemplate {
    /// Its service account; empty stands for `default`.
    pub service_account_name: Arc<str>,
    /// It runs in its node's network namespace.
    pub host_network: bool,
    /// Its host name; empty stands for its name.
    pub hostname: Arc<str>,
    /// The headless Service under which its host name is found.
    pub subdomain: Arc<str>,
    /// Where its resolver configuration comes from.
    pub dns_policy: DnsPolicy,
    /// Additions to its resolver configuration.
    pub dns_config: Option<Arc<DnsConfig>>,
    /// Containers.
    pub containers: Arc<[Container]>,
    /// Init containers; those that keep running have ports and probes as others do.
    pub init_containers: Arc<[Container]>,
}

/// `spec` as it is written.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenSpec {
    node_name: Arc<str>,
    service_account_name: Arc<str>,
    host_network: bool,
    hostname: Arc<str>,
    subdomain: Arc<str>,
    dns_policy: DnsPolicy,
    dns_config: Option<Arc<DnsConfig>>,
    containers: Arc<[Container]>,
    init_containers: Arc<[Container]>,
}

/// `dnsPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, serde::Serialize)]
pub enum DnsPolicy {
    /// The cluster's DNS, even for pods in their node's network.
    ClusterFirstWithHostNet,
    /// The node's own.
    Default,
    /// Only what `dnsConfig` says.
    None,
    /// The cluster's DNS; the node's own for pods in their node's network.
    #[default]
    #[serde(other)]
    ClusterFirst,
}

/// `dnsConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, serde::Serialize)]
#[serde(default)]
pub struct DnsConfig {
    /// Resolvers.
    pub nameservers: Vec<IpAddr>,
    /// Search list.
    pub searches: Vec<Arc<str>>,
    /// Options of the resolver library.
    pub options: Vec<DnsOption>,
}

/// One of `dnsConfig.options`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, serde::Serialize)]
#[serde(default)]
pub struct DnsOption {
    /// Its name.
    pub name: Arc<str>,
    /// Its value, where it has one.
    pub value: Option<Arc<str>>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// Ports.
    pub ports: Vec<ContainerPort>,
    /// Whether it lives.
    pub liveness_probe: Option<Probe>,
    /// Whether it serves.
    pub readiness_probe: Option<Probe>,
    /// Whether it has started.
    pub startup_probe: Option<Probe>,
}

/// A container's port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerPort {
    /// Its name, where it has one.
    pub name: Arc<str>,
    /// Its number.
    pub container_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A probe of the kubelet, as far as it opens connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Probe {
    /// By HTTP.
    pub http_get: Option<ProbePort>,
    /// By TCP.
    pub tcp_socket: Option<ProbePort>,
    /// By gRPC.
    pub grpc: Option<ProbePort>,
}

/// Where a probe goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct ProbePort {
    /// The port.
    pub port: PortRef,
}

/// `status` of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, from = "WrittenStatus")]
pub struct PodStatus {
    /// Where it is in its life.
    pub phase: Phase,
    /// Its addresses, primary first (`podIP`, `podIPs`).
    pub addresses: SmallVec<[IpAddr; 1]>,
    /// What is known of it.
    pub conditions: Conditions,
}

/// `status` as it is written, which says one address twice.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenStatus {
    phase: Phase,
    #[serde(rename = "podIP", deserialize_with = "optional_ip")]
    pod_ip: Option<IpAddr>,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
    conditions: Conditions,
}

/// One of `podIPs`.
#[derive(Deserialize)]
struct PodIp {
    #[serde(deserialize_with = "optional_ip")]
    ip: Option<IpAddr>,
}

/// `phase` of a Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum Phase {
    /// All its containers ended, and one of them badly.
    Failed,
    /// Not all its containers have started.
    Pending,
    /// It runs.
    Running,
    /// All its containers ended well.
    Succeeded,
    /// Not said, as in a manifest that a person wrote.
    #[default]
    #[serde(other)]
    Unknown,
}

/// `conditions` of a Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Whether it is ready, where that is said.
    pub ready: Option<bool>,
}

impl Pod {
    /// Its addresses, primary first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.status.addresses.iter().copied()
    }

    /// Whether it ended for good.
    pub const fn is_over(&self) -> bool {
        matches!(self.status.phase, Phase::Failed | Phase::Succeeded)
    }

    /// Whether it may be sent connections. A manifest that a person wrote has no conditions: then it is ready as soon as
    /// it has an address.
    pub fn is_ready(&self) -> bool {
        self.status.conditions.ready.unwrap_or_else(|| {
            matches!(self.status.phase, Phase::Running | Phase::Unknown) && self.addresses().next().is_some()
        })
    }

    /// The number of a named TCP port.
    pub fn port(&self, name: &str) -> Option<u16> {
        let mut ports = self.containers().flat_map(|container| &container.ports);
        ports
            .find(|port| port.protocol == Protocol::Tcp && &*port.name == name)
            .map(|port| port.container_port)
    }

    /// Containers, and those init containers that may be among them.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        let PodTemplate { containers, init_containers, .. } = &*self.spec.template;
        containers.iter().chain(init_containers.iter())
    }
}

impl Container {
    /// Its probes.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        [&self.liveness_probe, &self.readiness_probe, &self.startup_probe].into_iter().flatten()
    }
}

impl Probe {
    /// The ports that it opens connections to.
    pub fn ports(&self) -> impl Iterator<Item = &PortRef> {
        [&self.http_get, &self.tcp_socket, &self.grpc].into_iter().flatten().map(|to| &to.port)
    }
}

impl From<WrittenSpec> for PodSpec {
    fn from(written: WrittenSpec) -> Self {
        let template = PodTemplate {
            service_account_name: written.service_account_name,
            host_network: written.host_network,
            hostname: written.hostname,
            subdomain: written.subdomain,
            dns_policy: written.dns_policy,
            dns_config: written.dns_config,
            containers: written.containers,
            init_containers: written.init_containers,
        };
        Self { node_name: written.node_name, template: Arc::new(template) }
    }
}

impl From<WrittenStatus> for PodStatus {
    fn from(written: WrittenStatus) -> Self {
        let WrittenStatus { phase, pod_ip, pod_ips, conditions } = written;
        let others = pod_ips.into_iter().filter_map(|item| item.ip).filter(|ip| Some(*ip) != pod_ip);
        Self { phase, addresses: pod_ip.into_iter().chain(others).collect(), conditions }
    }
}

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// One of them.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Condition {
            r#type: String,
            status: String,
        }
        let all = <Vec<Condition>>::deserialize(deserializer)?;
        let ready = all.iter().find(|condition| condition.r#type == "Ready");
        Ok(Self { ready: ready.map(|ready| ready.status == "True") })
    }
}
