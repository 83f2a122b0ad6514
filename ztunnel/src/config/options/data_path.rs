//! How connections travel, how long that may take, and how much of it there may be.

use daemon::config::{Opt, Value, set};

use crate::config::Config;

pub(super) const DNS: &[Opt<Config>] = &[
    Opt {
        key: "dns.enabled",
        env: "ZTUNNEL_DNS",
        value: "BOOL",
        help: "Whether pods' DNS queries are captured and answered from what the mesh knows. The \
               annotation ambient.istio.io/dns-capture of a pod, or else of its namespace, wins; \
               a pod's \"false\" does not where its namespace has egress or udp deny. Queries \
               that are not captured are UDP, which udp deny refuses.",
        set: |config, text| set(&mut config.dns.enabled, text),
        show: |config| config.dns.enabled.show(),
    },
    Opt {
        key: "dns.resolvConf",
        env: "ZTUNNEL_DNS_RESOLV_CONF",
        value: "PATH",
        help: "The node's own resolver configuration: where queries of pods with dnsPolicy Default \
               go. With pod it is the pod's, and the daemon asks nobody in it for itself.",
        set: |config, text| set(&mut config.dns.resolv_conf, text),
        show: |config| config.dns.resolv_conf.show(),
    },
    Opt {
        key: "dns.clusterResolvers",
        env: "ZTUNNEL_DNS_CLUSTER_RESOLVERS",
        value: "ADDRESS,...",
        help: "Addresses of the cluster's DNS service: where queries of pods with dnsPolicy \
               ClusterFirst go. Without any, queries go where the pod sent them.",
        set: |config, text| set(&mut config.dns.cluster_resolvers, text),
        show: |config| config.dns.cluster_resolvers.show(),
    },
];

pub(super) const PATH: &[Opt<Config>] = &[
    Opt {
        key: "path.nodeLocal",
        env: "ZTUNNEL_NODE_LOCAL",
        value: "BOOL",
        help: "Whether two pods of this node are joined without a tunnel where no NetworkPolicy \
               selects either. To be turned off where the CNI has policies or flow logs of its own.",
        set: |config, text| set(&mut config.path.node_local, text),
        show: |config| config.path.node_local.show(),
    },
    Opt {
        key: "path.originalSource",
        env: "ENABLE_ORIG_SRC",
        value: "BOOL",
        help: "Whether applications see the original source address of connections.",
        set: |config, text| set(&mut config.path.original_source, text),
        show: |config| config.path.original_source.show(),
    },
    Opt {
        key: "path.networkPolicies",
        env: "ZTUNNEL_NETWORK_POLICIES",
        value: "BOOL",
        help: "Whether the ingress rules of NetworkPolicies are enforced on the ports that tunnels \
               lead to: the cluster's network sees port 15008 only, and must let that in.",
        set: |config, text| set(&mut config.path.network_policies, text),
        show: |config| config.path.network_policies.show(),
    },
    Opt {
        key: "path.strangers",
        env: "ZTUNNEL_STRANGERS",
        value: "accept|refuse",
        help: "What becomes of tunnels from addresses that the mesh knows nobody at. accept: a certificate \
               is enough, so that a node may masquerade its pods and other meshes may come; policy sees its \
               identity, and a stolen key serves from anywhere. refuse: for meshes whose pods all come \
               from their own addresses. Somebody else than who is known at an address is refused anyway.",
        set: |config, text| set(&mut config.path.strangers, text),
        show: |config| config.path.strangers.show(),
    },
    Opt {
        key: "path.linger",
        env: "ZTUNNEL_LINGER",
        value: "DURATION",
        help: "How long a worker with little to do looks for an answer before it sleeps, at most 1ms. \
               Waking a halted processor takes longer than all else that a small message costs. It \
               makes way for whoever wants its processor, and ceases where no answer comes in that \
               time. 0 saves that processor time.",
        set: |config, text| set(&mut config.path.linger, text),
        show: |config| config.path.linger.show(),
    },
    Opt {
        key: "path.tunnelCongestionControl",
        env: "ZTUNNEL_TUNNEL_CONGESTION_CONTROL",
        value: "NAME",
        help: "The congestion control of tunnels; system leaves it to net.ipv4.tcp_congestion_control of the \
               pod. One that paces, like bbr, costs a timer's interrupt for each packet: choose it for \
               tunnels that go far over lossy ways. What stays inside a pod uses reno.",
        set: |config, text| set(&mut config.path.tunnel_congestion_control, text),
        show: |config| config.path.tunnel_congestion_control.show(),
    },
];

