//! Queries in datagrams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::exchange::Transport;
use super::pod::{PodDns, Turn};
use super::proxy::ended_well;
use super::wire::MAX_DATAGRAM;

/// Answers the datagrams of one socket, for as long as it is polled.
pub(super) async fn serve(dns: Arc<PodDns>, socket: Arc<UdpSocket>) {
    let mut forwards = JoinSet::new();
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        tokio::select! {
            Some(ended) = forwards.join_next() => {
                ended_well(ended);
            }
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, client)) => take(&dns, &socket, &mut forwards, &buffer[..length], client).await,
                Err(error) => {
                    tracing::warn!(pod = %dns.captured().pod.uid, %error, "DNS socket cannot be read");
                    sleep(RECOVERY).await;
                }
            }
        }
    }
}

async fn take(
    dns: &Arc<PodDns>,
    socket: &Arc<UdpSocket>,
    forwards: &mut JoinSet<()>,
    message: &[u8],
    client: SocketAddr,
) {
    let origin = || dns.captured().dns_origins.original_destination(client);
    let reply = match dns.take(message, Transport::Udp, origin) {
        Turn::Drop => None,
        Turn::Forward(forward) if forwards.len() >= MAX_FORWARDS => forward.declined(),
        Turn::Forward(forward) => {
            let (dns, socket) = (dns.clone(), socket.clone());
            forwards.spawn(async move { send(&socket, dns.forward(forward).await, client).await });
            None
        }
        Turn::Reply(reply) => Some(reply),
    };
    send(socket, reply, client).await;
}

async fn send(socket: &UdpSocket, reply: Option<Vec<u8>>, client: SocketAddr) {
    if let Some(reply) = reply {
        // The client is gone, or asks again.
        let _unsent = socket.send_to(&reply, client).await;
    }
}

/// Queries of one pod and family that wait for name servers at a time: each holds a socket for up to five seconds, and
/// the daemon's open files serve all pods.
const MAX_FORWARDS: usize = 256;
/// Pause after an error that would be there again at once, such as want of memory.
const RECOVERY: Duration = Duration::from_millis(50);
