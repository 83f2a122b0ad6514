//! The client's side of a tunnel's TLS.

use std::sync::Arc;

use identity::SpiffeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::verify_tls13_signature;
use rustls::{ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme, version};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::configs::ALPN;
use crate::peers::PeerIdentities;
use crate::provider::{provider, signature_algorithms};
use crate::tickets::ClientTickets;
use crate::verify::{ChainVerifier, PeerError, Role};

/// What a client needs to open tunnels under one identity to one set of accepted peers.
///
/// Its tickets are its own: a session is resumed only under the same identity and epoch, for the same pod, and
/// towards the same accepted peers.
#[derive(Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    verifier: Arc<ExpectedServer>,
}

/// Accepts servers whose chain verifies and whose identity is expected. Names and addresses don't count.
#[derive(Debug)]
struct ExpectedServer {
    chains: Arc<ChainVerifier>,
    accepted: PeerIdentities,
}

impl ClientTls {
    pub(crate) fn new(
        chains: Arc<ChainVerifier>,
        accepted: PeerIdentities,
        certificate: Arc<dyn ResolvesClientCert>,
    ) -> Result<Self, Error> {
        let verifier = Arc::new(ExpectedServer { chains, accepted });
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(certificate);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.enable_sni = false;
        config.enable_secret_extraction = true;
        config.resumption = Resumption::store(Arc::new(ClientTickets::default()));
        Ok(Self { config: Arc::new(config), verifier })
    }

    /// What rustls needs.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Checks a peer after its handshake: rustls asks no verifier about a resumed session.
    ///
    /// # Errors
    /// When the peer's chain is not (or no longer) accepted.
    pub fn admit(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<SpiffeId, PeerError> {
        self.verifier.verify(chain, now)
    }
}

impl ExpectedServer {
    fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<SpiffeId, PeerError> {
        let leaf = self.chains.verify(chain, Role::Server, now)?;
        if !self.accepted.contains(&leaf.identity) {
            return Err(PeerError::IdentityMismatch { got: leaf.identity, want: self.accepted.clone() });
        }
        Ok(leaf.identity)
    }
}

impl ServerCertVerifier for ExpectedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(&whole_chain(end_entity, intermediates), now)?;
        Ok(ServerCertVerified::assertion())
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

/// A chain as one slice, as the rest of this crate wants it. Copies no certificate.
pub(crate) fn whole_chain<'c>(
    end_entity: &'c CertificateDer<'_>,
    intermediates: &'c [CertificateDer<'_>],
) -> Vec<CertificateDer<'c>> {
    let borrowed = |certificate: &'c CertificateDer<'_>| CertificateDer::from(certificate.as_ref());
    std::iter::once(end_entity).chain(intermediates).map(borrowed).collect()
}
