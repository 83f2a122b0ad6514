//! Sockets that the daemon opens for itself: to its CA, to a collector, to name servers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Marks;

/// Makes the sockets that the daemon opens for itself, in its own namespace.
///
/// On a node nothing captures them. Inside of a pod that the daemon captures, they are marked as those are that it opens
/// for the pod, and so leave it past capture. Nothing connects before the rules are in force that know the mark: those
/// of a predecessor that was killed know another, and would lead the connection back to the daemon.
#[derive(Clone, Debug, Default)]
pub struct OwnSockets {
    inside: Option<Inside>,
}

#[derive(Clone, Debug)]
struct Inside {
    mark: u32,
    captured: watch::Receiver<bool>,
}

/// The rules do not let the daemon's own connections pass, for there are none of this daemon.
#[derive(Debug, thiserror::Error)]
#[error("the pod is not captured, and until it is, nothing is dialled from inside of it")]
struct NotCaptured;

impl OwnSockets {
    /// Sockets of a daemon inside of its pod; `captured` says whether the pod was captured by these marks.
    pub const fn inside(marks: Marks, captured: watch::Receiver<bool>) -> Self {
        Self { inside: Some(Inside { mark: marks.socket, captured }) }
    }

    /// Whether the daemon is inside of its pod, where pods choose name servers and may look at what passes.
    pub const fn is_inside(&self) -> bool {
        self.inside.is_some()
    }

    /// A non-blocking socket of the family of `destination`.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn socket(&self, destination: IpAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let domain = Domain::for_address(SocketAddr::new(destination, 0));
        let socket = Socket::new(domain, kind.nonblocking(), Some(protocol))?;
        self.mark(&socket)?;
        Ok(socket)
    }

    /// Connects to the first address of a host that answers. The system looks its name up: inside of a captured pod,
    /// like any process of the pod.
    ///
    /// # Errors
    /// What looking the name up and connecting report.
    ///
    /// # Cancel safety
    /// The connection is given up when the future is dropped.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        self.wait().await?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in tokio::net::lookup_host((host, port)).await? {
            match self.dial(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        self.mark(&socket)?;
        socket.connect(address).await
    }

    fn mark(&self, socket: &impl AsFd) -> io::Result<()> {
        self.inside.as_ref().map_or(Ok(()), |inside| SockRef::from(socket).set_mark(inside.mark))
    }

    async fn wait(&self) -> io::Result<()> {
        let Some(inside) = &self.inside else { return Ok(()) };
        let mut captured = inside.captured.clone();
        match timeout(PATIENCE, captured.wait_for(|captured| *captured)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(io::Error::new(io::ErrorKind::NetworkDown, NotCaptured)),
        }
    }
}

impl certs::Dial for OwnSockets {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + 'a>> {
        Box::pin(self.connect(host, port))
    }
}

/// How long a connection waits for the pod to be captured, which takes a tenth of a second from the mesh's first word on.
const PATIENCE: Duration = Duration::from_secs(5);
