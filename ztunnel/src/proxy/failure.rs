//! Why a connection did not come about.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use certs::{ConfigError, PeerError, Unavailable, describe};
use daemon::metrics::ResponseFlag;
use hbone::record::HandshakeError;
use hbone::tunnel::StreamError;
use mesh::Network;

use super::revoked::is_revoked;
use crate::decision::{InboundError, Nested, Refusal, Refused, Tunnel, WaypointName};
use crate::dns::LookupError;

/// Why a connection did not come about.
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
    /// The gateway of another network failed, and not what is behind it.
    #[error("gateway {gateway} of network {:?}: {failure}{}", .network.as_str(), expected(failure))]
    Gateway { gateway: Arc<str>, network: Network, failure: Box<Self> },
    /// The name has no address.
    #[error("host {host} has no address")]
    HostUnknown { host: Arc<str> },
    /// The name cannot be looked up.
    #[error("host {host} cannot be looked up: {}", describe(.source))]
    Lookup { host: Arc<str>, source: Arc<LookupError> },
    /// What is behind the gateway of another network failed, or the way there.
    #[error("behind gateway {gateway} of network {:?}: {failure}", .network.as_str())]
    Nested { gateway: Arc<str>, network: Network, failure: Box<Self> },
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
    /// The mesh does not know the pod that is called.
    #[error("the mesh does not know the pod that the connection is for")]
    UnknownReceiver,
    /// The mesh does not know the pod that calls.
    #[error("the mesh does not know the pod that the connection comes from")]
    UnknownSource,
    /// The waypoint failed, and not what is behind it.
    #[error("waypoint {waypoint}: {failure}")]
    Waypoint { waypoint: WaypointName, failure: Box<Self> },
}

impl Failure {
    /// That of a tunnel, as a waypoint's where the tunnel leads to one and the fault is at its end.
    pub(super) fn of(self, tunnel: &Tunnel) -> Self {
        match &tunnel.waypoint {
            Some(waypoint) if self.is_endpoints_own() || matches!(self, Self::Status { .. }) => {
                Self::Waypoint { waypoint: waypoint.clone(), failure: Box::new(self) }
            }
            _ => self,
        }
    }

    /// That of the tunnel to the gateway of another network, as the gateway's.
    pub(super) fn at_gateway(self, nested: &Nested) -> Self {
        if self.is_ours() {
            return self;
        }
        let (gateway, network) = (nested.gateway.key.clone(), nested.network.clone());
        Self::Gateway { gateway, network, failure: Box::new(self) }
    }

    /// That of the tunnel within one to the gateway of another network.
    pub(super) fn behind(self, nested: &Nested) -> Self {
        if self.is_ours() {
            return self;
        }
        let (gateway, network) = (nested.gateway.key.clone(), nested.network.clone());
        Self::Nested { gateway, network, failure: Box::new(self) }
    }

    /// Whether it has nothing to do with who is at the other end.
    const fn is_ours(&self) -> bool {
        matches!(self, Self::Config(_) | Self::NoOpenFiles | Self::Unavailable(_) | Self::UnknownSource)
    }

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
            Self::Config(_) | Self::Unavailable(_) | Self::UnknownReceiver | Self::UnknownSource => {
                ResponseFlag::IdentityError
            }
            Self::Gateway { failure, .. } | Self::Nested { failure, .. } | Self::Waypoint { failure, .. } => {
                failure.flag()
            }
            _ => ResponseFlag::Connect,
        }
    }

    /// The label of metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Gateway { failure, .. } | Self::Nested { failure, .. } | Self::Waypoint { failure, .. } => {
                failure.label()
            }
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
            Self::UnknownReceiver => "unknown_receiver",
        }
    }

    /// Whether another endpoint may do better: nothing was sent yet, and the fault is this endpoint's.
    pub(super) fn is_endpoints_own(&self) -> bool {
        match self {
            // Whatever it says, it speaks for nobody but itself.
            Self::Gateway { failure, .. } if matches!(**failure, Self::Status { .. }) => true,
            Self::Gateway { failure, .. } | Self::Nested { failure, .. } | Self::Waypoint { failure, .. } => {
                failure.is_endpoints_own()
            }
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
            | Self::UnknownReceiver
            | Self::UnknownSource => false,
        }
    }
}

