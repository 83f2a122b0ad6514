//! Istio's certificate service, byte by byte: the other side here is the h2 crate and bytes made by hand, and shares no
//! constant and no message with what is tested. Facts: `istio.v1.auth.IstioCertificateService` and
//! `google.protobuf.Struct`; gRPC over HTTP/2 (PROTOCOL-HTTP2).

mod answering;
mod asking;

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;

/// A message's gRPC frame: not compressed, its length in four bytes, itself.
fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

/// All of a body, and its trailers.
async fn read(mut body: RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    (bytes, body.trailers().await.unwrap())
}

/// The only value of a header.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    assert_eq!(values.len(), 1, "{name}: {headers:?}");
    values[0].to_str().unwrap()
}

/// A node's request on behalf of one of its pods, for a day: as Istio's ztunnel sends it.
const ON_BEHALF: &[u8] = b"\x0a\x03CSR\
    \x18\x80\xa3\x05\
    \x22\x44\x0a\x42\x0a\x14ImpersonatedIdentity\
    \x12\x2a\x1a\x28spiffe://cluster.local/ns/shop/sa/client";

/// A caller's request for itself, for a day.
const FOR_ITSELF: &[u8] = b"\x0a\x03CSR\x18\x80\xa3\x05";

const PATH: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
