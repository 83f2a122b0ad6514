//! An OpenTelemetry collector as far as it takes spans.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use harness::{LabError, Netns, Node};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A running collector; ends when dropped.
pub(crate) struct Collector {
    taken: Taken,
    _stop: oneshot::Sender<()>,
}

/// The spans that came.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Starts one on a node, for its own daemon.
    pub(crate) fn start(node: &Node) -> Result<Self, LabError> {
        Self::listen(node.netns(), Ipv4Addr::LOCALHOST.into())
    }

    /// Starts one at an address of a namespace.
    pub(crate) fn listen(netns: &Netns, ip: IpAddr) -> Result<Self, LabError> {
        let listener = netns.within(|| TcpListener::bind((ip, PORT)))?;
        listener.set_nonblocking(true)?;
        let (taken, (stop, stopped)) = (Taken::default(), oneshot::channel());
        let service = TraceServiceServer::new(taken.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be had").block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("it is bound");
                let stopped = async {
                    let _dropped = stopped.await;
                };
                let serving = Server::builder().add_service(service);
                serving.serve_with_incoming_shutdown(TcpIncoming::from(listener), stopped).await
            })
        });
        Ok(Self { taken, _stop: stop })
    }

    /// The spans that came so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.taken.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[tonic::async_trait]
impl TraceService for Taken {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for spans in request.into_inner().resource_spans {
            let resource = spans.resource.unwrap_or_default();
            let named = resource.attributes.iter().any(|it| it.key == "service.name");
            if !named {
                return Err(Status::invalid_argument("whose spans are these?"));
            }
            taken.extend(spans.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A text among a span's attributes.
pub(crate) fn text(span: &Span, key: &str) -> Option<String> {
    match value(span, key)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// A number among a span's attributes.
pub(crate) fn number(span: &Span, key: &str) -> Option<i64> {
    match value(span, key)? {
        Value::IntValue(number) => Some(number),
        _ => None,
    }
}

fn value(span: &Span, key: &str) -> Option<Value> {
    span.attributes.iter().find(|it| it.key == key)?.value.clone()?.value
}

/// Where collectors are asked by gRPC, in a namespace of their own.
pub(crate) const PORT: u16 = 4317;
