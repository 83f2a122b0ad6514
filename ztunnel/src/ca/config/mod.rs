//! What a CA is told: one file, the environment, flags.

mod check;
mod options;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cluster::kubernetes::{Access, NamespacedName};
use daemon::config::{ConfigErrors, File, Flags};
use daemon::logs;
use identity::TrustDomain;

pub use options::OPTIONS;

/// A checked configuration of `ztunnel ca`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaServerConfig {
    /// Where the root is.
    pub root: RootConfig,
    /// Who may ask, for whom.
    pub trust: TrustConfig,
    /// The certificates that it signs.
    pub leaf: LeafConfig,
    /// Where it is asked.
    pub listen: ListenConfig,
    /// How much there may be of things that callers can make grow.
    pub limits: LimitsConfig,
    /// What is logged.
    pub log: LogConfig,
    /// How long calls may go on after SIGTERM.
    pub drain: Duration,
}

/// Where the root is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootConfig {
    /// Folder of key and certificates.
    pub folder: PathBuf,
    /// Secret of key and certificates, in place of a folder.
    pub secret: Option<NamespacedName>,
    /// Life of a root that the CA makes.
    pub lifetime: Duration,
    /// File to which the trusted roots are written for the nodes.
    pub publish: Option<PathBuf>,
    /// ConfigMap to whose entry `root-cert.pem` they are written.
    pub config_map: Option<NamespacedName>,
}

/// Who may ask, for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustConfig {
    /// Trust domain of the workloads.
    pub domain: TrustDomain,
    /// Other names of it.
    pub aliases: Vec<TrustDomain>,
    /// Folder of the nodes' public keys.
    pub nodes: PathBuf,
    /// How long a bearer token of a node may last; none are accepted otherwise.
    pub bearers: Option<Duration>,
    /// File or folder of Kubernetes manifests: who runs where.
    pub manifests: PathBuf,
    /// The cluster whose ServiceAccounts may ask, in place of nodes and manifests.
    pub kubernetes: Option<Access>,
    /// Whom tokens of ServiceAccounts must be for.
    pub audience: String,
    /// ServiceAccounts that may ask for what runs on their node.
    pub impersonators: Vec<NamespacedName>,
}

/// The certificates that it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafConfig {
    /// Life when nobody asks for another.
    pub ttl: Duration,
    /// Longest life.
    pub max_ttl: Duration,
}

/// Where it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// Address of the certificate service.
    pub address: SocketAddr,
    /// Names and addresses that its certificate has.
    pub names: Vec<String>,
    /// Unix socket of the admin server: everything, for the owner only.
    pub admin_socket: Option<PathBuf>,
    /// Loopback address of the admin server: what changes nothing.
    pub admin: Option<SocketAddr>,
    /// Address of the metrics.
    pub metrics: Option<SocketAddr>,
    /// Address of the readiness probe.
    pub readiness: Option<SocketAddr>,
}

/// How much there may be of things that callers can make grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Calls a second of one caller.
    pub calls_per_second: usize,
    /// Calls that a caller may make at once.
    pub burst: usize,
    /// Connections.
    pub connections: usize,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `info`, or by target: `audit=info,warn`.
    pub level: String,
    /// How lines are written.
    pub format: logs::Format,
}

impl CaServerConfig {
    /// What the file, the environment and the flags say, checked. `env` looks a variable up.
    ///
    /// # Errors
    /// Everything that is wrong, not just the first.
    pub fn resolve(
        file: Option<File<'_>>,
        env: impl Fn(&str) -> Option<String>,
        flags: &Flags,
    ) -> Result<Self, ConfigErrors> {
        OPTIONS.resolve(Self::default(), file, env, flags)?.checked()
    }

    pub(super) fn checked(self) -> Result<Self, ConfigErrors> {
        check::check(&self)?;
        Ok(self)
    }
}

impl Default for CaServerConfig {
    /// Every default; what has none is empty, and refused by [`CaServerConfig::resolve`].
    fn default() -> Self {
        Self {
            root: RootConfig {
                folder: PathBuf::new(),
                secret: None,
                lifetime: TEN_YEARS,
                publish: None,
                config_map: None,
            },
            trust: TrustConfig {
                domain: "cluster.local".parse().expect("a valid trust domain"),
                aliases: Vec::new(),
                nodes: PathBuf::new(),
                bearers: None,
                manifests: PathBuf::new(),
                kubernetes: None,
                audience: certs::AUDIENCE.to_owned(),
                impersonators: ["ambient-system", "istio-system"].map(ztunnel).into(),
            },
            leaf: LeafConfig { ttl: DAY, max_ttl: DAY },
            listen: ListenConfig {
                address: ([0_u16; 8], 15012).into(),
                names: ["istiod.istio-system.svc", "localhost", "127.0.0.1", "::1"].map(str::to_owned).into(),
                admin_socket: None,
                admin: Some(([127, 0, 0, 1], 15013).into()),
                metrics: Some(([0_u16; 8], 15014).into()),
                readiness: Some(([0_u16; 8], 15016).into()),
            },
            limits: LimitsConfig { calls_per_second: 50, burst: 500, connections: 1024 },
            log: LogConfig { level: "info".to_owned(), format: logs::Format::Text },
            drain: Duration::from_secs(5),
        }
    }
}

fn ztunnel(namespace: &str) -> NamespacedName {
    NamespacedName { namespace: namespace.to_owned(), name: "ztunnel".to_owned() }
}

