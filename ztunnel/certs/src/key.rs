//! Leaf keys and certificate requests.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use identity::SpiffeId;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::der::{SEQUENCE, encode};

/// A P-256 key. It stays in memory, and is wiped when dropped.
pub struct LeafKey {
    pair: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

/// Why a key or request could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no P-256 key.
    #[error("not a P-256 key in PKCS #8")]
    Malformed,
    /// The cryptographic library could not make a key.
    #[error("no key could be generated")]
    Generate,
    /// The request could not be encoded or signed.
    #[error("no certificate request could be made")]
    Request(#[source] rcgen::Error),
}

impl LeafKey {
    /// A fresh key.
    ///
    /// # Errors
    /// When the cryptographic library is out of order.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| KeyError::Generate)?;
        let document = pair.to_pkcs8v1().map_err(|_| KeyError::Generate)?;
        Ok(Self { pair, pkcs8: Zeroizing::new(document.as_ref().to_vec()) })
    }

    /// A key from its PKCS #8 form.
    ///
    /// # Errors
    /// When it isn't one of a P-256 key.
    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8)
            .map_err(|_| KeyError::Malformed)?;
        Ok(Self { pair, pkcs8 })
    }

    /// The key in PKCS #8: for the hand-over of an upgrade, and for rustls. Secret.
    pub fn pkcs8(&self) -> PrivateKeyDer<'_> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(&self.pkcs8[..]))
    }

    /// [`pkcs8`](Self::pkcs8), as it lies in memory.
    pub(crate) fn pkcs8_bytes(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key as a SubjectPublicKeyInfo.
    pub fn public(&self) -> Vec<u8> {
        match AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(self.pair.public_key()) {
            Ok(der) => der.as_ref().to_vec(),
            Err(_unspecified) => Vec::new(),
        }
    }

    /// A request for a certificate of `identity`, in PEM: one critical URI SAN and nothing else.
    ///
    /// # Errors
    /// When the cryptographic library is out of order.
    pub fn request(&self, identity: &SpiffeId) -> Result<String, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![critical_uri_san(identity)];
        params.serialize_request(self).and_then(|request| request.pem()).map_err(KeyError::Request)
    }
}

impl PublicKeyData for LeafKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for LeafKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self.pair.sign(&SystemRandom::new(), message) {
            Ok(signature) => Ok(signature.as_ref().to_vec()),
            Err(_unspecified) => Err(rcgen::Error::RemoteKeyError),
        }
    }
}

impl std::fmt::Debug for LeafKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeafKey")
    }
}

/// A subjectAltName extension with one URI, critical as it must be under an empty subject (RFC 5280 §4.2.1.6).
pub(crate) fn critical_uri_san(identity: &SpiffeId) -> CustomExtension {
    let uri = identity.as_str().as_bytes();
    let name = encode(URI_NAME, uri);
    let mut extension = CustomExtension::from_oid_content(SUBJECT_ALT_NAME, encode(SEQUENCE, &name));
    extension.set_criticality(true);
    extension
}

const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
/// GeneralName uniformResourceIdentifier, `[6] IMPLICIT IA5String`.
const URI_NAME: u8 = 0x86;
