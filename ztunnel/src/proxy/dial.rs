//! TCP connections to upstreams.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use authz::Permit;
use hbone::socket::Socket;
use socket2::Socket as RawSocket;
use tokio::time::timeout;

use super::failure::Failure;
use super::worker::Worker;
use crate::redirect::PodSockets;

impl Worker {
    /// Connects from inside a pod's namespace to `address`. Unless it comes to its end, the connection ends by RST.
    pub(super) async fn dial(&self, sockets: &PodSockets, address: SocketAddr) -> Result<Socket, Failure> {
        let socket = self.connect(address, || sockets.tcp(address.ip(), None)).await?;
        socket.reset_on_close();
        Ok(socket)
    }

    /// Connects from inside a pod's namespace to a peer, for a tunnel.
    pub(super) async fn dial_peer(&self, sockets: &PodSockets, peer: SocketAddr) -> Result<Socket, Failure> {
        self.connect(peer, || sockets.tcp_for_tunnel(peer.ip())).await
    }

    /// Connects to an application of a pod, as `source` where that is to be seen. What permits it is used up. Unless it
    /// comes to its end, the connection ends by RST.
    pub(super) async fn dial_app(
        &self,
        sockets: &PodSockets,
        address: SocketAddr,
        source: SocketAddr,
        _permit: Permit,
    ) -> Result<Socket, Failure> {
        // From the pod to itself, its own address is not foreign and needs no pretending.
        let spoof = self.shared.settings.original_source
            && source.ip() != address.ip()
            && source.is_ipv4() == address.is_ipv4();
        let source = spoof.then_some(SocketAddr::new(source.ip(), 0));
        let socket = self.connect(address, || sockets.tcp_to_app(address.ip(), source)).await?;
        socket.reset_on_close();
        Ok(socket)
    }

    /// Counts an attempt to reach an upstream on that path.
    pub(super) fn count_dial<T>(&self, path: &str, began: Instant, outcome: &Result<T, Failure>) {
        let failure = outcome.as_ref().err().map(Failure::label);
        self.shared.counts.dialled(path, began.elapsed(), failure);
    }

    async fn connect(
        &self,
        address: SocketAddr,
        socket: impl FnOnce() -> io::Result<RawSocket>,
    ) -> Result<Socket, Failure> {
        let waited = self.shared.settings.timeouts.connect;
        let failed = |source: io::Error| Failure::Connect { address, source: Arc::new(source) };
        let raw = socket().map_err(failed)?;
        match timeout(waited, Socket::connect(raw, address)).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(error)) => Err(failed(error)),
            Err(_elapsed) => Err(Failure::ConnectTimeout { address, waited }),
        }
    }
}
