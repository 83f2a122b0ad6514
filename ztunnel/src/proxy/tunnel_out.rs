//! Streams in tunnels to peers.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use certs::{IdentityConfigs, PeerIdentities, describe};
use daemon::metrics::ResponseFlag;
use hbone::forwarded::Forwarded;
use hbone::h2::{ConnectRequest, Limits, Method};
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
        tunnel: &decision::Tunnel,
    ) -> Result<Stream, Failure> {
        let configs = self.configs(asker.identity).await?;
        let key = TunnelKey {
            pod: asker.pod.uid.clone(),
            identity: asker.identity.clone(),
            epoch: configs.epoch(),
            address: tunnel.address,
            peer_pod: tunnel.upstream.workload.as_ref().and_then(|peer| peer.pod_uid.clone()),
            peers: tunnel.identities.clone(),
        };
        let request = request(asker, tunnel);
        let dial = async || self.open_tunnel(asker.pod, &key, &configs).await;
        // A tunnel that was going may refuse a stream that it has not looked at: once more, with another.
        let mut again = true;
        loop {
            let mut stream = self.pool.stream(&key, &request, &dial).await.map_err(Arc::unwrap_or_clone)?;
            match self.answer(&mut stream).await {
                Ok(()) => return Ok(stream),
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

    async fn answer(&self, stream: &mut Stream) -> Result<(), Failure> {
        let waited = self.shared.settings.timeouts.request;
        match timeout(waited, stream.response()).await {
            Ok(Ok(response)) if response.is_success() => Ok(()),
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

    fn failed_handshake(&self, failure: Failure) -> Arc<Failure> {
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

fn request(asker: &Asker<'_>, tunnel: &decision::Tunnel) -> ConnectRequest {
    let host = tunnel.upstream.service.as_ref().map(|service| (*service.key.hostname.0).into());
    let forwarded = Forwarded { client: asker.client, host };
    ConnectRequest {
        method: Method::Connect,
        authority: tunnel.authority.to_string().into(),
        baggage: Some(baggage::of(asker.workload)),
        forwarded: Some(forwarded.to_string().into()),
        traceparent: Some(asker.trace.own.to_string().into()),
        network: None,
    }
}
