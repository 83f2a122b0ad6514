//! Spans of connections, to an OpenTelemetry collector: `opentelemetry.proto.collector.trace.v1.TraceService`.
//!
//! A worker hands a span over when its connection ends, and waits for nobody: a full queue drops it and counts that.
//! - [`span`]: what a connection is as a span; [`wire`]: the messages;
//! - [`export`]: the task that gathers and sends them; [`connect`]: the way to the collector.

mod connect;
mod export;
mod span;
mod wire;

use std::path::PathBuf;

use daemon::metrics::{Metrics, RegisterError};
use prometheus::{IntCounter, IntCounterVec};
use tokio::sync::mpsc;

pub use connect::{CollectorAddress, ParseCollectorAddressError};
pub use export::{Exporter, StartError};
pub(super) use span::of;

/// Where spans go, and which connections have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpConfig {
    /// The collector; none while nobody wants spans.
    pub endpoint: Option<CollectorAddress>,
    /// PEM file of the roots that a collector's certificate must come from, where it is asked by TLS.
    pub roots: PathBuf,
    /// How many of 10,000 connections that begin here are traced.
    pub sampled: u16,
}

/// Where workers hand spans over. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Spans {
    queue: mpsc::Sender<wire::Span>,
    dropped: IntCounter,
    sampled: u16,
}

/// What is counted of spans.
#[derive(Clone, Debug)]
struct SpanCounts {
    exported: IntCounter,
    dropped: IntCounterVec,
}

impl Spans {
    /// Whether a connection that begins here is traced; `draw` is random.
    pub(super) fn samples(&self, draw: u64) -> bool {
        draw % u64::from(WHOLE) < u64::from(self.sampled)
    }

    /// Hands a span over, or drops it.
    pub(super) fn push(&self, span: wire::Span) {
        if self.queue.try_send(span).is_err() {
            self.dropped.inc();
        }
    }
}

impl SpanCounts {
    fn register(metrics: &Metrics) -> Result<Self, RegisterError> {
        let dropped = metrics.counter_vec(
            "ambient_spans_dropped_total",
            "Spans of connections that reached no collector, by reason: the queue was full, or it did not take them.",
            &["reason"],
        )?;
        for reason in ["full", "export"] {
            dropped.with_label_values(&[reason]);
        }
        let exported = metrics.counter("ambient_spans_exported_total", "Spans that a collector took.")?;
        Ok(Self { exported, dropped })
    }
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self { endpoint: None, roots: PathBuf::new(), sampled: WHOLE / 100 }
    }
}

/// All of them.
const WHOLE: u16 = 10_000;

/// Spans that may wait: some seconds of a busy node's, at some 700 bytes each.
const QUEUE: usize = 4096;
