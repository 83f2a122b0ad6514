//! The daemon itself as a pod of its node: its metrics, in peers' tunnels.
//!
//! It is served like any other pod, but for two things. Nothing is captured: in the node's own namespace it only listens
//! for tunnels. And what is in them goes to the server of metrics within this process, by a pair of sockets and no
//! address, so that no request can lead to anything else that is on the node. It has as many connections as that server
//! takes, divided among its peers as a pod's are: none of them keeps the others from their scrapes. Handshakes and tunnels
//! have bounds of their own, since whoever reaches the node can begin some.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use authz::Permit;
use daemon::admin::CONNECTIONS;
use hbone::socket::Socket;
use socket2::Socket as RawSocket;
use tokio::sync::mpsc;

use super::failure::Failure;
use super::own_limits::OwnLimits;
use super::pod::{PodEnd, ServedPod};
use super::worker::Worker;
use super::workers::Workers;
use crate::redirect::{SocketTuning, listen_for_tunnels};

/// The end of tunnels to the daemon's own pod.
#[derive(Debug)]
pub struct OwnEnd {
    listener: RawSocket,
    tuning: SocketTuning,
    pub(super) limits: OwnLimits,
    /// Where its metrics are asked for.
    port: u16,
    /// Who serves them.
    server: mpsc::Sender<UnixStream>,
}

/// The daemon's own pod, while the mesh knows one.
#[derive(Debug)]
pub struct OwnPod {
    end: Arc<OwnEnd>,
    workers: Arc<Workers>,
    served: Option<mesh::PodUid>,
}

impl OwnEnd {
    /// Listens for tunnels in the namespace of the calling thread. Connections to the metrics at `port` are handed to the
    /// receiver.
    ///
    /// # Errors
    /// When the port of tunnels is taken, or the kernel refuses.
    pub fn listen(port: u16, tuning: SocketTuning) -> io::Result<(Self, mpsc::Receiver<UnixStream>)> {
        let listener = listen_for_tunnels(&tuning)?;
        let (server, connections) = mpsc::channel(CONNECTIONS);
        Ok((Self { listener, tuning, limits: OwnLimits::default(), port, server }, connections))
    }

    pub(super) const fn listener(&self) -> &RawSocket {
        &self.listener
    }

    pub(super) const fn tuning(&self) -> &SocketTuning {
        &self.tuning
    }

    /// The port of its metrics.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A connection to the server of metrics. What permits it is used up.
    fn connect(&self, _permit: Permit) -> io::Result<Socket> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        self.server.try_send(far).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Socket::from_nonblocking(RawSocket::from(OwnedFd::from(near)))
    }
}

impl OwnPod {
    /// Not known yet.
    pub fn new(end: OwnEnd, workers: Arc<Workers>) -> Self {
        Self { end: Arc::new(end), workers, served: None }
    }

    /// The port of its metrics.
    pub fn port(&self) -> u16 {
        self.end.port()
    }

    /// Has the pod of that uid served, and what was served under another uid end.
    pub fn serve(&mut self, uid: Option<&mesh::PodUid>) {
        if self.served.as_ref() == uid {
            return;
        }
        if let Some(before) = self.served.take() {
            self.workers.gone(&before);
        }
        if let Some(uid) = uid {
            let pod = ServedPod::own(uid.clone(), self.end.clone(), CONNECTIONS);
            self.workers.serve(&Arc::new(pod));
            self.served = Some(uid.clone());
        }
    }
}

impl Worker {
    /// Connects to what a tunnelled connection was let in to: an application of the pod, as
    /// [`dial_app`](Self::dial_app) does, or the daemon's metrics.
    pub(super) async fn deliver(
        &self,
        pod: &ServedPod,
        upstream: SocketAddr,
        source: SocketAddr,
        permit: Permit,
    ) -> Result<Socket, Failure> {
        match &pod.end {
            PodEnd::Captured(captured) => self.dial_app(&captured.sockets, upstream, source, permit).await,
            PodEnd::Own(own) => own
                .connect(permit)
                .map_err(|source| Failure::Connect { address: upstream, source: Arc::new(source) }),
        }
    }
}
