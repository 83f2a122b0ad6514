//! Peers' tunnels.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use certs::{IdentityConfigs, describe};
use daemon::drain::Phase;
use hbone::h2::Limits;
use hbone::record::{self, Established};
use hbone::socket::Socket;
use hbone::tunnel::{Timing, Tunnel, drive};
use identity::SpiffeId;
use mesh::Network;
use tokio::time::{Instant, timeout};

use super::counts::TunnelEnd;
use super::failure::Failure;
use super::limits::{HandshakePlace, Limit, Source, TunnelPlace};
use super::live::Opener;
use super::pod::{PodEnd, ServedPod};
use super::revoked::is_revoked;
use super::tunnelled::{self, Inbound};
use super::worker::{Worker, until_known};
use super::workers::Arrival;
use crate::decision::{PeerMismatch, is_own_gateway, verify_peer};
use crate::redirect::canonical;

/// Serves one tunnel to a pod.
pub(super) async fn serve(worker: Rc<Worker>, arrival: Arrival) {
    let Arrival { socket, pod, load, .. } = arrival;
    let (Ok(peer), Ok(local)) = (socket.peer_addr(), socket.local_addr()) else { return };
    let (Some(peer), Some(local)) = (peer.as_socket(), local.as_socket()) else { return };
    let (from, local_ip) = (canonical(peer).ip(), canonical(local).ip());
    let Ok(socket) = Socket::from_nonblocking(socket) else { return };
    let source = source(&worker, &pod, from);
    let _place = match place(&worker, &pod, source) {
        Ok(place) => place,
        Err(limit) => {
            worker.turn_away(limit, &pod, Some(from));
            return socket.reset_on_close();
        }
    };
    // In a box of its own: a handshake takes several times what the tunnel then needs.
    let Some(established) = Box::pin(handshake(&worker, &pod, socket, source)).await else { return };
    let identity = established.peer.clone();
    let _beyond = match source {
        Source::Address(_) => None,
        Source::Gateway(gateway) => match worker.shared.bounds.beyond(gateway, &identity) {
            Ok(place) => Some(Box::new(place)),
            Err(limit) => return worker.turn_away(limit, &pod, Some(from)),
        },
    };
    let source = match known_peer(&worker, &pod, from, &identity).await {
        Ok(source) => source,
        Err(error) => {
            failed(&worker, "identity");
            tracing::warn!(pod = %pod.uid.0, %error, "tunnel is refused");
            return;
        }
    };
    let timing = Timing { idle: Some(worker.shared.settings.timeouts.idle_inbound), ..Timing::default() };
    let tunnel = Tunnel::server(established, Limits::default(), timing, worker.buffers.clone());
    if worker.shared.drain.phase() != Phase::Running {
        // It was on its way when the others were told.
        tunnel.leave();
    }
    let _open = (worker.shared.counts.tunnel(TunnelEnd::Inbound), worker.opened(&tunnel, TunnelEnd::Inbound));
    let listed = worker.live.tunnel(&pod.uid, &tunnel, from, &source);
    let inbound = Rc::new(Inbound { worker: worker.clone(), pod, identity, source, from, local_ip, load });
    let ended = drive(tunnel, |request| {
        let serving = tunnelled::serve(inbound.clone(), request);
        worker.tasks.spawn_local("tunnelled", serving);
    })
    .await;
    drop(listed);
    tracing::debug!(%from, ended = describe(&ended), "tunnel ended");
}

/// Where a tunnel comes from.
fn source(worker: &Worker, pod: &ServedPod, from: IpAddr) -> Source {
    let of_many = network_of(worker, pod)
        .is_some_and(|network| is_own_gateway(&worker.shared.snapshots.load(), &network, from));
    if of_many { Source::Gateway(from) } else { Source::Address(from) }
}

/// A place among the tunnels.
fn place(worker: &Worker, pod: &ServedPod, source: Source) -> Result<TunnelPlace, Limit> {
    let bounds = &worker.shared.bounds;
    match &pod.end {
        PodEnd::Own(own) => bounds.own_tunnel(own.limits.tunnel(source.ip())?, &pod.uid),
        PodEnd::Captured(_) => bounds.tunnel(source, &pod.uid),
    }
}

/// Who a tunnel comes from. Where strangers are refused, a pod that was made a moment ago may not be known
/// yet.
async fn known_peer(
    worker: &Worker,
    pod: &ServedPod,
    from: IpAddr,
    identity: &SpiffeId,
) -> Result<Opener, PeerMismatch> {
    let ask = || {
        let snapshot = worker.shared.snapshots.load();
        let network = network_of(worker, pod).unwrap_or_default();
        verify_peer(&snapshot, &network, from, identity, worker.shared.settings.strangers).map(Opener::from)
    };
    until_known(ask, |known| known.as_ref().is_err_and(PeerMismatch::is_stranger)).await
}

/// The network that the pod is on.
fn network_of(worker: &Worker, pod: &ServedPod) -> Option<Network> {
    let snapshot = worker.shared.snapshots.load();
    pod.workload(&snapshot).map(|local| local.profile.network.clone())
}

async fn handshake(
    worker: &Rc<Worker>,
    pod: &Arc<ServedPod>,
    socket: Socket,
    source: Source,
) -> Option<Established> {
    let from = source.ip();
    let place = match &pod.end {
        PodEnd::Own(own) => own.limits.handshake(from).map(HandshakePlace::from),
        PodEnd::Captured(_) => worker.shared.bounds.handshake(source, &pod.uid),
    };
    let _place = match place {
        Ok(place) => place,
        Err(limit) => {
            worker.turn_away(limit, pod, Some(from));
            socket.reset_on_close();
            return None;
        }
    };
    let began = Instant::now();
    let within = worker.shared.settings.timeouts.handshake;
    let shaking = async {
        let configs = configs(worker, pod).await?;
        let established = record::accept(socket, configs.server()).await;
        established
            .inspect_err(|error| {
                let cause = match error {
                    error if is_revoked(error) => "revoked",
                    record::HandshakeError::Peer(_) => "identity",
                    _ => "tls",
                };
                if cause == "revoked" {
                    worker.shared.counts.revoked(TunnelEnd::Inbound);
                }
                failed(worker, cause);
                tracing::debug!(%from, error = describe(error), "handshake failed");
            })
            .ok()
    };
    match timeout(within, shaking).await {
        Ok(established) => {
            let established = established?;
            worker.shared.counts.handshake(TunnelEnd::Inbound, established.resumed, began.elapsed());
            Some(established)
        }
        Err(_elapsed) => {
            failed(worker, "timeout");
            tracing::debug!(%from, "handshake took too long");
            None
        }
    }
}

/// The TLS configurations of the pod's own identity.
async fn configs(worker: &Rc<Worker>, pod: &Arc<ServedPod>) -> Option<Arc<IdentityConfigs>> {
    let known = pod.known(&worker.shared.snapshots).await;
    let Some(identity) = known.and_then(|(_, workload)| workload.identity()) else {
        failed(worker, "unknown_pod");
        let error = Failure::UnknownReceiver;
        tracing::warn!(pod = %pod.uid.0, %error, "tunnel is refused");
        return None;
    };
    match worker.configs(&identity).await {
        Ok(configs) => Some(configs),
        Err(error) => {
            failed(worker, "no_certificate");
            tracing::warn!(pod = %pod.uid.0, %error, "tunnel is refused");
            None
        }
    }
}

fn failed(worker: &Worker, cause: &str) {
    worker.shared.counts.handshake_failed(TunnelEnd::Inbound, cause);
}
