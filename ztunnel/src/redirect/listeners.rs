//! The daemon's listening sockets inside a pod's namespace.
//!
//! They belong to the pod, not to a worker: accepted connections go to workers, and an upgrade hands the sockets
//! themselves to the next process.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::{CongestionControl, DNS_PORT, HBONE_PORT, INBOUND_PORT, OUTBOUND_PORT, SocketTuning};
use crate::netns::{PodNetns, in_netns};

/// The listening sockets of one pod, all non-blocking.
///
/// None of them is transparent: connections arrive by REDIRECT, so their local address is a local one. None is marked:
/// what they send belongs to connections that the kernel knows, and no rule asks about those.
#[derive(Debug)]
pub struct PodListeners {
    /// Port 15001: what the pod opens.
    pub outbound: Socket,
    /// Port 15006: plaintext that comes in.
    pub inbound: Socket,
    /// Port 15008: peers' tunnels.
    pub hbone: Socket,
    /// Port 15053 on loopback; empty when the pod holds it and DNS is not captured.
    pub dns: DnsListeners,
}

/// DNS sockets, one for each loopback address that the pod has.
#[derive(Debug, Default)]
pub struct DnsListeners {
    /// Queries in datagrams.
    pub udp: Vec<Socket>,
    /// Queries over TCP.
    pub tcp: Vec<Socket>,
}

/// Why a pod's listeners could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The namespace could not be entered.
    #[error("namespace cannot be entered")]
    Enter(#[source] io::Error),
    /// A process in the pod holds one of our ports, or another daemon does that captures the pod.
    #[error("a process in the pod, or another daemon, already listens on port {port}, which capture needs")]
    PortHeld {
        /// Which one.
        port: u16,
    },
    /// A socket could not be made.
    #[error("socket for port {port} cannot be made")]
    Socket {
        /// For which port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
}

impl PodListeners {
    /// Makes all sockets inside the namespace. Those of DNS are missing where the pod holds their port and `dns` is
    /// off: capture does not need them then, until somebody turns it on. `tuning` is for tunnels.
    ///
    /// # Errors
    /// When a port is taken, named in the error, or a socket cannot be made. None is left open then.
    pub fn open(netns: &PodNetns, dns: bool, tuning: &SocketTuning) -> Result<Self, ListenError> {
        in_netns(netns, || Ok(Self::open_here(dns, tuning))).map_err(ListenError::Enter)?
    }

    /// The listening TCP sockets and their ports.
    pub fn tcp(&self) -> impl Iterator<Item = (u16, &Socket)> {
        [(OUTBOUND_PORT, &self.outbound), (INBOUND_PORT, &self.inbound), (HBONE_PORT, &self.hbone)]
            .into_iter()
            .chain(self.dns.tcp.iter().map(|socket| (DNS_PORT, socket)))
    }

    fn open_here(dns: bool, tuning: &SocketTuning) -> Result<Self, ListenError> {
        Ok(Self {
            outbound: everywhere(OUTBOUND_PORT, CongestionControl::RENO)?,
            inbound: everywhere(INBOUND_PORT, CongestionControl::SYSTEM)?,
            hbone: everywhere(HBONE_PORT, tuning.tunnels)?,
            dns: match DnsListeners::open_here() {
                Err(ListenError::PortHeld { .. }) if !dns => DnsListeners::default(),
                opened => opened?,
            },
        })
    }
}

impl DnsListeners {
    fn open_here() -> Result<Self, ListenError> {
        let on = |ip: SocketAddr, kind| match listen(ip, kind) {
            Ok(socket) => Ok(Some(socket)),
            Err(error) if is_family_missing(&error) => Ok(None),
            Err(error) => Err(refused(DNS_PORT, error)),
        };
        let mut this = Self::default();
        for ip in [SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT)), (Ipv6Addr::LOCALHOST, DNS_PORT).into()]
        {
            this.udp.extend(on(ip, Type::DGRAM)?);
            this.tcp.extend(on(ip, Type::STREAM)?);
        }
        Ok(this)
    }
}

/// A socket for peers' tunnels in the namespace that the calling thread is in, non-blocking.
///
/// # Errors
/// When port 15008 is taken there, or the kernel refuses.
pub fn listen_for_tunnels(tuning: &SocketTuning) -> io::Result<Socket> {
    let socket = listen_everywhere(HBONE_PORT)?;
    tuning.tunnels.apply(&socket)?;
    Ok(socket)
}

/// One socket for both families, or for IPv4 where the kernel has no IPv6.
fn listen_everywhere(port: u16) -> io::Result<Socket> {
    match listen((Ipv6Addr::UNSPECIFIED, port).into(), Type::STREAM) {
        Err(error) if is_family_missing(&error) => listen((Ipv4Addr::UNSPECIFIED, port).into(), Type::STREAM),
        both => both,
    }
}

fn everywhere(port: u16, congestion: CongestionControl) -> Result<Socket, ListenError> {
    let socket = listen_everywhere(port).map_err(|error| refused(port, error))?;
    congestion.apply(&socket).map_err(|source| ListenError::Socket { port, source })?;
    Ok(socket)
}

fn listen(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let tcp = kind == Type::STREAM;
    let protocol = if tcp { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
    if address.is_ipv6() {
        // Loopback has a socket per family; elsewhere one serves both.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    if tcp {
        // A restarted daemon must not wait for its predecessor's connections to leave TIME_WAIT.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if tcp {
        socket.set_tcp_nodelay(true)?;
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

fn refused(port: u16, source: io::Error) -> ListenError {
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::PortHeld { port },
        _ => ListenError::Socket { port, source },
    }
}

fn is_family_missing(error: &io::Error) -> bool {
    use nix::libc::{EADDRNOTAVAIL, EAFNOSUPPORT, EPROTONOSUPPORT};
    matches!(error.raw_os_error(), Some(EADDRNOTAVAIL | EAFNOSUPPORT | EPROTONOSUPPORT))
}

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`, 4096 by default.
const BACKLOG: i32 = 4096;
