//! Asking a CA over the network.

mod address;
mod connect;
mod dial;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use identity::SpiffeId;
use rustls_pki_types::ServerName;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};
use zeroize::Zeroizing;

use crate::bundle::TrustBundle;
use crate::clock::Clock;
use crate::signer::{RootsError, SignError, SignedChain, Signer};
use crate::token::TokenSource;
use crate::wire::{self, CertificateRequest};
pub use address::{CaAddress, ParseCaAddressError};
pub use connect::ConnectError;
use connect::Connector;
pub use dial::Dial;
use dial::Plainly;

/// Where a CA is, and how it is recognised.
#[derive(Debug, Clone)]
pub struct CaClientConfig {
    /// Where it is.
    pub address: CaAddress,
    /// The name that its certificate must have.
    pub server_name: ServerName<'static>,
    /// PEM file of the roots that its certificate must come from; read again for each call.
    pub roots: PathBuf,
    /// The cluster that this node belongs to.
    pub cluster_id: String,
    /// How long certificates should last.
    pub lifetime: Duration,
    /// How long one call may take, connecting included.
    pub timeout: Duration,
}

/// A CA that speaks Istio's certificate service. Connects when first asked, and again when its roots change.
pub struct CaClient {
    config: CaClientConfig,
    tokens: Arc<dyn TokenSource>,
    clock: Arc<dyn Clock>,
    dial: Arc<dyn Dial>,
    /// Asks for whom the token is of, and names nobody.
    for_itself: bool,
    connection: Mutex<Option<Connection>>,
}

/// A connection, and the roots that it rests on.
struct Connection {
    roots: Vec<u8>,
    channel: Channel,
}

impl CaClient {
    /// A client that proves itself by `tokens`.
    pub fn new(config: CaClientConfig, tokens: Arc<dyn TokenSource>, clock: Arc<dyn Clock>) -> Self {
        let dial = Arc::new(Plainly);
        Self { config, tokens, clock, dial, for_itself: false, connection: Mutex::default() }
    }

    /// Reaches the CA by `dial`.
    #[must_use]
    pub fn reached_by(self, dial: Arc<dyn Dial>) -> Self {
        Self { dial, ..self }
    }

    /// Asks for the identity that its token is of, on behalf of nobody else. A CA that knows no node by that token gives
    /// it nevertheless.
    #[must_use]
    pub fn for_itself(self) -> Self {
        Self { for_itself: true, ..self }
    }

    async fn call(&self, identity: &SpiffeId, csr: &str) -> Result<SignedChain, SignError> {
        let channel = self.channel()?;
        let request = self.request(identity, csr)?;
        let after = self.config.timeout;
        match tokio::time::timeout(after, wire::create_certificate(channel, request)).await {
            Ok(Ok(response)) => SignedChain::from_pem(&response.cert_chain),
            Ok(Err(status)) if status.source().is_some() => {
                self.connection().take();
                Err(SignError::Unreachable(status))
            }
            Ok(Err(status)) => {
                Err(SignError::Refused { code: status.code(), message: status.message().to_owned() })
            }
            Err(_elapsed) => {
                // Whoever answers that slowly may be gone: the next call finds out by connecting.
                self.connection().take();
                Err(SignError::Timeout { after })
            }
        }
    }

    /// The connection, or another one if the roots are not those that it was made with.
    fn channel(&self) -> Result<Channel, SignError> {
        let failed = |source| SignError::Roots { path: self.config.roots.clone(), source };
        // A few kilobytes, and calls are rare: not worth a thread.
        let roots = fs::read(&self.config.roots).map_err(|error| failed(RootsError::Read(error)))?;
        let mut connection = self.connection();
        if let Some(current) = connection.as_ref().filter(|current| current.roots == roots) {
            return Ok(current.channel.clone());
        }
        let bundle = TrustBundle::from_pem(&roots).map_err(|error| failed(error.into()))?;
        let connector = Connector::new(&self.config, &bundle, self.dial.clone())
            .map_err(|error| failed(RootsError::Tls(error)))?;
        let endpoint = Endpoint::from(Uri::from_static(ORIGIN))
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT);
        let channel = endpoint.connect_with_connector_lazy(connector);
        *connection = Some(Connection { roots, channel: channel.clone() });
        Ok(channel)
    }

    fn request(&self, identity: &SpiffeId, csr: &str) -> Result<Request<CertificateRequest>, SignError> {
        let token = self.tokens.token(csr, self.clock.now()).map_err(SignError::Token)?;
        let bearer = Zeroizing::new(format!("Bearer {}", *token));
        let mut bearer = header(&bearer)?;
        bearer.set_sensitive(true);
        let lifetime = self.config.lifetime;
        let csr = csr.to_owned();
        let mut request = Request::new(match self.for_itself {
            true => CertificateRequest::own(csr, lifetime),
            false => CertificateRequest::on_behalf_of(identity, csr, lifetime),
        });
        request.metadata_mut().insert("authorization", bearer);
        request.metadata_mut().insert("clusterid", header(&self.config.cluster_id)?);
        Ok(request)
    }

    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signer for CaClient {
    fn sign<'a>(
        &'a self,
        identity: &'a SpiffeId,
        csr: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<SignedChain, SignError>> + Send + 'a>> {
        Box::pin(self.call(identity, csr))
    }
}

impl std::fmt::Debug for CaClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaClient").field("config", &self.config).finish_non_exhaustive()
    }
}

fn header(text: &str) -> Result<MetadataValue<Ascii>, SignError> {
    text.parse().map_err(|_malformed| SignError::Header)
}

/// What the service is asked under: names and addresses are the connector's business.
const ORIGIN: &str = "https://ca";

/// A CA that is gone without a word is noticed by a ping that it does not answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
