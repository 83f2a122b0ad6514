//! The key by which a CA knows a node.

use std::time::Duration;

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SubjectPublicKeyInfo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, UnixTime};
use zeroize::Zeroizing;

use super::node_token::{self, NodeClaims};
use super::{AUDIENCE, TokenError, TokenSource};

/// A node's private P-256 key, with which it signs its tokens.
pub struct NodeKey {
    node: String,
    pair: EcdsaKeyPair,
}

/// The public half of a node's key, as the CA keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePublicKey {
    /// Uncompressed.
    pub(super) point: Vec<u8>,
}

/// A fresh key in the form in which it is stored.
pub struct NodeKeyPair {
    /// The private half, in PEM (PKCS #8). Secret.
    pub private: Zeroizing<String>,
    /// The public half, in PEM (SubjectPublicKeyInfo).
    pub public: String,
}

/// Why a key is not usable.
#[derive(Debug, thiserror::Error)]
pub enum NodeKeyError {
    /// No key could be made.
    #[error("no key could be generated")]
    Generate(#[source] rcgen::Error),
    /// The text is no P-256 key in PEM.
    #[error("node key is not a P-256 key in PEM")]
    Malformed,
    /// The key does not sign.
    #[error("node key does not sign")]
    Sign,
}

impl NodeKey {
    /// The key of the node named `node`, in PEM.
    ///
    /// # Errors
    /// When it is anything but a P-256 key in PKCS #8.
    pub fn from_pem(node: &str, text: &str) -> Result<Self, NodeKeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| NodeKeyError::Malformed)?;
        let key = Zeroizing::new(key.secret_pkcs8_der().to_vec());
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key);
        Ok(Self { node: node.to_owned(), pair: pair.map_err(|_rejected| NodeKeyError::Malformed)? })
    }

    /// Makes a key for a node.
    ///
    /// # Errors
    /// When the cryptographic library is out of order.
    pub fn generate() -> Result<NodeKeyPair, NodeKeyError> {
        let key = KeyPair::generate().map_err(NodeKeyError::Generate)?;
        Ok(NodeKeyPair { private: Zeroizing::new(key.serialize_pem()), public: key.public_key_pem() })
    }

    /// A token that says `claims`.
    pub(super) fn sign(&self, claims: &NodeClaims) -> Result<Zeroizing<String>, NodeKeyError> {
        let mut token = node_token::unsigned(claims);
        let signature =
            self.pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| NodeKeyError::Sign)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Zeroizing::new(token))
    }
}

impl NodeKey {
    /// A token for any request, for a daemon that can only present what it is given.
    ///
    /// # Errors
    /// When the cryptographic library is out of order.
    pub fn bearer(&self, lifetime: Duration, now: UnixTime) -> Result<Zeroizing<String>, NodeKeyError> {
        self.sign(&self.claims(lifetime, None, now)?)
    }

    fn claims(
        &self,
        lifetime: Duration,
        request: Option<String>,
        now: UnixTime,
    ) -> Result<NodeClaims, NodeKeyError> {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_no_random| NodeKeyError::Sign)?;
        Ok(NodeClaims {
            node: self.node.clone(),
            audience: AUDIENCE.to_owned(),
            issued_at: now.as_secs(),
            expires_at: now.as_secs().saturating_add(lifetime.as_secs()),
            id: URL_SAFE_NO_PAD.encode(id),
            request,
        })
    }
}

impl TokenSource for NodeKey {
    /// A fresh token for this very request: worth nothing to whoever might get hold of it.
    fn token(&self, csr: &str, now: UnixTime) -> Result<Zeroizing<String>, TokenError> {
        Ok(self.sign(&self.claims(LIFETIME, Some(node_token::digest_of(csr)), now)?)?)
    }
}

impl NodePublicKey {
    /// Reads a SubjectPublicKeyInfo in PEM.
    ///
    /// # Errors
    /// When it is anything but a P-256 key.
    pub fn from_pem(text: &str) -> Result<Self, NodeKeyError> {
        let key = SubjectPublicKeyInfo::from_pem(text).map_err(|_malformed| NodeKeyError::Malformed)?;
        if *key.algorithm() != PKCS_ECDSA_P256_SHA256 {
            return Err(NodeKeyError::Malformed);
        }
        Ok(Self { point: key.der_bytes().to_vec() })
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeKey").field("node", &self.node).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NodeKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeKeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// How long a token is good for: one call, with its retries on the way.
const LIFETIME: Duration = Duration::from_mins(1);
