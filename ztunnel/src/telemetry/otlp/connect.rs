//! The way to a collector: gRPC over TCP, or over TLS with roots of its own.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::Uri;
use tower_service::Service;

use crate::redirect::OwnSockets;

/// A collector's place: `http://host:port`, or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorAddress {
    tls: bool,
    host: String,
    port: u16,
}

/// The text is no collector's place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is neither http://host:port nor https://host:port")]
pub struct ParseCollectorAddressError {
    text: String,
}

/// Connects to one collector, whatever it is asked for.
#[derive(Clone)]
pub(super) struct Connector {
    address: CollectorAddress,
    /// None where the bytes go as they are.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    own: OwnSockets,
}

/// A connection of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl CollectorAddress {
    /// Whether it is asked by TLS.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }
}

impl Connector {
    /// A way to `address`; `roots` are those that a certificate must come from where TLS is spoken.
    pub(super) fn new(
        address: CollectorAddress,
        roots: &[CertificateDer<'static>],
        own: OwnSockets,
    ) -> Result<Self, tokio_rustls::rustls::Error> {
        if !address.tls {
            return Ok(Self { address, tls: None, own });
        }
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone())?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let wrong = |error: rustls_pki_types::InvalidDnsNameError| {
            tokio_rustls::rustls::Error::General(error.to_string())
        };
        let name = ServerName::try_from(address.host.clone()).map_err(wrong)?;
        Ok(Self { address, tls: Some((TlsConnector::from(Arc::new(config)), name)), own })
    }

    async fn connect(self) -> io::Result<TokioIo<Box<dyn Stream>>> {
        let tcp = self.own.connect(&self.address.host, self.address.port).await?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match self.tls {
            None => Box::new(tcp),
            Some((tls, name)) => Box::new(tls.connect(name, tcp).await?),
        };
        Ok(TokioIo::new(stream))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _origin: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

impl FromStr for CollectorAddress {
    type Err = ParseCollectorAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseCollectorAddressError { text: text.to_owned() };
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let (host, port) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        if host.is_empty() || host.contains('/') {
            return Err(wrong());
        }
        Ok(Self { tls, host: host.to_owned(), port })
    }
}

impl fmt::Display for CollectorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            return write!(f, "{scheme}://[{}]:{}", self.host, self.port);
        }
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for text in ["http://collector:4317", "https://otel.example:443", "http://[fd00::1]:4317"] {
            assert_eq!(text.parse::<CollectorAddress>().unwrap().to_string(), text);
        }
        for wrong in ["collector:4317", "grpc://a:1", "http://a", "http://:1", "http://a:0", "http://a:1/v1"]
        {
            assert!(wrong.parse::<CollectorAddress>().is_err(), "{wrong}");
        }
    }
}
