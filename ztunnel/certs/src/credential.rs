//! A leaf key with the chain that a CA made for it.

use std::sync::Arc;

use identity::SpiffeId;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};

use crate::key::LeafKey;
use crate::leaf::{Leaf, LeafError};
use crate::provider::provider;

/// A certified key: what proves one identity until it expires.
#[derive(Debug)]
pub struct Credential {
    leaf: Leaf,
    /// Leaf first; without the root, which peers have anyway.
    chain: Vec<CertificateDer<'static>>,
    key: LeafKey,
}

/// Why a CA's answer is unusable.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The CA certified another identity.
    #[error("certificate is for {got}, asked for {want}")]
    Identity {
        /// Whom it certified.
        got: SpiffeId,
        /// Who was asked for.
        want: SpiffeId,
    },
    /// The leaf doesn't say whose it is, or there is none.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The CA certified another key.
    #[error("certificate is for another key")]
    Key,
    /// The chain is not PEM.
    #[error("chain is not PEM")]
    Pem(#[source] pem::Error),
    /// rustls cannot use the key.
    #[error("tls library refused the key")]
    Tls(#[source] rustls::Error),
}

impl Credential {
    /// Joins a key and its chain, leaf first.
    ///
    /// # Errors
    /// When the leaf is for another key or identity.
    pub fn new(
        identity: &SpiffeId,
        key: LeafKey,
        mut chain: Vec<CertificateDer<'static>>,
    ) -> Result<Self, CredentialError> {
        let leaf = Leaf::of_chain(&chain)?;
        if leaf.identity != *identity {
            return Err(CredentialError::Identity { got: leaf.identity, want: identity.clone() });
        }
        if chain.len() > 1 && chain.last().is_some_and(is_self_issued) {
            chain.pop();
        }
        let credential = Self { leaf, chain, key };
        credential.certified_key()?.keys_match().map_err(|_mismatch| CredentialError::Key)?;
        Ok(credential)
    }

    /// Joins a key and its chain in PEM: one or more texts of one or more certificates, leaf first.
    ///
    /// # Errors
    /// As [`Credential::new`], and when the chain isn't PEM.
    pub fn from_pem<T: AsRef<[u8]>>(
        identity: &SpiffeId,
        key: LeafKey,
        chain: &[T],
    ) -> Result<Self, CredentialError> {
        let certificates = chain.iter().flat_map(|text| CertificateDer::pem_slice_iter(text.as_ref()));
        let chain = certificates.collect::<Result<_, _>>().map_err(CredentialError::Pem)?;
        Self::new(identity, key, chain)
    }

    /// What the leaf says.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The chain, leaf first, without the root.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The key.
    pub fn key(&self) -> &LeafKey {
        &self.key
    }

    pub(crate) fn certified_key(&self) -> Result<Arc<CertifiedKey>, CredentialError> {
        let key = provider().key_provider.load_private_key(self.key.pkcs8().clone_key());
        let key = key.map_err(CredentialError::Tls)?;
        Ok(Arc::new(CertifiedKey::new(self.chain.clone(), key)))
    }
}

/// Whether a certificate names itself as its issuer: a root.
pub(crate) fn is_self_issued(certificate: &CertificateDer<'static>) -> bool {
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|certificate| certificate.issuer() == certificate.subject())
}
