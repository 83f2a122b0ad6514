//! The signing key.

use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::{Zeroize, Zeroizing};

use super::AuthorityError;

/// An authority's key: P-256, P-384 or RSA. The copy that rcgen keeps to write it out is wiped when dropped; aws-lc wipes
/// what it frees.
#[derive(Debug)]
pub(super) struct RootKey(KeyPair);

impl RootKey {
    /// A fresh one, P-256.
    pub(super) fn generate() -> Result<Self, AuthorityError> {
        KeyPair::generate().map(Self).map_err(AuthorityError::Sign)
    }

    /// Reads one in any of the forms that OpenSSL writes.
    pub(super) fn from_pem(text: &str) -> Result<Self, AuthorityError> {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(AuthorityError::KeyPem)?;
        let key = Zeroizing::new(key);
        KeyPair::try_from(&*key).map(Self).map_err(AuthorityError::Sign)
    }

    /// As it is stored (PKCS #8). Secret.
    pub(super) fn pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }
}

impl Drop for RootKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for RootKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for RootKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}
