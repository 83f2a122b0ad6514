//! What differs from one installation, or one node, to the next.

use daemon::config::{Opt, Value, from_list, from_optional, from_str, set, show_list, show_optional};

use crate::config::Config;

pub(super) const NODE: &[Opt<Config>] = &[
    Opt {
        key: "node",
        env: "NODE_NAME",
        value: "NAME",
        help: "Name of this node, as Pods name it in spec.nodeName. Needed, unless pod and ca.tokenFile \
               are set: the mesh knows the pod's node.",
        set: |config, text| set(&mut config.node, text),
        show: |config| config.node.show(),
    },
    Opt {
        key: "pod",
        env: "ZTUNNEL_POD",
        value: "NAMESPACE/NAME",
        help: "The one pod that this daemon is for, inside of which it runs (Istio's dedicated mode): it \
               captures its own network namespace, and nothing else of the node; state.* means nothing \
               then. The pod has the annotation ambient.mesh/proxy: dedicated, by which its node's daemon \
               leaves it alone. SIGTERM leaves the pod shut until the next one, unless it is being deleted or is \
               in the mesh no more. Or off.",
        set: |config, text| from_optional(&mut config.pod, text, "NAMESPACE/NAME"),
        show: |config| show_optional(config.pod.as_ref()),
    },
    Opt {
        key: "workers",
        env: "ZTUNNEL_WORKER_THREADS",
        value: "COUNT",
        help: "Threads of the byte path: a number, a share of the cores like 50%, 0 for one per \
               core, or auto for a quarter of the cores and two at least.",
        set: |config, text| set(&mut config.workers, text),
        show: |config| config.workers.show(),
    },
];

pub(super) const SOURCE: &[Opt<Config>] = &[
    Opt {
        key: "source.manifests",
        env: "ZTUNNEL_MANIFESTS",
        value: "PATH",
        help: "File or folder of ordinary Kubernetes manifests that describe the mesh; watched, so \
               that a change takes effect at once. Needed.",
        set: |config, text| set(&mut config.source.manifests, text),
        show: |config| config.source.manifests.show(),
    },
    Opt {
        key: "source.status",
        env: "ZTUNNEL_STATUS_FOLDER",
        value: "PATH",
        help: "Folder shared by all nodes, in which each reports the pods that it captures. Pods \
               that no node reports are not sent tunnelled connections.",
        set: |config, text| set(&mut config.source.status, text),
        show: |config| config.source.status.show(),
    },
];

pub(super) const STATE: &[Opt<Config>] = &[
    Opt {
        key: "state.folder",
        env: "ZTUNNEL_STATE_FOLDER",
        value: "PATH",
        help: "Folder on a tmpfs of the node that keeps what is known of enrolled pods, so that a \
               restarted daemon finds them again.",
        set: |config, text| set(&mut config.state.folder, text),
        show: |config| config.state.folder.show(),
    },
    Opt {
        key: "state.enrolSocket",
        env: "ZTUNNEL_ENROL_SOCKET",
        value: "PATH",
        help: "Unix socket at which pods are enrolled and taken out; the CNI plugin calls it.",
        set: |config, text| set(&mut config.state.enrol_socket, text),
        show: |config| config.state.enrol_socket.show(),
    },
    Opt {
        key: "state.netns",
        env: "ZTUNNEL_NETNS",
        value: "PATH",
        help: "Folder where the container runtime mounts the pods' network namespaces: pods that \
               nobody handed over are found there by their addresses.",
        set: |config, text| set(&mut config.state.netns, text),
        show: |config| config.state.netns.show(),
    },
];