pub(super) const TIMEOUTS: &[Opt<Config>] = &[
    Opt {
        key: "timeouts.handshake",
        env: "ZTUNNEL_HANDSHAKE_TIMEOUT",
        value: "DURATION",
        help: "How long a TLS handshake may take, on either side.",
        set: |config, text| set(&mut config.timeouts.handshake, text),
        show: |config| config.timeouts.handshake.show(),
    },
    Opt {
        key: "timeouts.connect",
        env: "ZTUNNEL_CONNECT_TIMEOUT",
        value: "DURATION",
        help: "How long a TCP connection may take to come up.",
        set: |config, text| set(&mut config.timeouts.connect, text),
        show: |config| config.timeouts.connect.show(),
    },
    Opt {
        key: "timeouts.request",
        env: "ZTUNNEL_REQUEST_TIMEOUT",
        value: "DURATION",
        help: "How long a peer may take to answer CONNECT; it dials its application before it does.",
        set: |config, text| set(&mut config.timeouts.request, text),
        show: |config| config.timeouts.request.show(),
    },
    Opt {
        key: "timeouts.idleTunnel",
        env: "POOL_UNUSED_RELEASE_TIMEOUT",
        value: "DURATION",
        help: "How long a tunnel without streams is kept. Longer than a kubelet's probe period, so \
               that probes reuse tunnels.",
        set: |config, text| set(&mut config.timeouts.idle_tunnel, text),
        show: |config| config.timeouts.idle_tunnel.show(),
    },
    Opt {
        key: "timeouts.idleInbound",
        env: "ZTUNNEL_IDLE_INBOUND",
        value: "DURATION",
        help: "How long a peer's tunnel is kept without streams. Longer than peers keep theirs, so that \
               none is closed under a request that is on its way.",
        set: |config, text| set(&mut config.timeouts.idle_inbound, text),
        show: |config| config.timeouts.idle_inbound.show(),
    },
    Opt {
        key: "timeouts.unacknowledged",
        env: "ZTUNNEL_UNACKNOWLEDGED_TIMEOUT",
        value: "DURATION",
        help: "How long what is sent in plaintext to or from another pod may stay unacknowledged \
               before the connection is reset (TCP_USER_TIMEOUT); tunnels have pings, which take 30s. \
               Or off: the kernel gives up after some 15 minutes, as without a mesh. It is off, since \
               it also ends what TCP keeps: a peer that is there and takes nothing for that long.",
        set: |config, text| set(&mut config.timeouts.unacknowledged, text),
        show: |config| config.timeouts.unacknowledged.show(),
    },
    Opt {
        key: "timeouts.drain",
        env: "CONNECTION_TERMINATION_DEADLINE",
        value: "DURATION",
        help: "How long connections may go on after SIGTERM before they are cut. Less than the \
               pod's terminationGracePeriodSeconds, which is 30.",
        set: |config, text| set(&mut config.timeouts.drain, text),
        show: |config| config.timeouts.drain.show(),
    },
];

pub(super) const LIMITS: &[Opt<Config>] = &[
    Opt {
        key: "limits.handshakes",
        env: "ZTUNNEL_MAX_HANDSHAKES",
        value: "COUNT",
        help: "TLS handshakes of peers in progress at a time; more are turned away.",
        set: |config, text| set(&mut config.limits.handshakes, text),
        show: |config| config.limits.handshakes.show(),
    },
    Opt {
        key: "limits.handshakesPerSource",
        env: "ZTUNNEL_MAX_HANDSHAKES_PER_SOURCE",
        value: "COUNT",
        help: "TLS handshakes in progress at a time from one source address to all pods of the daemon, \
               so that a single pod cannot take them all.",
        set: |config, text| set(&mut config.limits.handshakes_per_source, text),
        show: |config| config.limits.handshakes_per_source.show(),
    },
    Opt {
        key: "limits.connectionsPerPod",
        env: "ZTUNNEL_MAX_CONNECTIONS_PER_POD",
        value: "COUNT",
        help: "Connections that one pod may have through the daemon, in and out together, so that a \
               single pod cannot take all open files. Whoever opens them, one address gets twice as \
               many as are free at most: two thirds when it is alone.",
        set: |config, text| set(&mut config.limits.connections_per_pod, text),
        show: |config| config.limits.connections_per_pod.show(),
    },
    Opt {
        key: "limits.metricSeries",
        env: "ZTUNNEL_MAX_METRIC_SERIES",
        value: "COUNT",
        help: "Label sets of connections in the metrics; what does not fit is counted under the \
               workload name overflow.",
        set: |config, text| set(&mut config.limits.metric_series, text),
        show: |config| config.limits.metric_series.show(),
    },
    Opt {
        key: "limits.tunnels",
        env: "ZTUNNEL_MAX_TUNNELS",
        value: "COUNT",
        help: "Tunnels of peers at a time, some 6 kB each; more are turned away. One pod gets twice as \
               many as are free at most.",
        set: |config, text| set(&mut config.limits.tunnels, text),
        show: |config| config.limits.tunnels.show(),
    },
    Opt {
        key: "limits.tunnelsPerSource",
        env: "ZTUNNEL_MAX_TUNNELS_PER_SOURCE",
        value: "COUNT",
        help: "Tunnels from one source address to all pods of the node: a peer of ours opens up to 64 \
               of 256 connections each to a busy pod on each of its workers.",
        set: |config, text| set(&mut config.limits.tunnels_per_source, text),
        show: |config| config.limits.tunnels_per_source.show(),
    },
];
