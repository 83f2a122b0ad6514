//! What a node's daemon is told: one file, the environment, flags.
//!
//! [`Config::resolve`] is pure: text in, a checked configuration or all complaints out. The options, with their
//! meaning, are listed in [`options`].

mod args;
mod check;
mod options;
mod workers;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use cluster::kubernetes::NamespacedName;
use daemon::config::{ConfigErrors, File, Flags};
use daemon::logs;
use identity::TrustDomain;
use mesh::AccessLogging;

use crate::decision::Strangers;
use crate::redirect::CongestionControl;

pub use args::{ConfigArgs, ProxyArgs};
pub use options::OPTIONS;
pub use workers::Workers;

/// A checked configuration of `ztunnel proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this node, as Pods name it in `spec.nodeName`.
    pub node: String,
    /// The pod that the daemon runs inside of, and captures alone; none on a node.
    pub pod: Option<NamespacedName>,
    /// Threads of the byte path.
    pub workers: Workers,
    /// Where the mesh is described.
    pub source: SourceConfig,
    /// Where the daemon keeps what must outlive it, and how pods come to it.
    pub state: StateConfig,
    /// Names of the mesh.
    pub mesh: MeshConfig,
    /// Who signs certificates.
    pub ca: CaConfig,
    /// Whose certificates are believed.
    pub trust: TrustConfig,
    /// Where the daemon itself is asked.
    pub listen: ListenConfig,
    /// The DNS proxy.
    pub dns: DnsConfig,
    /// How connections travel.
    pub path: PathConfig,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How much there may be of things that the network can make grow.
    pub limits: Limits,
    /// What is logged.
    pub log: LogConfig,
    /// Where spans of connections go.
    #[cfg(feature = "otlp")]
    pub otlp: crate::telemetry::otlp::OtlpConfig,
}

/// Where the mesh is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// File or folder of Kubernetes manifests.
    pub manifests: PathBuf,
    /// Folder that all nodes share, in which each reports which pods it captures.
    pub status: PathBuf,
}

/// Where the daemon keeps what must outlive it, and how pods come to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateConfig {
    /// Folder on a tmpfs of the node.
    pub folder: PathBuf,
    /// Unix socket at which pods are enrolled.
    pub enrol_socket: PathBuf,
    /// Where the container runtime mounts network namespaces.
    pub netns: PathBuf,
}

/// Names of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshConfig {
    /// Trust domain of the workloads.
    pub trust_domain: TrustDomain,
    /// Other names of it, in policies.
    pub trust_domain_aliases: Vec<TrustDomain>,
    /// DNS suffix of Services.
    pub cluster_domain: String,
    /// The cluster that this node belongs to.
    pub cluster_id: String,
    /// The network that pods' addresses belong to; empty for the default one.
    pub network: String,
    /// Namespace whose policies apply to the whole mesh.
    pub root_namespace: String,
    /// Namespaces whose pods are never enrolled.
    pub excluded_namespaces: Vec<String>,
}

/// Who signs certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaConfig {
    /// `host:port` or `https://host:port`.
    pub address: String,
    /// Name that the CA's certificate must have.
    pub server_name: String,
    /// PEM file of the roots that its certificate must come from.
    pub roots: PathBuf,
    /// PEM file of the key by which it knows this node; empty where it knows it by a token.
    pub node_key: PathBuf,
    /// File of the ServiceAccount's token by which it knows this node, in place of a key.
    pub token_file: Option<PathBuf>,
    /// Life of a workload's certificate that is asked for.
    pub certificate_ttl: Duration,
    /// Folder on a tmpfs where certificates and their keys are kept for the next start; none keeps them in memory only.
    pub cache: Option<PathBuf>,
}

/// Whose certificates are believed, besides those of the own CA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustConfig {
    /// PEM files of the roots of other trust domains.
    pub federated: BTreeMap<TrustDomain, PathBuf>,
    /// File of the own domain's revocation lists.
    pub crl: Option<PathBuf>,
    /// Files of the revocation lists of other trust domains.
    pub federated_crls: BTreeMap<TrustDomain, PathBuf>,
}

/// Where the daemon itself is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// Unix socket of the admin server: everything, for the owner only.
    pub admin_socket: Option<PathBuf>,
    /// Loopback address of the admin server: what changes nothing.
    pub admin: Option<SocketAddr>,
    /// Address of the metrics.
    pub metrics: Option<SocketAddr>,
    /// The daemon's own pod, as which it serves its metrics in tunnels too.
    pub metrics_pod: Option<NamespacedName>,
    /// Address of the readiness probe.
    pub readiness: Option<SocketAddr>,
}

/// The DNS proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// Whether pods' queries are captured.
    pub enabled: bool,
    /// The node's own resolver configuration: for pods with `dnsPolicy: Default`.
    pub resolv_conf: PathBuf,
    /// Addresses of the cluster's DNS service: for pods with `dnsPolicy: ClusterFirst`.
    pub cluster_resolvers: Vec<IpAddr>,
}

