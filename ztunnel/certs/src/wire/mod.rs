//! Istio's certificate service: its messages, its client and its server.
//!
//! The messages are written by hand, so that the build needs no protoc. Field numbers are Istio's
//! (`istio.v1.auth.IstioCertificateService`).

mod client;
mod server;

use std::collections::HashMap;

use identity::SpiffeId;

pub use client::create_certificate;
pub use server::{CertificateService, SERVER_ALPN, serve};

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CertificateRequest {
    /// A PKCS #10 request in PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// How long the certificate should last, in seconds.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// Whom a node asks for, under [`IMPERSONATED_IDENTITY`].
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<Struct>,
}

/// What it gets.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CertificateResponse {
    /// PEM texts: the leaf first; the last one holds the roots, of which there may be several.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Struct {
    /// Values by name.
    #[prost(map = "string, message", tag = "1")]
    pub fields: HashMap<String, Value>,
}

/// `google.protobuf.Value`, of which only texts mean anything here: the others read as no text.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Value {
    /// The text, if it is one. In the original it is one of several kinds of which at most one is there.
    #[prost(string, optional, tag = "3")]
    pub string_value: Option<String>,
}

impl CertificateRequest {
    /// A node's request on behalf of `identity`.
    pub fn on_behalf_of(identity: &SpiffeId, csr: String, lifetime: std::time::Duration) -> Self {
        let value = Value { string_value: Some(identity.as_str().to_owned()) };
        let fields = HashMap::from([(IMPERSONATED_IDENTITY.to_owned(), value)]);
        Self { metadata: Some(Struct { fields }), ..Self::own(csr, lifetime) }
    }

    /// A caller's request for itself: it names nobody.
    pub fn own(csr: String, lifetime: std::time::Duration) -> Self {
        let validity_duration = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        Self { csr, validity_duration, metadata: None }
    }

    /// The identity on whose behalf it is made, as text; none when the caller asks for itself.
    pub fn impersonated(&self) -> Option<&str> {
        self.metadata.as_ref()?.fields.get(IMPERSONATED_IDENTITY)?.string_value.as_deref()
    }
}

/// Metadata key of the identity on whose behalf a node asks.
pub const IMPERSONATED_IDENTITY: &str = "ImpersonatedIdentity";

/// Where the one method is found.
const CREATE_CERTIFICATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_request_has_istios_field_numbers() {
        let identity: SpiffeId = "spiffe://t/ns/a/sa/b".parse().unwrap();
        let request =
            CertificateRequest::on_behalf_of(&identity, "C".into(), std::time::Duration::from_secs(5));
        let value = b"\x1a\x14spiffe://t/ns/a/sa/b";
        let entry = [b"\x0a\x14ImpersonatedIdentity\x12\x16".as_slice(), value].concat();
        let metadata = [&[0x0a, u8::try_from(entry.len()).unwrap()], entry.as_slice()].concat();
        let want = [b"\x0a\x01C\x18\x05\x22".as_slice(), &[u8::try_from(metadata.len()).unwrap()], &metadata];
        assert_eq!(request.encode_to_vec(), want.concat());
        assert_eq!(request.impersonated(), Some("spiffe://t/ns/a/sa/b"));
    }

    #[test]
    fn a_request_for_oneself_names_nobody() {
        let request = CertificateRequest::own("C".into(), std::time::Duration::from_secs(5));
        assert_eq!(request.encode_to_vec(), b"\x0a\x01C\x18\x05");
        assert_eq!(request.impersonated(), None);
    }

    #[test]
    fn a_response_is_texts_under_number_one() {
        let response = CertificateResponse::decode(b"\x0a\x01L\x0a\x01R".as_slice()).unwrap();
        assert_eq!(response.cert_chain, ["L", "R"]);
    }

    #[test]
    fn metadata_of_other_kinds_is_no_text() {
        // {"ImpersonatedIdentity": 1.0}
        let bytes =
            b"\x22\x23\x0a\x21\x0a\x14ImpersonatedIdentity\x12\x09\x11\x00\x00\x00\x00\x00\x00\xf0\x3f";
        let request = CertificateRequest::decode(&bytes[..]).unwrap();
        assert_eq!(request.impersonated(), None);
        assert!(request.metadata.is_some());
    }
}
