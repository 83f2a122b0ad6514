//! Calling the certificate service.

use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::{CREATE_CERTIFICATE, CertificateRequest, CertificateResponse};

/// Asks for one certificate.
///
/// # Errors
/// What the server answers, or `UNAVAILABLE` when it cannot be reached.
pub async fn create_certificate(
    channel: Channel,
    request: Request<CertificateRequest>,
) -> Result<CertificateResponse, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_RESPONSE);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static(CREATE_CERTIFICATE);
    let response = grpc.unary(request, path, ProstCodec::default()).await?;
    Ok(response.into_inner())
}

/// A chain of eight certificates and some roots are far below it.
const MAX_RESPONSE: usize = 256 * 1024;
