//! Answering as the certificate service.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;

use super::{CREATE_CERTIFICATE, CertificateRequest, CertificateResponse};

/// What a CA does with requests.
pub trait CertificateService: Send + Sync + 'static {
    /// Signs, or says why not.
    fn create_certificate(
        &self,
        request: tonic::Request<CertificateRequest>,
    ) -> impl Future<Output = Result<CertificateResponse, Status>> + Send;
}

/// Serves one connection, past its TLS handshake, until the client closes it. Once `ending` is done, no new calls are
/// taken, and the connection ends with the last one.
///
/// # Errors
/// When the connection breaks.
pub async fn serve<S, I>(
    service: Arc<S>,
    stream: I,
    ending: impl Future<Output = ()>,
) -> Result<(), hyper::Error>
where
    S: CertificateService,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(route(service, request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .keep_alive_interval(Some(PING_EVERY))
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    tokio::select! {
        served = connection.as_mut() => return served,
        () = ending => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn route<S: CertificateService>(service: Arc<S>, request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() != CREATE_CERTIFICATE {
        return Status::unimplemented("no such method").into_http();
    }
    let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_REQUEST);
    grpc.unary(CreateCertificate(service), request).await
}

/// The one method.
struct CreateCertificate<S>(Arc<S>);

impl<S: CertificateService> UnaryService<CertificateRequest> for CreateCertificate<S> {
    type Response = CertificateResponse;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Self::Response>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<CertificateRequest>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move { service.create_certificate(request).await.map(tonic::Response::new) })
    }
}

/// The application protocol that the server's TLS must offer.
pub const SERVER_ALPN: &[u8] = b"h2";

/// A request for a P-256 key and an identity is 1 kB; requests for RSA keys, which are refused with a reason, are 2.
const MAX_REQUEST: usize = 32 * 1024;

/// Calls at a time on one connection: a node has at most eight in flight.
const MAX_STREAMS: u32 = 32;

/// Bytes of a request's headers: a service account's token is about 1 kB.
const MAX_HEADERS: u32 = 16 * 1024;

/// A node that is gone without a word is noticed by a ping that it does not answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
