//! Connections to other networks: a tunnel within a tunnel.
//!
//! The outer tunnel, to the network's gateway, is shared like any other. The inner one is made anew for each connection:
//! kept, it would lead to one endpoint for ever, and which one is for the gateway to say.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::describe;
use hbone::h2::{ConnectResponse, ErrorCode, Limits};
use hbone::record::{self, Established};
use hbone::tunnel::{Carrier, Ended, RelayError, Stream, StreamError, Timing, Tunnel, drive_nested};
use mesh::{Family, GatewayHost, PodUid, Workload};
use smallvec::SmallVec;
use tokio::time::timeout;

use super::counts::{self, TunnelEnd};
use super::failure::Failure;
use super::outbound::Outbound;
use super::revoked::OpenTunnel;
use super::shares::Share;
use super::tunnel_out::{Asker, Towards, request};
use super::worker::Worker;
use crate::decision::{Crossing, Nested};
use crate::dns::LookupError;

/// A connection to another network, as far as who answers there.
pub(super) struct Crossed {
    /// What the connection goes through.
    pub(super) stream: Stream,
    /// Where the outer tunnel leads.
    pub(super) gateway: SocketAddr,
    /// On which grounds it is.
    pub(super) crossing: Crossing,
    /// Who answers, as it says itself.
    pub(super) answering: Option<Arc<Workload>>,
    /// The inner tunnel.
    pub(super) inner: Inner,
    /// For the two sockets in between.
    pub(super) files: [Share<PodUid>; 2],
}

/// An inner tunnel, which ends with its one stream.
pub(super) struct Inner {
    tunnel: Tunnel,
    driven: Pin<Box<dyn Future<Output = Ended>>>,
    open: (counts::Held, OpenTunnel),
}

/// Has an inner tunnel end with its stream, once dropped.
pub(super) struct Leaving(Tunnel);

/// Who asks for what, where.
struct Way<'a> {
    worker: &'a Rc<Worker>,
    asker: &'a Asker<'a>,
    nested: &'a Nested,
    gateway: SocketAddr,
}

impl Outbound {
    /// Finds somebody on another network who takes the connection.
    pub(super) async fn cross(&self, asker: &Asker<'_>, nested: &Nested) -> Result<Crossed, Failure> {
        let file = || self.worker.shared.bounds.file(&self.pod.uid).map_err(|limit| self.no_file(limit));
        let files = [file()?, file()?];
        let at_gateway = |failure: Failure| failure.at_gateway(nested);
        let (way, outer) = self.outer(asker, nested).await.map_err(at_gateway)?;
        let gateway = way.gateway;
        let through = outer.tunnel().peer().clone();
        let behind = |failure: Failure| failure.behind(nested);
        let mut inner = way.inner(outer).await.map_err(behind)?;
        let (stream, response) = way.stream(&mut inner).await.map_err(behind)?;
        let picked = nested.upstream.workload.as_ref();
        let says = response.baggage.as_deref();
        let answering = picked.zip(says).and_then(|(picked, says)| self.worker.answering.of(picked, says));
        let crossing = Crossing {
            network: nested.network.clone(),
            service: nested.service.clone(),
            picked: picked.map(|picked| picked.uid.clone()),
            gateway: through,
            peer: inner.tunnel.peer().clone(),
        };
        Ok(Crossed { stream, gateway, crossing, answering, inner, files })
    }

