//! Streams in tunnels to peers.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use certs::{IdentityConfigs, PeerIdentities, describe};
use daemon::metrics::ResponseFlag;
use hbone::forwarded::Forwarded;
use hbone::h2::{ConnectRequest, ConnectResponse, Limits, Method};
use hbone::record::{self, HandshakeError};
use hbone::tunnel::{Stream, Timing, Tunnel, drive};
use identity::SpiffeId;
use tokio::time::{Instant, timeout};

use super::baggage;
use super::counts::TunnelEnd;
use super::failure::Failure;
use super::pod::ServedPod;
use super::worker::Worker;
use crate::decision;
use crate::telemetry::Trace;

/// What a tunnel may be shared for: the same pod under the same certificate, to the same incarnation of the same
/// destination, expecting the same identities.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TunnelKey {
    pub(super) pod: mesh::PodUid,
    pub(super) identity: SpiffeId,
    pub(super) epoch: u64,
    pub(super) address: SocketAddr,
    pub(super) peer_pod: Option<mesh::PodUid>,
    pub(super) peers: PeerIdentities,
}

/// Where a stream is to lead.
pub(super) struct Towards<'a> {
    /// Where its tunnel goes.
    pub(super) address: SocketAddr,
    /// The pod that is there, if one is known.
    pub(super) peer_pod: Option<mesh::PodUid>,
    /// The identities that the tunnel's other end may have.
    pub(super) peers: &'a PeerIdentities,
    /// What its other end is asked for.
    pub(super) request: ConnectRequest,
}

/// Who asks for a stream.
pub(super) struct Asker<'a> {
    pub(super) pod: &'a Arc<ServedPod>,
    pub(super) workload: &'a mesh::Workload,
    pub(super) identity: &'a SpiffeId,
    pub(super) client: SocketAddr,
    pub(super) trace: Trace,
}

impl Worker {
    /// A stream that the destination has accepted.
    pub(super) async fn stream(
        self: &Rc<Self>,
        asker: &Asker<'_>,
        towards: Towards<'_>,
    ) -> Result<Stream, Failure> {
        let configs = self.configs(asker.identity).await?;
        let Towards { address, peer_pod, peers, request } = towards;
        let key = TunnelKey {
            pod: asker.pod.uid.clone(),
            identity: asker.identity.clone(),
            epoch: configs.epoch(),
            address,
            peer_pod,
            peers: peers.clone(),
        };
        let dial = async || self.open_tunnel(asker.pod, &key, &configs).await;
        // A tunnel that was going may refuse a stream that it has not looked at: once more, with another.
        let mut again = true;
        loop {
            let mut stream = self.pool.stream(&key, &request, &dial).await.map_err(Arc::unwrap_or_clone)?;
            match self.answer(&mut stream).await {
                Ok(_) => return Ok(stream),
                Err(failure) if again && is_refused_unseen(&failure) => again = false,
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The TLS configurations of a local identity, waiting a while for its first certificate.
    pub(super) async fn configs(&self, identity: &SpiffeId) -> Result<Arc<IdentityConfigs>, Failure> {
        match self.shared.identities.current(identity) {
            Some(configs) => Ok(configs),
            None => {
                let deadline = Instant::now() + self.shared.settings.timeouts.handshake;
                Ok(self.shared.identities.ready(identity, deadline).await?)
            }
        }
    }

    /// What the other end answers, within the time that it has for it.
    pub(super) async fn answer(&self, stream: &mut Stream) -> Result<ConnectResponse, Failure> {
        let waited = self.shared.settings.timeouts.request;
        match timeout(waited, stream.response()).await {
            Ok(Ok(response)) if response.is_success() => Ok(response),
            Ok(Ok(response)) => Err(Failure::Status { status: response.status }),
            Ok(Err(error)) => Err(Failure::Stream(error)),
            Err(_elapsed) => Err(Failure::RequestTimeout { waited }),
        }
    }

    async fn open_tunnel(
        self: &Rc<Self>,
        pod: &Arc<ServedPod>,
        key: &TunnelKey,
        configs: &IdentityConfigs,
    ) -> Result<Tunnel, Arc<Failure>> {
        let socket = self.dial_peer(pod.sockets()?, key.address).await?;
        let (address, waited) = (key.address, self.shared.settings.timeouts.handshake);
        let refused = |source: HandshakeError| Failure::Tls { address, source: Arc::new(source) };
        let tls = configs.client(&key.pod.0, &key.peers);
        let tls = tls.map_err(|error| Failure::Config(Arc::new(error)))?;
        let began = Instant::now();
        let established = match timeout(waited, record::connect(socket, &tls, address.ip())).await {
            Ok(Ok(established)) => established,
            Ok(Err(error)) => return Err(self.failed_handshake(refused(error))),
            Err(_elapsed) => {
                return Err(self.failed_handshake(Failure::TlsTimeout { address, waited }));
            }
        };
        self.shared.counts.handshake(TunnelEnd::Outbound, established.resumed, began.elapsed());
        let timing = Timing { idle: Some(self.shared.settings.timeouts.idle_tunnel), ..Timing::default() };
        let tunnel = Tunnel::client(established, Limits::default(), timing, self.buffers.clone());
        let open =
            (self.shared.counts.tunnel(TunnelEnd::Outbound), self.opened(&tunnel, TunnelEnd::Outbound));
        let driven = tunnel.clone();
        self.tasks.spawn_local("tunnel", async move {
            let ended = drive(driven, |_| {}).await;
            drop(open);
            tracing::debug!(%address, ended = describe(&ended), "tunnel ended");
        });
        Ok(tunnel)
    }

    /// Counts a handshake that failed.
    pub(super) fn failed_handshake(&self, failure: Failure) -> Arc<Failure> {
        let cause = match failure {
            Failure::TlsTimeout { .. } => "timeout",
            _ if failure.flag() == ResponseFlag::IdentityError => "identity",
            _ if failure.flag() == ResponseFlag::CertRevoked => {
                self.shared.counts.revoked(TunnelEnd::Outbound);
                "revoked"
            }
            _ => "tls",
        };
        self.shared.counts.handshake_failed(TunnelEnd::Outbound, cause);
        Arc::new(failure)
    }
}

fn is_refused_unseen(failure: &Failure) -> bool {
    use hbone::h2::ErrorCode;
    use hbone::tunnel::StreamError;
    matches!(failure, Failure::Stream(StreamError::Reset(ErrorCode::REFUSED_STREAM)))
}

impl<'a> Towards<'a> {
    /// Where a tunnel of a decision leads.
    pub(super) fn of(asker: &Asker<'_>, tunnel: &'a decision::Tunnel) -> Self {
        let service = tunnel.upstream.service.as_ref().map(|service| &service.key);
        Self {
            address: tunnel.address,
            peer_pod: tunnel.upstream.workload.as_ref().and_then(|peer| peer.pod_uid.clone()),
            peers: &tunnel.identities,
            request: request(asker, tunnel.authority.to_string(), service),
        }
    }
}

/// A request for `authority`, on behalf of who asks, for a service if one was called.
pub(super) fn request(
    asker: &Asker<'_>,
    authority: String,
    service: Option<&mesh::ServiceKey>,
) -> ConnectRequest {
    let host = service.map(|service| (*service.hostname.0).into());
    let forwarded = Forwarded { client: asker.client, host };
    ConnectRequest {
        method: Method::Connect,
        authority: authority.into(),
        baggage: Some(baggage::of(asker.workload)),
        forwarded: Some(forwarded.to_string().into()),
        traceparent: Some(asker.trace.own.to_string().into()),
        network: None,
    }
}
