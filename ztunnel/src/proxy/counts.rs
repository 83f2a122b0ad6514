//! What workers count besides Istio's families of connections.

use std::time::Duration;

use daemon::logs::PolicyRef;
use daemon::metrics::{BoundedCounters, Metrics, RegisterError};
use hbone::pool::PoolCounts;
use mesh::Network;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::enrol::UdpSeen;

/// What workers count besides Istio's families of connections. Everything here is counted once per connection or
/// tunnel at most.
#[derive(Clone, Debug)]
pub struct ProxyMetrics {
    /// Tunnels that came up, by direction and whether a ticket was used.
    handshakes: HistogramVec,
    /// Tunnels that did not, by direction and cause.
    handshake_failures: IntCounterVec,
    /// Attempts to reach an upstream, by path and outcome.
    dials: IntCounterVec,
    /// What those took that succeeded.
    dial_times: HistogramVec,
    /// What policy said of connections, by policy and rule.
    decisions: BoundedCounters,
    /// Of them: no policy had to decide. What most connections are counted under.
    permitted_freely: IntCounter,
    /// Tries to get to other networks, by network and outcome.
    crossings: BoundedCounters,
    /// Connections to unknown destinations where a namespace's egress settings have a say, by outcome.
    pub egress: BoundedCounters,
    /// Live connections that were cut, by reason.
    pub cuts: IntCounterVec,
    /// Connections admitted as the node's own probes.
    pub probes: IntCounter,
    /// Connections that were turned away since a limit was reached.
    pub turned_away: IntCounterVec,
    /// Tunnels that are open.
    tunnels: IntGaugeVec,
    /// Streams in them.
    streams: IntGaugeVec,
    /// How streams came by their tunnels.
    pooled: IntCounterVec,
    /// Tasks that panicked, by name.
    pub panics: IntCounterVec,
    /// Tunnels refused or cut since the peer's certificate is revoked, by who reports.
    revoked: IntCounterVec,
    /// Tunnels that are not found by all numbers of the peer's chain, by who reports.
    untracked: IntCounterVec,
    /// Bytes of UDP, none of it protected.
    udp_bytes: BoundedCounters,
    /// Packets of UDP.
    udp_packets: BoundedCounters,
    /// Connections carried without protection although the destination should have it.
    pub unprotected: IntCounter,
}

/// Which end of a tunnel this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TunnelEnd {
    /// The server's.
    Inbound,
    /// The client's.
    Outbound,
}

/// What policy said of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Allow,
    Audit,
    Deny,
    DryRunDeny,
}

/// Counts one more for as long as it lives.
#[derive(Debug)]
pub(super) struct Held(IntGauge);

