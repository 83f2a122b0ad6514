//! What our server makes of calls, and what it answers.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use certs::wire::{CertificateRequest, CertificateResponse, CertificateService, serve};
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use tonic::Status;

use crate::{FOR_ITSELF, ON_BEHALF, PATH, frame, only, read};

#[tokio::test]
async fn a_call_of_istios_ztunnel_is_understood_and_answered() {
    let desk = Arc::new(Desk::default());
    let answer = call(&desk, PATH, &[&frame(ON_BEHALF)]).await;
    let (request, metadata) = desk.only();
    assert_eq!((request.csr.as_str(), request.validity_duration), ("CSR", 86_400));
    assert_eq!(request.impersonated(), Some("spiffe://cluster.local/ns/shop/sa/client"));
    assert_eq!(only(&metadata, "authorization"), "Bearer a.b.c");
    assert_eq!(only(&metadata, "clusterid"), "Kubernetes");

    assert_eq!(answer.response.status(), 200);
    assert_eq!(only(answer.response.headers(), "content-type"), "application/grpc");
    assert_eq!(answer.body, b"\0\0\0\0\x0c\x0a\x04LEAF\x0a\x04ROOT");
    assert_eq!(only(&answer.trailers.unwrap(), "grpc-status"), "0");
}

#[tokio::test]
async fn a_message_may_come_in_pieces() {
    let desk = Arc::new(Desk::default());
    let whole = frame(ON_BEHALF);
    let answer = call(&desk, PATH, &[&whole[..3], &whole[3..6], &whole[6..]]).await;
    assert_eq!(only(&answer.trailers.unwrap(), "grpc-status"), "0");
    assert_eq!(desk.only().0.csr, "CSR");
}

#[tokio::test]
async fn a_call_without_metadata_names_nobody() {
    let desk = Arc::new(Desk::default());
    call(&desk, PATH, &[&frame(FOR_ITSELF)]).await;
    assert_eq!(desk.only().0.impersonated(), None);
}

#[tokio::test]
async fn fields_that_nobody_knows_are_passed_over() {
    let desk = Arc::new(Desk::default());
    // 2 was the subject's id in older versions; 15 is anything.
    let message = [b"\x12\x03old", ON_BEHALF, b"\x7a\x01?"].concat();
    call(&desk, PATH, &[&frame(&message)]).await;
    assert_eq!(desk.only().0.impersonated(), Some("spiffe://cluster.local/ns/shop/sa/client"));
}

#[tokio::test]
async fn a_refusal_is_a_status_in_headers_alone() {
    let refusing = Desk { refusal: Some("not on node \"a\""), ..Desk::default() };
    let answer = call(&Arc::new(refusing), PATH, &[&frame(ON_BEHALF)]).await;
    assert_eq!((answer.response.status().as_u16(), answer.body.as_slice()), (200, &b""[..]));
    let headers = answer.response.headers();
    assert_eq!(only(headers, "content-type"), "application/grpc");
    assert_eq!(only(headers, "grpc-status"), "7");
    assert_eq!(only(headers, "grpc-message"), "not%20on%20node%20%22a%22");
}

#[tokio::test]
async fn other_methods_are_not_there() {
    let desk = Arc::new(Desk::default());
    for path in ["/istio.v1.auth.IstioCertificateService/Other", "/", &PATH.to_lowercase()] {
        let answer = call(&desk, path, &[&frame(ON_BEHALF)]).await;
        assert_eq!(only(answer.response.headers(), "grpc-status"), "12", "{path}");
    }
    assert!(desk.seen.lock().unwrap().is_empty());
}

/// What came back.
struct Answer {
    response: Response<()>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// One call on a connection of its own, with its body in these pieces.
async fn call(desk: &Arc<Desk>, path: &str, pieces: &[&[u8]]) -> Answer {
    let (near, far) = tokio::io::duplex(1 << 16);
    let serving = serve(desk.clone(), far, std::future::pending());
    let asking = async {
        let (send, connection) = h2::client::handshake(near).await.unwrap();
        let (driven, answer) = tokio::join!(connection, ask(send, path, pieces));
        driven.unwrap();
        answer
    };
    let (served, answer) = tokio::join!(serving, asking);
    served.unwrap();
    answer
}

async fn ask(send: SendRequest<Bytes>, path: &str, pieces: &[&[u8]]) -> Answer {
    let request = Request::post(format!("https://istiod.istio-system.svc:15012{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", "Bearer a.b.c")
        .header("clusterid", "Kubernetes");
    let mut send = send.ready().await.unwrap();
    let (response, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
    let (last, first) = pieces.split_last().unwrap();
    first.iter().for_each(|piece| body.send_data(Bytes::copy_from_slice(piece), false).unwrap());
    body.send_data(Bytes::copy_from_slice(last), true).unwrap();
    let (parts, body) = response.await.unwrap().into_parts();
    let (body, trailers) = read(body).await;
    Answer { response: Response::from_parts(parts, ()), body, trailers }
}

/// Signs with the same words, or refuses, and keeps what it was asked.
#[derive(Default)]
struct Desk {
    refusal: Option<&'static str>,
    seen: Mutex<Vec<(CertificateRequest, HeaderMap)>>,
}

impl Desk {
    /// The only request, and the metadata of its call.
    fn only(&self) -> (CertificateRequest, HeaderMap) {
        let mut seen = self.seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        seen.remove(0)
    }
}

impl CertificateService for Desk {
    async fn create_certificate(
        &self,
        request: tonic::Request<CertificateRequest>,
    ) -> Result<CertificateResponse, Status> {
        let metadata = request.metadata().clone().into_headers();
        self.seen.lock().unwrap().push((request.into_inner(), metadata));
        match self.refusal {
            Some(refusal) => Err(Status::permission_denied(refusal)),
            None => Ok(CertificateResponse { cert_chain: ["LEAF", "ROOT"].map(str::to_owned).into() }),
        }
    }
}
