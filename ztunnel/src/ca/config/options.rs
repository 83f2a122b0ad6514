//! Every option: its place in the file, variable, meaning and default.

use daemon::config::{
    Opt, Options, Value, from_list, from_optional, from_str, set, show_list, show_optional,
};

use super::CaServerConfig;

/// All options of `ztunnel ca`.
pub const OPTIONS: Options<CaServerConfig> = Options::new(&[DRAIN, ROOT, TRUST, LEAF, LISTEN, LIMITS, LOG]);

const DRAIN: &[Opt<CaServerConfig>] = &[Opt {
    key: "drain",
    env: "ZTUNNEL_CA_DRAIN",
    value: "DURATION",
    help: "How long calls may go on after SIGTERM.",
    set: |config, text| set(&mut config.drain, text),
    show: |config| config.drain.show(),
}];

const ROOT: &[Opt<CaServerConfig>] = &[
    Opt {
        key: "root.folder",
        env: "ZTUNNEL_CA_ROOT",
        value: "PATH",
        help: "Folder of the CA's key and certificates: root-key.pem and root-cert.pem, which are \
               made if there are none, or an operator's ca-key.pem, ca-cert.pem, cert-chain.pem and \
               root-cert.pem. All roots in root-cert.pem are trusted, so that one can follow another. \
               Read again when it changes. Needed, unless root.secret is set.",
        set: |config, text| set(&mut config.root.folder, text),
        show: |config| config.root.folder.show(),
    },
    Opt {
        key: "root.secret",
        env: "ZTUNNEL_CA_ROOT_SECRET",
        value: "NAMESPACE/NAME",
        help: "Secret of the CA's key and certificates, in place of root.folder: its entries have \
               the names of those files. Made if there is none, once however many start together. \
               Followed as it changes. Needs trust.kubernetes, and leave to get, list, watch, create \
               and update it. Or off.",
        set: |config, text| {
            from_optional(&mut config.root.secret, text, "a Secret like istio-system/cacerts")
        },
        show: |config| show_optional(config.root.secret.as_ref()),
    },
    Opt {
        key: "root.lifetime",
        env: "CITADEL_SELF_SIGNED_CA_CERT_TTL",
        value: "DURATION",
        help: "Life of a root that the CA makes.",
        set: |config, text| set(&mut config.root.lifetime, text),
        show: |config| config.root.lifetime.show(),
    },
    Opt {
        key: "root.publish",
        env: "ZTUNNEL_CA_PUBLISH",
        value: "PATH",
        help: "File to which the trusted roots are written for the nodes, which have no business in \
               the folder of the key. Or off.",
        set: |config, text| set(&mut config.root.publish, text),
        show: |config| config.root.publish.show(),
    },
    Opt {
        key: "root.publishConfigMap",
        env: "ZTUNNEL_CA_PUBLISH_CONFIG_MAP",
        value: "NAMESPACE/NAME",
        help: "ConfigMap to whose entry root-cert.pem the trusted roots are written, for daemons to \
               mount: whoever may mount the Secret has the key. Needs trust.kubernetes, and leave to \
               get, create and update it. Or off.",
        set: |config, text| {
            from_optional(
                &mut config.root.config_map,
                text,
                "a ConfigMap like ambient-system/ambient-ca-roots",
            )
        },
        show: |config| show_optional(config.root.config_map.as_ref()),
    },
];

const TRUST: &[Opt<CaServerConfig>] = &[
    Opt {
        key: "trust.domain",
        env: "TRUST_DOMAIN",
        value: "NAME",
        help: "Trust domain of the workloads' SPIFFE identities.",
        set: |config, text| from_str(&mut config.trust.domain, text, "a trust domain"),
        show: |config| config.trust.domain.to_string(),
    },
    Opt {
        key: "trust.aliases",
        env: "TRUST_DOMAIN_ALIASES",
        value: "NAME,...",
        help: "Other names of the trust domain, for a mesh that changes its name: identities there \
               are those of the same workloads, and are signed as they are asked for. Daemons accept \
               them where they have that alias too, and roots for it.",
        set: |config, text| from_list(&mut config.trust.aliases, text, "trust domains"),
        show: |config| show_list(&config.trust.aliases),
    },
    Opt {
        key: "trust.nodes",
        env: "ZTUNNEL_CA_NODES",
        value: "PATH",
        help: "Folder of the nodes' public keys, NODE.pem each, as ztunnel ca node-key writes them. \
               A node that is not in it gets nothing. Needed, unless trust.kubernetes is on.",
        set: |config, text| set(&mut config.trust.nodes, text),
        show: |config| config.trust.nodes.show(),
    },
    Opt {
        key: "trust.bearerTokens",
        env: "ZTUNNEL_CA_BEARER_TOKENS",
        value: "DURATION",
        help: "Longest life of a node's bearer token, as ztunnel ca node-token makes them for daemons \
               that cannot sign each request, such as Istio's. Whoever gets hold of one can ask for \
               the pods of that node until it ends. Or off.",
        set: |config, text| set(&mut config.trust.bearers, text),
        show: |config| config.trust.bearers.show(),
    },
    Opt {
        key: "trust.manifests",
        env: "ZTUNNEL_MANIFESTS",
        value: "PATH",
        help: "File or folder of the Kubernetes manifests that say which pods run on which node: the \
               same that the nodes' daemons read. A node gets certificates for pods on it only. \
               Needed, unless trust.kubernetes is on.",
        set: |config, text| set(&mut config.trust.manifests, text),
        show: |config| config.trust.manifests.show(),
    },
    Opt {
        key: "trust.kubernetes",
        env: "ZTUNNEL_CA_KUBERNETES",
        value: "ACCESS",
        help: "The API server that says whose tokens are presented and which pods run where, in place \
               of trust.nodes and trust.manifests: in-cluster, the path of a kubeconfig, or off. \
               Needs leave to create tokenreviews and to get, list and watch pods.",
        set: |config, text| from_optional(&mut config.trust.kubernetes, text, "in-cluster or a path"),
        show: |config| show_optional(config.trust.kubernetes.as_ref()),
    },
    Opt {
        key: "trust.audience",
        env: "AUDIENCE",
        value: "NAME",
        help: "Audience that the tokens of ServiceAccounts must be for.",
        set: |config, text| set(&mut config.trust.audience, text),
        show: |config| config.trust.audience.show(),
    },
    Opt {
        key: "trust.impersonators",
        env: "CA_TRUSTED_NODE_ACCOUNTS",
        value: "NAMESPACE/NAME,...",
        help: "ServiceAccounts of the nodes' daemons. They may ask for others' identities: of pods \
               that run on the node that their own token names. Any other account gets its own \
               identity only.",
        set: |config, text| {
            from_list(&mut config.trust.impersonators, text, "accounts like istio-system/ztunnel")
        },
        show: |config| show_list(&config.trust.impersonators),
    },
];

