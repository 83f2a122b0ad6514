//! The server's side of a tunnel's TLS.

use std::sync::Arc;

use identity::SpiffeId;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::verify_tls13_signature;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig, SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::client::whole_chain;
use crate::configs::ALPN;
use crate::provider::{provider, signature_algorithms};
use crate::tickets::ServerTickets;
use crate::verify::{ChainVerifier, PeerError, Role};

/// What a server needs to accept tunnels under one identity.
#[derive(Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    verifier: Arc<AnyTrustedClient>,
}

/// Accepts any client whose chain verifies: what it may do is decided later, by policy.
#[derive(Debug)]
struct AnyTrustedClient {
    chains: Arc<ChainVerifier>,
}

impl ServerTls {
    pub(crate) fn new(
        chains: Arc<ChainVerifier>,
        certificate: Arc<dyn ResolvesServerCert>,
        tickets: ServerTickets,
    ) -> Result<Self, Error> {
        let verifier = Arc::new(AnyTrustedClient { chains });
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.ignore_client_order = true;
        config.enable_secret_extraction = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(tickets);
        config.send_tls13_tickets = TICKETS;
        Ok(Self { config: Arc::new(config), verifier })
    }

    /// What rustls needs.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Checks a peer after its handshake: rustls asks no verifier about a resumed session.
    ///
    /// # Errors
    /// When the peer's chain is not (or no longer) accepted.
    pub fn admit(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<SpiffeId, PeerError> {
        Ok(self.verifier.chains.verify(chain, Role::Client, now)?.identity)
    }
}

impl ClientCertVerifier for AnyTrustedClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.chains.verify(&whole_chain(end_entity, intermediates), Role::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &signature_algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        signature_algorithms().supported_schemes()
    }
}

/// Tickets sent after each handshake. A resumed session brings the next one, so one is enough.
const TICKETS: usize = 1;