/// Where it is said whom to expect at a gateway, where somebody else is there.
fn expected(failure: &Failure) -> &'static str {
    match failure {
        Failure::Tls { source, .. } => match **source {
            HandshakeError::Peer(PeerError::IdentityMismatch { .. }) => {
                ", as gateway.istio.io/service-account of the Gateway says, or NAME-istio-remote without it"
            }
            _ => "",
        },
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::iter::once;

    use authz::{Denied, DenyReason, PolicyName};
    use hbone::tunnel::Ended;
    use identity::SpiffeId;
    use mesh::{Isolated, WorkloadUid};

    use super::*;

    #[test]
    fn each_failure_has_the_flag_that_istio_gives_it() {
        let denied = || Denied {
            policy: Some(PolicyName::new("shop", "wall")),
            rule: Some(1),
            reason: DenyReason::DenyMatched,
        };
        let refused =
            |refusal| Failure::Refused(Refused { refusal: Box::new(refusal), service: None, workload: None });
        let workload = || WorkloadUid("a".into());
        let tls = |source| Failure::Tls { address: at(15008), source: Arc::new(source) };
        let client: SpiffeId = "spiffe://cluster.local/ns/shop/sa/client".parse().unwrap();
        let mismatch = PeerError::IdentityMismatch { got: client.clone(), want: client.clone().into() };
        let revoked = PeerError::Revoked { identity: client, serial: "2a".to_owned() };
        let late = |port| Failure::ConnectTimeout { address: at(port), waited: WAITED };
        let closed = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let isolated = Isolated { by: Arc::new(["shop/guard".into()]), port: 80 };
        for (failure, flag) in [
            (Failure::Status { status: 401 }, ResponseFlag::Deny),
            (Failure::Destination(InboundError::Denied(denied())), ResponseFlag::Deny),
            (Failure::Destination(InboundError::Isolated(isolated)), ResponseFlag::Deny),
            (
                refused(Refusal::PlaintextRefused { workload: workload(), denied: denied() }),
                ResponseFlag::Deny,
            ),
            (refused(Refusal::UnknownDestination { namespace: "shop".into() }), ResponseFlag::Deny),
            (late(15008), ResponseFlag::NetworkPolicy),
            (tls(HandshakeError::Peer(mismatch)), ResponseFlag::IdentityError),
            (Failure::UnknownReceiver, ResponseFlag::IdentityError),
            (Failure::UnknownSource, ResponseFlag::IdentityError),
            (Failure::Config(Arc::new(ConfigError::TicketKey)), ResponseFlag::IdentityError),
            (tls(HandshakeError::Peer(revoked)), ResponseFlag::CertRevoked),
            (Failure::Stream(StreamError::TunnelEnded(Ended::Revoked)), ResponseFlag::CertRevoked),
            (tls(HandshakeError::NoH2), ResponseFlag::H2HandshakeFailure),
            (tls(HandshakeError::Closed), ResponseFlag::TlsFailure),
            (tls(HandshakeError::Io(closed())), ResponseFlag::TlsFailure),
            (Failure::TlsTimeout { address: at(15008), waited: WAITED }, ResponseFlag::TlsFailure),
            (late(80), ResponseFlag::Connect),
            (Failure::Connect { address: at(80), source: Arc::new(closed()) }, ResponseFlag::Connect),
            (Failure::Destination(InboundError::OwnPort { port: 15008 }), ResponseFlag::Connect),
            (Failure::HostUnknown { host: "a.example".into() }, ResponseFlag::Connect),
            (Failure::NoOpenFiles, ResponseFlag::Connect),
            (Failure::Released, ResponseFlag::Connect),
            (
                refused(Refusal::NoGateway { network: Network::default(), service: "a".into() }),
                ResponseFlag::Connect,
            ),
            (Failure::RequestTimeout { waited: WAITED }, ResponseFlag::Connect),
            (Failure::Status { status: 503 }, ResponseFlag::Connect),
            (Failure::Stream(StreamError::TunnelEnded(Ended::PeerClosed)), ResponseFlag::Connect),
        ] {
            let by_waypoint = Failure::Waypoint { waypoint: waypoint(), failure: Box::new(failure.clone()) };
            for failure in once(failure).chain(once(by_waypoint)) {
                assert_eq!(failure.flag(), flag, "{failure}");
            }
        }
    }

    #[test]
    fn a_waypoint_is_named_where_it_is_what_failed_and_the_next_one_is_tried() {
        let address = at(15008);
        let tunnel = |waypoint| Tunnel {
            upstream: crate::decision::Upstream {
                place: mesh::Place::Address(mesh::NetworkAddress::new(Network::default(), address.ip())),
                port: address.port(),
                workload: None,
                service: None,
                picked: None,
            },
            address,
            authority: at(80),
            identities: "spiffe://cluster.local/ns/shop/sa/gate".parse::<SpiffeId>().unwrap().into(),
            waypoint,
        };
        let late = || Failure::ConnectTimeout { address, waited: WAITED };
        let failure = late().of(&tunnel(Some(waypoint())));
        assert_eq!(failure.to_string(), format!("waypoint shop/gate: {}", late()));
        assert_eq!(failure.label(), "timeout");
        assert!(failure.is_endpoints_own());
        let said = Failure::Status { status: 401 }.of(&tunnel(Some(waypoint())));
        assert_eq!(said.to_string(), "waypoint shop/gate: peer answered with status 401");
        assert!(!said.is_endpoints_own());
        for ours in [late().of(&tunnel(None)), Failure::NoOpenFiles.of(&tunnel(Some(waypoint())))] {
            assert!(!ours.to_string().contains("waypoint"), "{ours}");
        }
    }

    #[test]
    fn on_the_way_to_another_network_the_gateway_is_named_and_whose_fault_it_is() {
        let nested = Nested {
            upstream: crate::decision::Upstream {
                place: mesh::Place::Network(Network::new("west")),
                port: 80,
                workload: None,
                service: None,
                picked: None,
            },
            service: mesh::ServiceKey { namespace: "shop".into(), hostname: mesh::Hostname("a.test".into()) },
            network: Network::new("west"),
            gateway: crate::decision::Gateway {
                key: "gates/west".into(),
                host: mesh::GatewayHost::Ip(at(15008).ip()),
                port: 15008,
            },
            identity: "spiffe://cluster.local/ns/gates/sa/gate".parse().unwrap(),
            authority: "a.test:80".parse().unwrap(),
            identities: "spiffe://cluster.local/ns/shop/sa/a".parse::<SpiffeId>().unwrap().into(),
        };
        let late = || Failure::ConnectTimeout { address: at(15008), waited: WAITED };
        let failure = late().at_gateway(&nested);
        assert_eq!(failure.to_string(), format!("gateway gates/west of network \"west\": {}", late()));
        assert_eq!((failure.flag(), failure.label()), (ResponseFlag::NetworkPolicy, "timeout"));
        assert!(failure.is_endpoints_own());
        let other: SpiffeId = "spiffe://cluster.local/ns/gates/sa/other".parse().unwrap();
        let source =
            HandshakeError::Peer(PeerError::IdentityMismatch { got: other.clone(), want: other.into() });
        let mismatch = Failure::Tls { address: at(15008), source: Arc::new(source) }.at_gateway(&nested);
        assert!(mismatch.to_string().ends_with(", or NAME-istio-remote without it"), "{mismatch}");
        let refused = Failure::Status { status: 401 }.behind(&nested);
        let text = "behind gateway gates/west of network \"west\": peer answered with status 401";
        assert_eq!((refused.to_string().as_str(), refused.flag()), (text, ResponseFlag::Deny));
        assert!(!refused.is_endpoints_own());
        let revoked = Ended::Carrier(Arc::new(hbone::tunnel::RelayError::TunnelEnded(Ended::Revoked)));
        let revoked = Failure::Stream(StreamError::TunnelEnded(revoked)).behind(&nested);
        assert_eq!(revoked.flag(), ResponseFlag::CertRevoked);
        assert!(!Failure::NoOpenFiles.at_gateway(&nested).to_string().contains("gateway"));
    }

    fn at(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    fn waypoint() -> WaypointName {
        WaypointName { namespace: "shop".into(), name: "gate".into() }
    }

    const WAITED: Duration = Duration::from_secs(1);
}
