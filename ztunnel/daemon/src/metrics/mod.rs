//! Metrics: Istio's families for connections, and whatever else a daemon registers.

mod connections;
mod exposition;
mod labels;
mod process;
mod worker;

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use connections::ConnectionTable;
pub use labels::{ConnectionLabels, Peer, Reporter, ResponseFlag, Security, ServiceLabels};
pub use worker::{ConnectionCounters, WorkerCounters};

/// All metrics of a daemon. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    connections: Arc<ConnectionTable>,
}

/// Two metrics of one name, or a name that is not one: a bug of ours, found by whoever first starts the daemon.
#[derive(Debug, thiserror::Error)]
#[error("metric {name} cannot be registered")]
pub struct RegisterError {
    name: String,
    #[source]
    source: prometheus::Error,
}

impl Metrics {
    /// Metrics of `component` (`ztunnel`, `ca`) at `version`, with at most `series` label sets of connections.
    ///
    /// # Errors
    /// Never, unless our own metrics' names clash.
    pub fn new(component: &str, version: &str, series: usize) -> Result<Self, RegisterError> {
        let metrics = Self { registry: Registry::new(), connections: Arc::new(ConnectionTable::new(series)) };
        let build = metrics.gauge_vec("istio_build", "Component and version.", &["component", "tag"])?;
        build.with_label_values(&[component, version]).set(1);
        metrics.register(metrics.connections.overflowed())?;
        Ok(metrics)
    }

    /// The counters of one worker's connections. Call once per worker, on its own thread.
    pub fn worker(&self) -> WorkerCounters {
        WorkerCounters::new(self.connections.clone())
    }

    /// Everything in Prometheus' text format. Takes no lock that a worker waits for.
    pub fn render(&self) -> String {
        exposition::render(&self.registry.gather(), &self.connections)
    }

    /// A counter.
    ///
    /// # Errors
    /// When the name is taken or malformed.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, RegisterError> {
        self.made(name, IntCounter::new(name, help))
    }

    /// A counter with labels.
    ///
    /// # Errors
    /// When the name is taken or malformed.
    pub fn counter_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, RegisterError> {
        self.made(name, IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// A gauge.
    ///
    /// # Errors
    /// When the name is taken or malformed.
    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, RegisterError> {
        self.made(name, IntGauge::new(name, help))
    }

    /// A gauge with labels.
    ///
    /// # Errors
    /// When the name is taken or malformed.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, RegisterError> {
        self.made(name, IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// Registers a metric made elsewhere.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn register<C: Collector + 'static>(&self, metric: C) -> Result<(), RegisterError> {
        let name = metric.desc().first().map(|desc| desc.fq_name.clone()).unwrap_or_default();
        self.registry.register(Box::new(metric)).map_err(|source| RegisterError { name, source })
    }

    fn made<C: Collector + Clone + 'static>(
        &self,
        name: &str,
        metric: prometheus::Result<C>,
    ) -> Result<C, RegisterError> {
        let metric = metric.map_err(|source| RegisterError { name: name.to_owned(), source })?;
        self.register(metric.clone())?;
        Ok(metric)
    }
}

/// Label sets of connections that a daemon keeps by default: five families each, so 50,000 lines a scrape at most.
pub const DEFAULT_SERIES: usize = 10_000;

#[cfg(test)]
mod tests;