impl ProxyMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Never, unless our own metrics' names clash.
    pub fn new(metrics: &Metrics) -> Result<Self, RegisterError> {
        let by = |name, help, labels: &[&str]| metrics.counter_vec(name, help, labels);
        let open = |name, help| metrics.gauge_vec(name, help, &["direction"]);
        let decisions = metrics.bounded_counters(
            "ambient_policy_decisions_total",
            "What policies said of connections.",
            &["policy_namespace", "policy_name", "rule", "decision", "reason"],
            MAX_DECISIONS,
        )?;
        // What has not happened yet is told as zero: a rate over a series that comes with its first count misses that one.
        decisions.with(&["", "", "", Decision::Deny.label(), "unknown_policy"]);
        let made = Self {
            handshakes: metrics.histogram_vec(
                "ambient_tunnel_handshake_duration_seconds",
                "Time that TLS handshakes of tunnels took that ended well.",
                &["direction", "kind"],
                &SECONDS,
            )?,
            handshake_failures: by(
                "ambient_tunnel_handshake_failures_total",
                "TLS handshakes of tunnels that failed.",
                &["direction", "cause"],
            )?,
            dials: by("ambient_dials_total", "Attempts to reach an upstream.", &["path", "outcome"])?,
            dial_times: metrics.histogram_vec(
                "ambient_dial_duration_seconds",
                "Time until an upstream was reached.",
                &["path"],
                &SECONDS,
            )?,
            permitted_freely: decisions.with(&["", "", "", Decision::Allow.label(), "no_policy"]),
            decisions,
            crossings: metrics.bounded_counters(
                "ambient_crossings_total",
                "Tries to get to services on other networks.",
                &["network", "outcome"],
                MAX_CROSSINGS,
            )?,
            egress: metrics.bounded_counters(
                "ambient_egress_total",
                "Connections to destinations outside of the mesh, from namespaces that restrict or log them.",
                &["namespace", "outcome"],
                MAX_NAMESPACES,
            )?,
            cuts: by("ambient_connections_cut_total", "Live connections that were cut.", &["reason"])?,
            probes: metrics
                .counter("ambient_probes_total", "Connections admitted as the node's own probes.")?,
            turned_away: by(
                "ambient_connections_turned_away_total",
                "Connections turned away since a limit was reached.",
                &["limit"],
            )?,
            tunnels: open("ambient_tunnels_open", "Tunnels that are open.")?,
            streams: open("ambient_tunnel_streams_open", "Connections in tunnels.")?,
            pooled: by(
                "ambient_tunnel_pool_requests_total",
                "Streams asked of the pool, by how they came by a tunnel.",
                &["outcome"],
            )?,
            panics: by("ambient_task_panics_total", "Tasks that panicked.", &["task"])?,
            revoked: by(
                "istio_crl_policy_rejections_total",
                "Tunnels refused or cut since the peer's certificate is revoked.",
                &["reporter"],
            )?,
            untracked: by(
                "istio_crl_untracked_connections_total",
                "Tunnels whose peer's chain has a certificate without a readable number, which no list finds.",
                &["reporter"],
            )?,
            udp_bytes: metrics.bounded_counters(
                "ambient_udp_bytes_total",
                "Bytes of pods' UDP other than DNS, which no tunnel carries.",
                &UDP_LABELS,
                MAX_NAMESPACES,
            )?,
            udp_packets: metrics.bounded_counters(
                "ambient_udp_packets_total",
                "Packets of pods' UDP other than DNS, which no tunnel carries.",
                &UDP_LABELS,
                MAX_NAMESPACES,
            )?,
            unprotected: metrics.counter(
                "ambient_unprotected_connections_total",
                "Connections in plaintext to workloads that are to be captured and are not yet.",
            )?,
        };
        made.begin_at_zero();
        Ok(made)
    }

    fn begin_at_zero(&self) {
        for end in [TunnelEnd::Inbound, TunnelEnd::Outbound] {
            for cause in ["identity", "timeout", "tls"] {
                self.handshake_failures.with_label_values(&[end.label(), cause]);
            }
            self.tunnels.with_label_values(&[end.label()]);
            self.revoked.with_label_values(&[end.reporter()]);
            self.untracked.with_label_values(&[end.reporter()]);
            self.streams.with_label_values(&[end.label()]);
        }
        for reason in ["peer_changed", "pod_gone", "policy"] {
            self.cuts.with_label_values(&[reason]);
        }
        for limit in ["connections_per_pod", "handshakes", "metrics_pod", "open_files"] {
            self.turned_away.with_label_values(&[limit]);
        }
        for outcome in ["dialled", "reused", "waited"] {
            self.pooled.with_label_values(&[outcome]);
        }
        for task in ["accept", "inbound", "outbound", "plaintext", "tunnel", "tunnelled"] {
            self.panics.with_label_values(&[task]);
        }
    }

    /// A tunnel came up.
    pub(super) fn handshake(&self, end: TunnelEnd, resumed: bool, took: Duration) {
        let kind = if resumed { "resumed" } else { "full" };
        self.handshakes.with_label_values(&[end.label(), kind]).observe(took.as_secs_f64());
    }

    /// A tunnel did not come up.
    pub(super) fn handshake_failed(&self, end: TunnelEnd, cause: &str) {
        self.handshake_failures.with_label_values(&[end.label(), cause]).inc();
    }

    /// A tunnel was refused or cut since the peer's certificate is revoked.
    pub(super) fn revoked(&self, end: TunnelEnd) {
        self.revoked.with_label_values(&[end.reporter()]).inc();
    }

    /// A tunnel came up that no revocation list finds by all numbers of its peer's chain.
    pub(super) fn untracked(&self, end: TunnelEnd) {
        self.untracked.with_label_values(&[end.reporter()]).inc();
    }

    /// A connection got to another network, or did not and why.
    pub(super) fn crossed(&self, network: &Network, failure: Option<&'static str>) {
        self.crossings.inc(&[network.as_str(), failure.unwrap_or("connected")]);
    }

    /// An upstream was reached on that path, or was not and why.
    pub(super) fn dialled(&self, path: &str, took: Duration, failure: Option<&'static str>) {
        if failure.is_none() {
            self.dial_times.with_label_values(&[path]).observe(took.as_secs_f64());
        }
        self.dials.with_label_values(&[path, failure.unwrap_or("connected")]).inc();
    }

    /// Policy said something of a connection; no policy has a name where none had to.
    pub(super) fn decided(&self, policy: Option<&PolicyRef>, decision: Decision, reason: &str) {
        let (namespace, name) = policy.map_or(("", ""), |policy| (&*policy.namespace, &*policy.name));
        let rule = rule_label(policy.and_then(|policy| policy.rule));
        self.decisions.inc(&[namespace, name, rule, decision.label(), reason]);
    }

    /// Policy permitted a connection; no policy where none had to.
    pub(super) fn permitted(&self, policy: Option<&PolicyRef>) {
        match policy {
            Some(policy) => self.decided(Some(policy), Decision::Allow, "allow_matched"),
            None => self.permitted_freely.inc(),
        }
    }

    /// UDP of a pod was counted.
    pub(super) fn udp(&self, namespace: &str, seen: UdpSeen) {
        for (outcome, count) in [("passed", seen.passed), ("refused", seen.refused)] {
            for (direction, datagrams) in [("received", count.received), ("sent", count.sent)] {
                if datagrams.packets > 0 {
                    let labels = [namespace, direction, outcome];
                    self.udp_bytes.with(&labels).inc_by(datagrams.bytes);
                    self.udp_packets.with(&labels).inc_by(datagrams.packets);
                }
            }
        }
    }

    /// A tunnel is open until that is dropped.
    pub(super) fn tunnel(&self, end: TunnelEnd) -> Held {
        Held::new(self.tunnels.with_label_values(&[end.label()]))
    }

    /// A connection is in a tunnel until that is dropped.
    pub(super) fn stream(&self, end: TunnelEnd) -> Held {
        Held::new(self.streams.with_label_values(&[end.label()]))
    }

    pub(super) fn pooled(&self, counts: PoolCounts) {
        let PoolCounts { reused, dialled, waited } = counts;
        for (outcome, count) in [("reused", reused), ("dialled", dialled), ("waited", waited)] {
            if count > 0 {
                self.pooled.with_label_values(&[outcome]).inc_by(count);
            }
        }
    }
}