pub(super) const MESH: &[Opt<Config>] = &[
    Opt {
        key: "mesh.trustDomain",
        env: "TRUST_DOMAIN",
        value: "NAME",
        help: "Trust domain of the workloads' SPIFFE identities.",
        set: |config, text| from_str(&mut config.mesh.trust_domain, text, "a trust domain"),
        show: |config| config.mesh.trust_domain.to_string(),
    },
    Opt {
        key: "mesh.trustDomainAliases",
        env: "TRUST_DOMAIN_ALIASES",
        value: "NAME,...",
        help: "Other names of the trust domain, for a mesh that changes its name: a principal in a \
               policy that names one of them means all. Peers of such a name are accepted where \
               trust.federated has roots for it, and are the workloads of the first name then: \
               name no partner here.",
        set: |config, text| from_list(&mut config.mesh.trust_domain_aliases, text, "trust domains"),
        show: |config| show_list(&config.mesh.trust_domain_aliases),
    },
    Opt {
        key: "mesh.clusterDomain",
        env: "CLUSTER_DOMAIN",
        value: "NAME",
        help: "DNS suffix of Services.",
        set: |config, text| set(&mut config.mesh.cluster_domain, text),
        show: |config| config.mesh.cluster_domain.show(),
    },
    Opt {
        key: "mesh.clusterId",
        env: "CLUSTER_ID",
        value: "NAME",
        help: "The cluster that this node belongs to, as metrics and tunnels name it.",
        set: |config, text| set(&mut config.mesh.cluster_id, text),
        show: |config| config.mesh.cluster_id.show(),
    },
    Opt {
        key: "mesh.network",
        env: "NETWORK",
        value: "NAME",
        help: "The network that pods' addresses belong to; empty for the default one. What is on another \
               one is reached through its gateway only.",
        set: |config, text| set(&mut config.mesh.network, text),
        show: |config| config.mesh.network.show(),
    },
    Opt {
        key: "mesh.rootNamespace",
        env: "ROOT_NAMESPACE",
        value: "NAME",
        help: "Namespace whose policies without a selector apply to the whole mesh; Istio's, so \
               that policies of a migrating cluster keep their scope.",
        set: |config, text| set(&mut config.mesh.root_namespace, text),
        show: |config| config.mesh.root_namespace.show(),
    },
    Opt {
        key: "mesh.excludedNamespaces",
        env: "EXCLUDED_NAMESPACES",
        value: "NAME,...",
        help: "Namespaces whose pods are never enrolled, whatever their labels say.",
        set: |config, text| set(&mut config.mesh.excluded_namespaces, text),
        show: |config| config.mesh.excluded_namespaces.show(),
    },
];

pub(super) const CA: &[Opt<Config>] = &[
    Opt {
        key: "ca.address",
        env: "CA_ADDRESS",
        value: "ADDRESS",
        help: "Who signs the workloads' certificates: host:port or https://host:port. Needed.",
        set: |config, text| set(&mut config.ca.address, text),
        show: |config| config.ca.address.show(),
    },
    Opt {
        key: "ca.serverName",
        env: "ALT_CA_HOSTNAME",
        value: "NAME",
        help: "Name that the CA's own certificate must have.",
        set: |config, text| set(&mut config.ca.server_name, text),
        show: |config| config.ca.server_name.show(),
    },
    Opt {
        key: "ca.roots",
        env: "CA_ROOT_CA",
        value: "PATH",
        help: "PEM file of the roots that the CA's own certificate must come from. Needed.",
        set: |config, text| set(&mut config.ca.roots, text),
        show: |config| config.ca.roots.show(),
    },
    Opt {
        key: "ca.nodeKey",
        env: "ZTUNNEL_NODE_KEY",
        value: "PATH",
        help: "PEM file of the private key by which the CA knows this node. Needed, unless \
               ca.tokenFile is set.",
        set: |config, text| set(&mut config.ca.node_key, text),
        show: |config| config.ca.node_key.show(),
    },
    Opt {
        key: "ca.tokenFile",
        env: "AUTH_TOKEN",
        value: "PATH",
        help: "File of the token by which the CA knows this node, in place of ca.nodeKey: a \
               ServiceAccount's projected token, whose audience is the CA's and which is bound to \
               this pod. Read for each call, since it is renewed in place. With pod, it is of the \
               pod's own account, and asks for nobody else. Or off.",
        set: |config, text| set(&mut config.ca.token_file, text),
        show: |config| config.ca.token_file.show(),
    },
    Opt {
        key: "ca.certificateTtl",
        env: "SECRET_TTL",
        value: "DURATION",
        help: "Life of a workload's certificate that is asked for; it is renewed at about half of \
               it.",
        set: |config, text| set(&mut config.ca.certificate_ttl, text),
        show: |config| config.ca.certificate_ttl.show(),
    },
    Opt {
        key: "ca.cache",
        env: "ZTUNNEL_CERTIFICATE_CACHE",
        value: "PATH",
        help: "Folder on a tmpfs of the node in which workloads' certificates and their private keys \
               are kept, so that a daemon that restarts while the CA is away still serves. Root on \
               the node can read them there, as it can read the daemon's memory; a tmpfs may be \
               swapped to disk. Refused unless it is on a tmpfs and its owner's alone. Or off, and \
               keys are in memory only.",
        set: |config, text| set(&mut config.ca.cache, text),
        show: |config| config.ca.cache.show(),
    },
];
