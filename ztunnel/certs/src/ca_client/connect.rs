//! Connecting to a CA and recognising it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::{ClientConfig, RootCertStore, version};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Uri;
use tower_service::Service;

use super::{CaAddress, CaClientConfig, Dial};
use crate::bundle::TrustBundle;
use crate::provider::provider;
use crate::wire::SERVER_ALPN;

/// Connects to one CA, whatever it is asked for.
#[derive(Clone)]
pub(super) struct Connector {
    address: CaAddress,
    server_name: ServerName<'static>,
    tls: TlsConnector,
    dial: Arc<dyn Dial>,
}

/// Why there is no connection to a CA.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there, or its name is not known.
    #[error("cannot connect to {address}")]
    Dial {
        /// Where.
        address: CaAddress,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Whoever answers is not the CA.
    #[error("cannot agree with {address} on tls")]
    Tls {
        /// Where.
        address: CaAddress,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
}

impl Connector {
    pub(super) fn new(
        config: &CaClientConfig,
        roots: &TrustBundle,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, rustls::Error> {
        let mut store = RootCertStore::empty();
        for root in roots.roots() {
            store.add(root.clone())?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider());
        let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut tls = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        tls.alpn_protocols = vec![SERVER_ALPN.to_vec()];
        tls.resumption = Resumption::disabled();
        Ok(Self {
            address: config.address.clone(),
            server_name: config.server_name.clone(),
            tls: TlsConnector::from(Arc::new(tls)),
            dial,
        })
    }

    async fn connect(self) -> Result<TokioIo<TlsStream<TcpStream>>, ConnectError> {
        let Self { address, server_name, tls, dial } = self;
        let tcp = dial.dial(address.host(), address.port()).await;
        let tcp = tcp.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp));
        let tcp = tcp.map_err(|source| ConnectError::Dial { address: address.clone(), source })?;
        let stream = tls.connect(server_name, tcp).await;
        Ok(TokioIo::new(stream.map_err(|source| ConnectError::Tls { address, source })?))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _origin: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
