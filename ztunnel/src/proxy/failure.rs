//! Why an outbound connection did not come about.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use certs::{ConfigError, Unavailable, describe};
use daemon::metrics::ResponseFlag;
use hbone::record::HandshakeError;
use hbone::tunnel::StreamError;

use super::revoked::is_revoked;
use crate::decision::{InboundError, Refusal, Refused};
use crate::dns::LookupError;

/// Why an outbound connection did not come about.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Our own certificate is unusable.
    #[error("no TLS configuration: {}", describe(.0))]
    Config(Arc<ConfigError>),
    /// The upstream could not be connected to.
    #[error("{address} cannot be connected to: {source}")]
    Connect { address: SocketAddr, source: Arc<io::Error> },
    /// The upstream did not answer.
    #[error("{address} did not answer within {waited:?}; a NetworkPolicy may stand in the way")]
    ConnectTimeout { address: SocketAddr, waited: Duration },
    /// The destination on this node refuses it.
    #[error("destination refuses the connection: {}", describe(.0))]
    Destination(InboundError),
    /// The name has no address.
    #[error("host {host} has no address")]
    HostUnknown { host: Arc<str> },
    /// The name cannot be looked up.
    #[error("host {host} cannot be looked up: {}", describe(.source))]
    Lookup { host: Arc<str>, source: Arc<LookupError> },
    /// The pod, or the daemon, has all files open that it may.
    #[error("no more files may be open for the pod")]
    NoOpenFiles,
    /// The pod is no longer captured.
    #[error("the pod is no longer captured")]
    Released,
    /// The mesh refuses it.
    #[error("{}", describe(.0))]
    Refused(Refused),
    /// The peer did not answer CONNECT.
    #[error("peer did not answer the request within {waited:?}")]
    RequestTimeout { waited: Duration },
    /// The peer refused.
    #[error("peer answered with status {status}")]
    Status { status: u16 },
    /// The stream or its tunnel failed.
    #[error("{}", describe(.0))]
    Stream(StreamError),
    /// TLS did not come up.
    #[error("tunnel to {address} did not come up: {}", describe(.source))]
    Tls { address: SocketAddr, source: Arc<HandshakeError> },
    /// TLS did not come up in time.
    #[error("tunnel to {address} did not come up within {waited:?}")]
    TlsTimeout { address: SocketAddr, waited: Duration },
    /// We have no certificate.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The mesh does not know the pod.
    #[error("the mesh does not know the pod that the connection comes from")]
    UnknownSource,
}

impl Failure {
    /// How Istio's metrics name it.
    pub(super) fn flag(&self) -> ResponseFlag {
        match self {
            Self::Status { status: 401 }
            | Self::Destination(InboundError::Denied(_) | InboundError::Isolated(_)) => ResponseFlag::Deny,
            Self::Refused(refused) => match &*refused.refusal {
                Refusal::PlaintextRefused { .. } | Refusal::UnknownDestination { .. } => ResponseFlag::Deny,
                _ => ResponseFlag::Connect,
            },
            Self::ConnectTimeout { address, .. } if address.port() == crate::redirect::HBONE_PORT => {
                ResponseFlag::NetworkPolicy
            }
            Self::Tls { source, .. } => match **source {
                ref error if is_revoked(error) => ResponseFlag::CertRevoked,
                // What our verifier said within rustls is among them.
                HandshakeError::Peer(_) => ResponseFlag::IdentityError,
                HandshakeError::NoH2 => ResponseFlag::H2HandshakeFailure,
                _ => ResponseFlag::TlsFailure,
            },
            Self::Stream(error) if is_revoked(error) => ResponseFlag::CertRevoked,
            Self::TlsTimeout { .. } => ResponseFlag::TlsFailure,
            Self::Config(_) | Self::Unavailable(_) | Self::UnknownSource => ResponseFlag::IdentityError,
            _ => ResponseFlag::Connect,
        }
    }

    /// The label of metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Config(_) | Self::Unavailable(_) => "no_certificate",
            Self::Connect { .. } => "unreachable",
            Self::ConnectTimeout { .. } | Self::RequestTimeout { .. } => "timeout",
            Self::Destination(_) | Self::Refused(_) => "refused",
            Self::HostUnknown { .. } | Self::Lookup { .. } => "unresolved",
            Self::NoOpenFiles => "open_files",
            Self::Released | Self::UnknownSource => "unknown_source",
            Self::Status { .. } => "peer_refused",
            Self::Stream(_) => "tunnel_ended",
            Self::Tls { .. } | Self::TlsTimeout { .. } => "tls",
        }
    }

    /// Whether another endpoint may do better: nothing was sent yet, and the fault is this endpoint's.
    pub(super) const fn is_endpoints_own(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::HostUnknown { .. }
            | Self::Lookup { .. }
            | Self::RequestTimeout { .. }
            | Self::Stream(_)
            | Self::Tls { .. }
            | Self::TlsTimeout { .. } => true,
            Self::Status { status } => *status >= 500,
            Self::Config(_)
            | Self::Destination(_)
            | Self::NoOpenFiles
            | Self::Refused(_)
            | Self::Released
            | Self::Unavailable(_)
            | Self::UnknownSource => false,
        }
    }
}
