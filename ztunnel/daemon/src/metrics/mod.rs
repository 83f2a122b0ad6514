//! Metrics: Istio's families for connections, and whatever else a daemon registers.

mod bounded;
mod connections;
mod exposition;
mod labels;
mod process;
mod worker;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

pub use bounded::{BoundedCounters, LabelBound, OVERFLOW};
use connections::ConnectionTable;
pub use labels::{ConnectionLabels, Peer, Reporter, ResponseFlag, Security, ServiceLabels};
pub use worker::{ConnectionCounters, WorkerCounters};

/// All metrics of a daemon. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    connections: Arc<ConnectionTable>,
    overflowed: IntCounterVec,
    /// What is looked up when somebody asks. Taken by scrapes only.
    looks: Looks,
}

/// Brings some metrics up to date.
type Look = Box<dyn Fn() + Send + Sync>;

#[derive(Clone, Default)]
struct Looks(Arc<Mutex<Vec<Look>>>);

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
        let overflowed = IntCounterVec::new(
            Opts::new(
                "ambient_metric_overflow_total",
                "Times that a label set found no room in its family and was counted as \"overflow\".",
            ),
            &["family"],
        );
        let overflowed = overflowed.expect("the metric's description is valid");
        let connections = ConnectionTable::new(series, overflowed.with_label_values(&["istio_tcp"]));
        let (registry, connections) = (Registry::new(), Arc::new(connections));
        let metrics = Self { registry, connections, overflowed: overflowed.clone(), looks: Looks::default() };
        metrics.register(overflowed)?;
        let build = metrics.gauge_vec("istio_build", "Component and version.", &["component", "tag"])?;
        build.with_label_values(&[component, version]).set(1);
        Ok(metrics)
    }

    /// The counters of one worker's connections. Call once per worker, on its own thread.
    pub fn worker(&self) -> WorkerCounters {
        WorkerCounters::new(self.connections.clone())
    }

    /// Everything in Prometheus' text format. Takes no lock that a worker waits for.
    pub fn render(&self) -> String {
        self.looks.lock().iter().for_each(|look| look());
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

    /// A counter whose labels others choose: `limit` label sets at most, and one for the rest.
    ///
    /// # Errors
    /// When the name is taken or malformed.
    pub fn bounded_counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        limit: usize,
    ) -> Result<BoundedCounters, RegisterError> {
        let counters = self.counter_vec(name, help, labels)?;
        Ok(BoundedCounters::new(counters, self.bound(name, limit)))
    }

    /// Room for `limit` label sets of a family.
    pub fn bound(&self, family: &str, limit: usize) -> LabelBound {
        LabelBound::new(limit, self.overflowed.with_label_values(&[family]))
    }

    /// A histogram with labels; `buckets` are upper bounds.
    ///
    /// # Errors
    /// When the name is taken or malformed.
    pub fn histogram_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, RegisterError> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.made(name, HistogramVec::new(opts, labels))
    }

    /// Has `look` bring metrics up to date before each scrape, on the thread of whoever asks.
    pub fn before_scrape(&self, look: impl Fn() + Send + Sync + 'static) {
        self.looks.lock().push(Box::new(look));
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

impl Looks {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Look>> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Looks").field(&self.lock().len()).finish()
    }
}

/// Label sets of connections that a daemon keeps by default: five families each, so 50,000 lines a scrape at most.
pub const DEFAULT_SERIES: usize = 10_000;

#[cfg(test)]
mod tests;
