//! The task that sends spans.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use certs::describe;
use daemon::metrics::{Metrics, RegisterError};
use http::uri::PathAndQuery;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::connect::Connector;
use super::wire::{
    EXPORT, ExportRequest, ExportResponse, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span,
};
use super::{OtlpConfig, QUEUE, SpanCounts, Spans};
use crate::redirect::OwnSockets;

/// Sends the spans of a daemon to its collector.
#[derive(Debug)]
pub struct Exporter {
    queue: mpsc::Receiver<Span>,
    grpc: Grpc<Channel>,
    resource: Resource,
    counts: SpanCounts,
    /// The collector did not take the last ones: said once, not every second.
    failing: bool,
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A metric of ours.
    #[error(transparent)]
    Metrics(#[from] RegisterError),
    /// The collector's roots.
    #[error("otlp.roots {} cannot be read", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// TLS.
    #[error("tls library refuses the collector's roots or name")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

impl Exporter {
    /// An exporter of the daemon of `node`, and where it is handed spans; none while no collector is named.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(
        config: &OtlpConfig,
        node: &str,
        cluster: &str,
        metrics: &Metrics,
        own: OwnSockets,
    ) -> Result<Option<(Self, Spans)>, StartError> {
        let Some(address) = config.endpoint.clone() else { return Ok(None) };
        let roots = if address.is_tls() { roots(&config.roots)? } else { Vec::new() };
        let connector = Connector::new(address, &roots, own)?;
        // Where it leads is the connector's business; the name is for those who read logs of the collector.
        let channel = Endpoint::from_static("http://collector").connect_with_connector_lazy(connector);
        let counts = SpanCounts::register(metrics)?;
        let (sender, queue) = mpsc::channel(QUEUE);
        let dropped = counts.dropped.with_label_values(&["full"]);
        let spans = Spans { queue: sender, dropped, sampled: config.sampled };
        let attributes = vec![
            KeyValue::text("service.name", "ztunnel"),
            KeyValue::text("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::text("k8s.node.name", node),
            KeyValue::text("k8s.cluster.name", cluster),
        ];
        let resource = Resource { attributes };
        Ok(Some((Self { queue, grpc: Grpc::new(channel), resource, counts, failing: false }, spans)))
    }

    /// Sends spans until nobody is left to hand any over.
    pub async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            match timeout(PATIENCE, self.send(batch)).await {
                Ok(Ok(())) => {
                    self.counts.exported.inc_by(count);
                    self.failing = false;
                }
                Ok(Err(status)) => self.failed(count, &describe(&status)),
                Err(_elapsed) => self.failed(count, "no answer in time"),
            }
        }
    }

    /// The next spans: those that come within a while after the first.
    async fn gather(&mut self) -> Option<Vec<Span>> {
        let mut batch = vec![self.queue.recv().await?];
        let until = Instant::now() + LINGER;
        while batch.len() < BATCH {
            match timeout_at(until, self.queue.recv()).await {
                Ok(Some(span)) => batch.push(span),
                Ok(None) | Err(_) => break,
            }
        }
        Some(batch)
    }

    async fn send(&mut self, spans: Vec<Span>) -> Result<(), Status> {
        let scope = Scope { name: "ztunnel".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let resource_spans = vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans }];
        self.grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let (path, codec) = (PathAndQuery::from_static(EXPORT), ProstCodec::default());
        let answer = self.grpc.unary(Request::new(ExportRequest { resource_spans }), path, codec).await?;
        let answer: ExportResponse = answer.into_inner();
        match answer.partial_success {
            Some(partial) if partial.rejected_spans > 0 => Err(Status::aborted(partial.error_message)),
            _ => Ok(()),
        }
    }

    /// Spans are of little use later, and their memory is bounded: they are dropped rather than sent again.
    fn failed(&mut self, count: u64, error: &str) {
        self.counts.dropped.with_label_values(&["export"]).inc_by(count);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(error, "the collector takes no spans; they are dropped until it does");
        }
    }
}

fn roots(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let wrong =
        |error: rustls_pki_types::pem::Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    read.map_err(|error| StartError::Roots { path: path.to_owned(), source: wrong(error) })
}

/// Spans in one message.
const BATCH: usize = 512;

/// How long spans gather.
const LINGER: Duration = Duration::from_secs(1);

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