const LEAF: &[Opt<CaServerConfig>] = &[
    Opt {
        key: "leaf.ttl",
        env: "DEFAULT_WORKLOAD_CERT_TTL",
        value: "DURATION",
        help: "Life of a certificate when the caller asks for none.",
        set: |config, text| set(&mut config.leaf.ttl, text),
        show: |config| config.leaf.ttl.show(),
    },
    Opt {
        key: "leaf.maxTtl",
        env: "MAX_WORKLOAD_CERT_TTL",
        value: "DURATION",
        help: "Longest life of a certificate; who asks for more gets this. A stolen key is good for \
               that long.",
        set: |config, text| set(&mut config.leaf.max_ttl, text),
        show: |config| config.leaf.max_ttl.show(),
    },
];

const LISTEN: &[Opt<CaServerConfig>] = &[
    Opt {
        key: "listen.address",
        env: "ZTUNNEL_CA_ADDRESS",
        value: "ADDRESS",
        help: "Address of the certificate service.",
        set: |config, text| set(&mut config.listen.address, text),
        show: |config| config.listen.address.show(),
    },
    Opt {
        key: "listen.names",
        env: "ZTUNNEL_CA_NAMES",
        value: "NAME,...",
        help: "DNS names and addresses under which callers know the CA: its server's certificate has \
               them.",
        set: |config, text| set(&mut config.listen.names, text),
        show: |config| config.listen.names.show(),
    },
    Opt {
        key: "listen.adminSocket",
        env: "ZTUNNEL_CA_ADMIN_SOCKET",
        value: "PATH",
        help: "Unix socket of the admin server, for its owner only: state, metrics, log level, end. \
               Or off.",
        set: |config, text| set(&mut config.listen.admin_socket, text),
        show: |config| config.listen.admin_socket.show(),
    },
    Opt {
        key: "listen.admin",
        env: "ZTUNNEL_CA_ADMIN_ADDRESS",
        value: "ADDRESS",
        help: "Loopback address of the admin server, for what changes nothing. Or off.",
        set: |config, text| set(&mut config.listen.admin, text),
        show: |config| config.listen.admin.show(),
    },
    Opt {
        key: "listen.metrics",
        env: "ZTUNNEL_CA_METRICS_ADDRESS",
        value: "ADDRESS",
        help: "Address at which Prometheus reads /metrics. Or off.",
        set: |config, text| set(&mut config.listen.metrics, text),
        show: |config| config.listen.metrics.show(),
    },
    Opt {
        key: "listen.readiness",
        env: "ZTUNNEL_CA_READINESS_ADDRESS",
        value: "ADDRESS",
        help: "Address of /healthz/ready and /healthz/live. Or off.",
        set: |config, text| set(&mut config.listen.readiness, text),
        show: |config| config.listen.readiness.show(),
    },
];

const LIMITS: &[Opt<CaServerConfig>] = &[
    Opt {
        key: "limits.callsPerSecond",
        env: "ZTUNNEL_CA_CALLS_PER_SECOND",
        value: "COUNT",
        help: "Calls a second of one caller, in the long run; and of what proves nothing, from one \
               address, or network of 64 bits.",
        set: |config, text| set(&mut config.limits.calls_per_second, text),
        show: |config| config.limits.calls_per_second.show(),
    },
    Opt {
        key: "limits.burst",
        env: "ZTUNNEL_CA_BURST",
        value: "COUNT",
        help: "Calls that a caller may make at once: a node that restarts asks for all of its identities.",
        set: |config, text| set(&mut config.limits.burst, text),
        show: |config| config.limits.burst.show(),
    },
    Opt {
        key: "limits.connections",
        env: "ZTUNNEL_CA_CONNECTIONS",
        value: "COUNT",
        help: "Connections at a time; each node has one.",
        set: |config, text| set(&mut config.limits.connections, text),
        show: |config| config.limits.connections.show(),
    },
];

const LOG: &[Opt<CaServerConfig>] = &[
    Opt {
        key: "log.level",
        env: "RUST_LOG",
        value: "LEVEL",
        help: "What is logged: off, error, warn, info, debug or trace; or by target, like \
               audit=info,warn. Each signature is a line of target audit and level info, each \
               refusal one of level warn.",
        set: |config, text| set(&mut config.log.level, text),
        show: |config| config.log.level.show(),
    },
    Opt {
        key: "log.format",
        env: "LOG_FORMAT",
        value: "FORMAT",
        help: "How lines are written: text or json.",
        set: |config, text| set(&mut config.log.format, text),
        show: |config| config.log.format.show(),
    },
];
