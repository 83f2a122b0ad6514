//! Signing in an authority's name.

use rcgen::{
    CertificateParams, DistinguishedName, Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData,
    SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;

use super::AuthorityError;
use super::key::RootKey;
use crate::der::{BIT_STRING, SEQUENCE, element, encode, split};

/// A key, and the name under which it signs.
///
/// rcgen takes a name apart to write it again, and knows no name with two attributes of one kind, such as
/// `DC=example, DC=com`. Peers compare names byte by byte (RFC 5280 §6.1.3): so the certificate is encoded under no name,
/// and then gets the one of the signing certificate as it is there.
#[derive(Debug)]
pub(super) struct NamedKey {
    key: RootKey,
    /// The subject of its certificate, in DER.
    name: Vec<u8>,
    key_id: KeyIdMethod,
}

/// A key that leaves certificates unsigned.
struct Unsigned<'a>(&'a RootKey);

impl NamedKey {
    /// The key of a certificate.
    pub(super) fn new(key: RootKey, certificate: &CertificateDer<'_>) -> Result<Self, AuthorityError> {
        let parsed = crate::leaf::parse(certificate)?;
        let identifier = parsed.iter_extensions().find_map(|it| match it.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
            _ => None,
        });
        let key_id = identifier.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified);
        Ok(Self { key, name: parsed.subject().as_raw().to_vec(), key_id })
    }

    /// Signs a certificate for somebody's key.
    pub(super) fn sign(
        &self,
        params: &CertificateParams,
        public_key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let mut own = CertificateParams::default();
        own.distinguished_name = DistinguishedName::new();
        own.key_identifier_method = self.key_id.clone();
        own.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = Issuer::from_params(&own, Unsigned(&self.key));
        let unsigned = params.signed_by(public_key, &issuer).map_err(AuthorityError::Sign)?;
        let (content, algorithm) = self.named(unsigned.der()).ok_or(AuthorityError::Encoding)?;
        let signature = self.key.sign(&content).map_err(AuthorityError::Sign)?;
        let signature = encode(BIT_STRING, &[&[0], &signature[..]].concat());
        Ok(encode(SEQUENCE, &[content, algorithm, signature].concat()).into())
    }

    /// What is to be signed of a certificate that has no issuer yet, and by which algorithm
    /// (RFC 5280 §4.1: version, number, algorithm, issuer, and the rest).
    fn named(&self, certificate: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let (_, certificate, _) = element(certificate)?;
        let (content, rest) = split(certificate)?;
        let (algorithm, _signature) = split(rest)?;
        let (_, content, _) = element(content)?;
        let mut behind = content;
        for _before_the_issuer in 0..3 {
            behind = split(behind)?.1;
        }
        let before = &content[..content.len() - behind.len()];
        let (_no_name, behind) = split(behind)?;
        let content = encode(SEQUENCE, &[before, &self.name, behind].concat());
        Some((content, algorithm.to_vec()))
    }
}

impl PublicKeyData for Unsigned<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for Unsigned<'_> {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}