impl TunnelEnd {
    const fn label(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }

    /// Istio's name of who reports.
    const fn reporter(self) -> &'static str {
        match self {
            Self::Inbound => "destination",
            Self::Outbound => "source",
        }
    }
}

impl Decision {
    const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Audit => "audit",
            Self::Deny => "deny",
            Self::DryRunDeny => "dry_run_deny",
        }
    }
}

impl Held {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Bounds of what handshakes and dials take: within a node, between nodes, beyond, and lost packets.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Rules that are told apart, of those that policies have. Behind come: one policy with thousands of rules leaves room for
/// others.
const fn rule_label(rule: Option<usize>) -> &'static str {
    const RULES: [&str; 16] =
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"];
    match rule {
        None => "",
        Some(rule) if rule < RULES.len() => RULES[rule],
        Some(_) => "16+",
    }
}

/// Networks that are told apart times outcomes: a mesh has few of either.
const MAX_CROSSINGS: usize = 1000;

/// Policies and rules that are told apart. A node's pods are subject to fewer; those of a mesh that changes all day may be more.
const MAX_DECISIONS: usize = 2000;
/// Series of namespaces: a node's pods are in fewer.
const MAX_NAMESPACES: usize = 1000;
const UDP_LABELS: [&str; 3] = ["namespace", "direction", "outcome"];