/// How connections travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathConfig {
    /// Whether two pods of this node are joined without a tunnel.
    pub node_local: bool,
    /// Whether destinations see the original source address of tunnelled connections.
    pub original_source: bool,
    /// Whether the ingress rules of NetworkPolicies are enforced on the ports that tunnels lead to.
    pub network_policies: bool,
    /// What becomes of tunnels from addresses that nobody is known at.
    pub strangers: Strangers,
    /// How long a worker looks for more before it sleeps. Zero: not at all.
    pub linger: Duration,
    /// What tunnels use against congestion.
    pub tunnel_congestion_control: CongestionControl,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A TLS handshake, on either side.
    pub handshake: Duration,
    /// A TCP connection to come up.
    pub connect: Duration,
    /// A peer's answer to CONNECT.
    pub request: Duration,
    /// How long a peer's tunnel is kept without streams.
    pub idle_inbound: Duration,
    /// How long a tunnel of ours is kept without streams.
    pub idle_tunnel: Duration,
    /// What is sent in plaintext to be acknowledged; none leaves that to the kernel.
    pub unacknowledged: Option<Duration>,
    /// Between SIGTERM and the cut.
    pub drain: Duration,
}

/// How much there may be of things that the network can make grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TLS handshakes in progress.
    pub handshakes: usize,
    /// TLS handshakes in progress, from one source address.
    pub handshakes_per_source: usize,
    /// Connections that one pod may have through the daemon.
    pub connections_per_pod: usize,
    /// Label sets of connections in the metrics.
    pub metric_series: usize,
    /// Tunnels of peers.
    pub tunnels: usize,
    /// Tunnels of peers, from one source address.
    pub tunnels_per_source: usize,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `info`, or by target: `hbone=debug,info`.
    pub level: String,
    /// How lines are written.
    pub format: logs::Format,
    /// Which connections leave a record.
    pub access: AccessLogging,
}

impl Config {
    /// What the file, the environment and the flags say, checked. `env` looks a variable up.
    ///
    /// # Errors
    /// Everything that is wrong, not just the first.
    pub fn resolve(
        file: Option<File<'_>>,
        env: impl Fn(&str) -> Option<String>,
        flags: &Flags,
    ) -> Result<Self, ConfigErrors> {
        let config = OPTIONS.resolve(Self::default(), file, &env, flags)?;
        if config.pod.is_none() {
            return config.checked();
        }
        OPTIONS.resolve(Self::inside(), file, &env, flags)?.checked()
    }

    /// The defaults of a daemon inside of a pod, where loopback is all containers'.
    fn inside() -> Self {
        let usual = Self::default();
        Self { listen: ListenConfig { admin: None, ..usual.listen }, ..usual }
    }

    fn checked(self) -> Result<Self, ConfigErrors> {
        check::check(&self)?;
        Ok(self)
    }
}

impl ListenConfig {
    /// The port at which metrics are asked for, in tunnels too: where they are served in no other way, the usual one.
    pub fn metrics_port(&self) -> u16 {
        self.metrics.map(|address| address.port()).filter(|port| *port != 0).unwrap_or(METRICS_PORT)
    }
}

impl Default for Config {
    /// Every default; what has none is empty, and refused by [`Config::resolve`].
    fn default() -> Self {
        Self {
            node: String::new(),
            pod: None,
            workers: Workers::Auto,
            source: SourceConfig { manifests: PathBuf::new(), status: "/run/ambient/status".into() },
            state: StateConfig {
                folder: "/run/ambient".into(),
                enrol_socket: "/run/ambient/enrol.sock".into(),
                netns: "/run/netns".into(),
            },
            mesh: MeshConfig::default(),
            ca: CaConfig {
                address: String::new(),
                server_name: "istiod.istio-system.svc".to_owned(),
                roots: PathBuf::new(),
                node_key: PathBuf::new(),
                token_file: None,
                certificate_ttl: Duration::from_secs(24 * 3600),
                cache: None,
            },
            trust: TrustConfig::default(),
            listen: ListenConfig {
                admin_socket: Some("/run/ambient/admin.sock".into()),
                admin: Some(([127, 0, 0, 1], 15000).into()),
                metrics: Some(([0_u16; 8], METRICS_PORT).into()),
                metrics_pod: None,
                readiness: Some(([0_u16; 8], 15021).into()),
            },
            dns: DnsConfig {
                enabled: true,
                resolv_conf: "/etc/resolv.conf".into(),
                cluster_resolvers: Vec::new(),
            },
            path: PathConfig {
                node_local: true,
                original_source: true,
                network_policies: false,
                strangers: Strangers::Accept,
                linger: Duration::from_micros(150),
                tunnel_congestion_control: CongestionControl::CUBIC,
            },
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            log: LogConfig {
                level: "info".to_owned(),
                format: logs::Format::Text,
                access: AccessLogging::ALL,
            },
            #[cfg(feature = "otlp")]
            otlp: crate::telemetry::otlp::OtlpConfig::default(),
        }
    }
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".parse().expect("a valid trust domain"),
            trust_domain_aliases: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            network: String::new(),
            root_namespace: "istio-system".to_owned(),
            excluded_namespaces: vec!["kube-system".to_owned()],
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            request: Duration::from_secs(15),
            idle_inbound: Duration::from_secs(360),
            idle_tunnel: Duration::from_secs(300),
            unacknowledged: None,
            drain: Duration::from_secs(25),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 1024,
            handshakes_per_source: 128,
            connections_per_pod: 16_384,
            metric_series: daemon::metrics::DEFAULT_SERIES,
            tunnels: 65_536,
            tunnels_per_source: 1024,
        }
    }
}

/// Where Istio's proxies have their metrics.
const METRICS_PORT: u16 = 15020;

#[cfg(test)]
mod tests;
