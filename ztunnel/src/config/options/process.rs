//! The daemon itself: where it is asked, what it logs.

use daemon::config::{Opt, Value, from_optional, from_str, set, show_optional};

use crate::config::Config;

pub(super) const LISTEN: &[Opt<Config>] = &[
    Opt {
        key: "listen.adminSocket",
        env: "ZTUNNEL_ADMIN_SOCKET",
        value: "PATH",
        help: "Unix socket of the admin server, for its owner only: state, metrics, log level, end. \
               Or off.",
        set: |config, text| set(&mut config.listen.admin_socket, text),
        show: |config| config.listen.admin_socket.show(),
    },
    Opt {
        key: "listen.admin",
        env: "ZTUNNEL_ADMIN_ADDRESS",
        value: "ADDRESS",
        help: "Loopback address of the admin server, for what changes nothing: any process of the \
               node can connect to it. Or off, as it is with pod unless set: there, any container \
               can connect to it.",
        set: |config, text| set(&mut config.listen.admin, text),
        show: |config| config.listen.admin.show(),
    },
    Opt {
        key: "listen.metrics",
        env: "ZTUNNEL_METRICS_ADDRESS",
        value: "ADDRESS",
        help: "Address at which Prometheus reads /metrics. Or off.",
        set: |config, text| set(&mut config.listen.metrics, text),
        show: |config| config.listen.metrics.show(),
    },
    Opt {
        key: "listen.metricsPod",
        env: "ZTUNNEL_METRICS_POD",
        value: "NAMESPACE/NAME",
        help: "The daemon's own pod, in its node's network: /metrics is also served in tunnels that \
               come to port 15008 of its addresses, under its identity and the policies that are \
               about it, at the port of listen.metrics (15020 where that is off). Its label \
               networking.istio.io/tunnel must be http, and a container must declare that port, so \
               that peers know. Other ports of the node are not reached so. Or off.",
        set: |config, text| {
            from_optional(&mut config.listen.metrics_pod, text, "a pod like istio-system/ztunnel-x7k2p")
        },
        show: |config| show_optional(config.listen.metrics_pod.as_ref()),
    },
    Opt {
        key: "listen.readiness",
        env: "ZTUNNEL_READINESS_ADDRESS",
        value: "ADDRESS",
        help: "Address of /healthz/ready and /healthz/live. With pod, plaintext reaches it past \
               policies where it is on [::] only, listen.metrics alike: on 0.0.0.0 the kubelet's \
               probe is refused under STRICT. Or off.",
        set: |config, text| set(&mut config.listen.readiness, text),
        show: |config| config.listen.readiness.show(),
    },
];

pub(super) const LOG: &[Opt<Config>] = &[
    Opt {
        key: "log.level",
        env: "RUST_LOG",
        value: "LEVEL",
        help: "What is logged: off, error, warn, info, debug or trace; or by target, like \
               hbone=debug,info. Can be changed at run time.",
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
    Opt {
        key: "log.access",
        env: "ZTUNNEL_ACCESS_LOG",
        value: "RECORDS",
        help: "Which connections leave a record when they end: all, failures (and denials), none, or \
               a share like 10% of those that ended well. A namespace's annotation \
               ambient.mesh/access-log wins for its workloads.",
        set: |config, text| {
            from_str(&mut config.log.access, text, "all, failures, none, or a share like 10%")
        },
        show: |config| config.log.access.to_string(),
    },
];