    /// A stream that the gateway has accepted, at whichever of its addresses answers.
    async fn outer<'a>(
        &'a self,
        asker: &'a Asker<'a>,
        nested: &'a Nested,
    ) -> Result<(Way<'a>, Stream), Failure> {
        let mut addresses = self.worker.gateway(asker, nested).await?.into_iter();
        loop {
            let gateway = addresses.next().ok_or_else(|| unknown_host(&nested.gateway.host))?;
            let way = Way { worker: &self.worker, asker, nested, gateway };
            match way.outer().await {
                Ok(outer) => return Ok((way, outer)),
                Err(failure) if failure.is_endpoints_own() && addresses.len() > 0 => {
                    tracing::debug!(error = %failure, "gateway failed, trying another of its addresses");
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

impl Worker {
    /// Where a gateway is; one that is known by name is looked up, and tried at so many of its addresses at most.
    async fn gateway(
        &self,
        asker: &Asker<'_>,
        nested: &Nested,
    ) -> Result<SmallVec<[SocketAddr; ADDRESSES]>, Failure> {
        let at = |ip: &IpAddr| SocketAddr::new(*ip, nested.gateway.port);
        match &nested.gateway.host {
            GatewayHost::Ip(ip) => Ok([at(ip)].into_iter().collect()),
            GatewayHost::Name(host) => {
                let family = asker.workload.addresses.first().map_or(Family::V4, |own| Family::of(*own));
                let unknown =
                    |source: LookupError| Failure::Lookup { host: host.clone(), source: Arc::new(source) };
                let found = self.shared.resolver.lookup(host, family).await.map_err(unknown)?;
                Ok(found.iter().take(ADDRESSES).map(at).collect())
            }
        }
    }
}

impl Way<'_> {
    /// A stream that the gateway has accepted.
    async fn outer(&self) -> Result<Stream, Failure> {
        let Self { asker, nested, gateway, .. } = *self;
        let peers = nested.identity.clone().into();
        let request = request(asker, nested.authority.to_string(), Some(&nested.service));
        let towards = Towards { address: gateway, peer_pod: None, peers: &peers, request };
        self.worker.stream(asker, towards).await
    }

    /// The tunnel in that stream, to somebody who may answer for the service.
    async fn inner(&self, outer: Stream) -> Result<Inner, Failure> {
        let worker = self.worker;
        let configs = worker.configs(self.asker.identity).await?;
        let tls = configs.client(&self.asker.pod.uid.0, &self.nested.identities);
        let tls = tls.map_err(|error| Failure::Config(Arc::new(error)))?;
        let (mut carrier, socket) = Carrier::new(outer).map_err(|_too_many| Failure::NoOpenFiles)?;
        let began = Instant::now();
        let shaking = carrier.during(self.shaken(record::connect(socket, &tls, self.gateway.ip())));
        let established = match shaking.await {
            Ok(established) => established,
            Err(error) => Err(carried_no_more(error)),
        };
        let established =
            established.map_err(|failure| Arc::unwrap_or_clone(worker.failed_handshake(failure)))?;
        worker.shared.counts.handshake(TunnelEnd::Outbound, established.resumed, began.elapsed());
        let tunnel =
            Tunnel::client(established, Limits::default(), Timing::default(), worker.buffers.clone());
        let end = TunnelEnd::Outbound;
        let open = (worker.shared.counts.tunnel(end), worker.opened(&tunnel, end));
        let driven = Box::pin(drive_nested(tunnel.clone(), carrier, PATIENCE));
        Ok(Inner { tunnel, driven, open })
    }

    async fn shaken(
        &self,
        shaking: impl Future<Output = Result<Established, record::HandshakeError>>,
    ) -> Result<Established, Failure> {
        let (address, waited) = (self.gateway, self.worker.shared.settings.timeouts.handshake);
        match timeout(waited, shaking).await {
            Ok(Ok(established)) => Ok(established),
            Ok(Err(source)) => Err(Failure::Tls { address, source: Arc::new(source) }),
            Err(_elapsed) => Err(Failure::TlsTimeout { address, waited }),
        }
    }

    /// The stream of that tunnel, once its other end has accepted it.
    async fn stream(&self, inner: &mut Inner) -> Result<(Stream, ConnectResponse), Failure> {
        let Self { asker, nested, .. } = *self;
        let mut request = request(asker, nested.authority.to_string(), Some(&nested.service));
        let network = asker.workload.profile.network.as_str();
        request.network = Some(network.into());
        // It has served nobody yet: nothing but a peer that leaves at once is in the way.
        let unseen = |_| Failure::Stream(StreamError::Reset(ErrorCode::REFUSED_STREAM));
        let mut stream = inner.tunnel.open(&request).map_err(unseen)?;
        let response = tokio::select! {
            biased;
            answer = self.worker.answer(&mut stream) => answer?,
            ended = &mut inner.driven => return Err(Failure::Stream(StreamError::TunnelEnded(ended))),
        };
        Ok((stream, response))
    }
}

impl Inner {
    /// Has it driven until it has ended. `held` is let go of then. To be let go of behind its stream: what is returned.
    pub(super) fn drive<H: 'static>(self, worker: &Worker, held: H) -> Leaving {
        let Self { tunnel, driven, open } = self;
        worker.tasks.spawn_local("nested tunnel", async move {
            let ended = driven.await;
            drop((open, held));
            tracing::debug!(ended = describe(&ended), "nested tunnel ended");
        });
        Leaving(tunnel)
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn unknown_host(host: &GatewayHost) -> Failure {
    Failure::HostUnknown { host: host.to_string().into() }
}

fn carried_no_more(error: RelayError) -> Failure {
    Failure::Stream(StreamError::TunnelEnded(Ended::Carrier(Arc::new(error))))
}

/// Addresses of a gateway that are tried for one connection, where it is known by name.
const ADDRESSES: usize = 3;

/// How long the last bytes of an inner tunnel may take to be gone, and its other end to say that it has ended.
const PATIENCE: Duration = Duration::from_secs(5);
