//! The TLS of a server that clients know by its name.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use rustls_pki_types::CertificateDer;

use crate::key::LeafKey;
use crate::provider::provider;

/// A server's TLS configuration whose certificate can be replaced while it is in use.
#[derive(Debug)]
pub struct ServingTls {
    certificate: Arc<Replaceable>,
    config: Arc<ServerConfig>,
}

/// Why a server's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("tls library refused the server's certificate or settings")]
pub struct ServingError(#[from] rustls::Error);

/// None at first: until there is one, handshakes fail.
#[derive(Debug, Default)]
struct Replaceable(ArcSwapOption<CertifiedKey>);

impl ServingTls {
    /// A server that asks its clients for no certificate and speaks `protocol`.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn new(protocol: &[u8]) -> Result<Self, ServingError> {
        let certificate = Arc::new(Replaceable::default());
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![protocol.to_vec()];
        // A resumed client would not look at the certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { certificate, config: Arc::new(config) })
    }

    /// Takes another certificate, leaf first, for handshakes from here on.
    ///
    /// # Errors
    /// When it is not for the key.
    pub fn replace(&self, key: &LeafKey, chain: Vec<CertificateDer<'static>>) -> Result<(), ServingError> {
        let key = provider().key_provider.load_private_key(key.pkcs8().clone_key())?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match()?;
        self.certificate.0.store(Some(Arc::new(certified)));
        Ok(())
    }

    /// What rustls needs.
    pub const fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }
}

impl ResolvesServerCert for Replaceable {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}