const DAY: Duration = Duration::from_hours(24);

/// Istio's.
const TEN_YEARS: Duration = Duration::from_hours(24 * 365 * 10);

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: &str = "root: {folder: /root}\ntrust: {nodes: /nodes, manifests: /manifests}\n";

    #[test]
    fn what_is_needed_is_enough() {
        let config = resolve(NEEDED).unwrap();
        assert_eq!(config.root.folder, PathBuf::from("/root"));
        assert_eq!(config.listen.address.port(), 15012);
    }

    #[test]
    fn all_that_is_missing_or_wrong_is_said_at_once() {
        let errors = resolve("trust: {nodes: /nodes}\nleaf: {ttl: 2h, maxTtl: 1h}\n").unwrap_err();
        assert_eq!(
            errors.to_string(),
            "root.folder: is missing: where the CA's key and certificates are\n\
             trust.manifests: is missing: who runs on which node\n\
             leaf.ttl: must not be more than leaf.maxTtl"
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_a_suggestion() {
        let errors = resolve(&format!("{NEEDED}leaf: {{tll: 1h}}\n")).unwrap_err();
        assert!(errors.to_string().contains("did you mean \"leaf.ttl\"?"), "{errors}");
    }

    #[test]
    fn lists_of_trust_domains_are_read() {
        let config = resolve(
            "root: {folder: /r}\ntrust: {nodes: /n, manifests: /m, aliases: [old.example, older.example]}\n",
        )
        .unwrap();
        let aliases: Vec<_> = config.trust.aliases.iter().map(ToString::to_string).collect();
        assert_eq!(aliases, ["old.example", "older.example"]);
    }

    #[test]
    fn a_cluster_says_who_may_ask_in_place_of_files() {
        let config =
            resolve("root: {secret: a/root}\ntrust: {kubernetes: in-cluster, impersonators: [a/b, c/d]}\n")
                .unwrap();
        assert_eq!(config.trust.kubernetes, Some(Access::InCluster));
        let accounts: Vec<_> = config.trust.impersonators.iter().map(ToString::to_string).collect();
        assert_eq!(
            (config.root.secret.unwrap().to_string(), accounts.join(" ")),
            ("a/root".into(), "a/b c/d".into())
        );
        let config = resolve("root: {folder: /r}\ntrust: {kubernetes: /etc/kubeconfig}\n").unwrap();
        assert_eq!(config.trust.kubernetes, Some(Access::Kubeconfig("/etc/kubeconfig".into())));
    }

    #[test]
    fn files_and_a_cluster_do_not_mix() {
        let wrong = "root: {folder: /r, secret: a/root}\ntrust: {nodes: /n, kubernetes: in-cluster}\n";
        assert_eq!(
            resolve(wrong).unwrap_err().to_string(),
            "trust.nodes: must not be set where trust.kubernetes is on\n\
             root.secret: must not be set beside root.folder"
        );
        let nowhere = resolve("root: {secret: a/root}\ntrust: {nodes: /n, manifests: /m}\n").unwrap_err();
        assert_eq!(nowhere.to_string(), "root.secret: needs trust.kubernetes: where it is");
    }

    #[test]
    fn the_documented_defaults_read_back_to_the_defaults() {
        let text = OPTIONS.document(&CaServerConfig::default());
        let path = PathBuf::from("ca.yaml");
        let file = File { path: &path, text: &text };
        let read = OPTIONS.resolve(CaServerConfig::default(), Some(file), |_| None, &Flags::default());
        assert_eq!(read.unwrap(), CaServerConfig::default());
    }

    #[test]
    fn defaults_are_those_that_operators_and_other_parts_count_on() {
        let defaults = CaServerConfig::default();
        let shown = OPTIONS.iter().map(|option| (option.key, (option.show)(&defaults)));
        let shown: Vec<_> = shown.filter(|(_, value)| !value.is_empty()).collect();
        let shown: Vec<_> = shown.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(shown, DEFAULTS);
    }

    /// Of every option that has one. Istio's are its ports, names, audience, lives and accounts.
    const DEFAULTS: &[(&str, &str)] = &[
        ("drain", "5s"),
        ("root.secret", "off"),
        ("root.lifetime", "87600h"),
        ("root.publish", "off"),
        ("root.publishConfigMap", "off"),
        ("trust.domain", "cluster.local"),
        ("trust.bearerTokens", "off"),
        ("trust.kubernetes", "off"),
        ("trust.audience", "istio-ca"),
        ("trust.impersonators", "ambient-system/ztunnel,istio-system/ztunnel"),
        ("leaf.ttl", "24h"),
        ("leaf.maxTtl", "24h"),
        ("listen.address", "[::]:15012"),
        ("listen.names", "istiod.istio-system.svc,localhost,127.0.0.1,::1"),
        ("listen.adminSocket", "off"),
        ("listen.admin", "127.0.0.1:15013"),
        ("listen.metrics", "[::]:15014"),
        ("listen.readiness", "[::]:15016"),
        ("limits.callsPerSecond", "50"),
        ("limits.burst", "500"),
        ("limits.connections", "1024"),
        ("log.level", "info"),
        ("log.format", "text"),
    ];

    fn resolve(text: &str) -> Result<CaServerConfig, ConfigErrors> {
        let path = PathBuf::from("ca.yaml");
        CaServerConfig::resolve(Some(File { path: &path, text }), |_| None, &Flags::default())
    }
}
