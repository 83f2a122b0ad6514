//! Istio's metrics of the DNS proxy.
//!
//! Without its label for the host name: a pod could make a series of each name that it thinks of.

use std::time::Duration;

use daemon::metrics::{LabelBound, Metrics, OVERFLOW, RegisterError};
use mesh::Profile;
use prometheus::{HistogramVec, IntCounterVec};

use super::RecordKind;
use super::exchange::Transport;

/// Counters of the DNS proxy. Clones share them.
#[derive(Clone, Debug)]
pub struct DnsMetrics {
    requests: IntCounterVec,
    upstream_requests: IntCounterVec,
    upstream_failures: IntCounterVec,
    upstream_duration: HistogramVec,
    bound: LabelBound,
}

/// What one question is counted under.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels<'a>([&'a str; LABELS.len()]);

impl DnsMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(metrics: &Metrics) -> Result<Self, RegisterError> {
        let counter = |name, help| metrics.counter_vec(name, help, &LABELS);
        Ok(Self {
            bound: metrics.bound("istio_dns", MAX_LABELS),
            requests: counter("istio_dns_requests_total", "DNS queries of pods.")?,
            upstream_requests: counter(
                "istio_dns_upstream_requests_total",
                "DNS queries passed on to name servers.",
            )?,
            upstream_failures: counter(
                "istio_dns_upstream_failures_total",
                "DNS queries that no name server answered.",
            )?,
            upstream_duration: metrics.histogram_vec(
                "istio_dns_upstream_request_duration_seconds",
                "Time that name servers take to answer.",
                &LABELS,
                &BUCKETS,
            )?,
        })
    }

    /// What a question is counted under.
    pub(super) fn labels<'a>(
        &self,
        transport: Transport,
        kind: RecordKind,
        source: Option<&'a Profile>,
    ) -> Labels<'a> {
        let labels = Labels::new(transport, kind, source);
        if self.bound.admits(&labels.0) { labels } else { Labels([OVERFLOW; LABELS.len()]) }
    }

    pub(super) fn asked(&self, labels: &Labels<'_>) {
        self.requests.with_label_values(&labels.0).inc();
    }

    pub(super) fn forwarded(&self, labels: &Labels<'_>) {
        self.upstream_requests.with_label_values(&labels.0).inc();
    }

    pub(super) fn answered(&self, labels: &Labels<'_>, took: Duration) {
        self.upstream_duration.with_label_values(&labels.0).observe(took.as_secs_f64());
    }

    pub(super) fn unanswered(&self, labels: &Labels<'_>) {
        self.upstream_failures.with_label_values(&labels.0).inc();
    }
}

impl<'a> Labels<'a> {
    fn new(transport: Transport, kind: RecordKind, source: Option<&'a Profile>) -> Self {
        let transport = match transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        let known = |name: fn(&Profile) -> &str| source.map(name).filter(|name| !name.is_empty());
        Self([
            kind.label(),
            transport,
            known(|it| &it.canonical_name).unwrap_or(UNKNOWN),
            known(|it| &it.canonical_revision).unwrap_or(UNKNOWN),
        ])
    }
}

impl RecordKind {
    /// The type's name, for those that are common.
    const fn label(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Other(5) => "CNAME",
            Self::Other(12) => "PTR",
            Self::Other(15) => "MX",
            Self::Other(16) => "TXT",
            Self::Other(33) => "SRV",
            Self::Other(65) => "HTTPS",
            Self::Other(_) => "other",
        }
    }
}

const LABELS: [&str; 4] =
    ["request_query_type", "request_protocol", "source_canonical_service", "source_canonical_revision"];
const UNKNOWN: &str = "unknown";
/// Label sets: the types of names that a full node of pods asks for, by both transports, with room for those that
/// came and went.
const MAX_LABELS: usize = 2000;
/// Istio's, in seconds.
const BUCKETS: [f64; 6] = [0.001, 0.005, 0.01, 0.1, 1.0, 5.0];
