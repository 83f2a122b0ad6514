//! Sockets that the daemon opens from inside a pod's namespace, and where redirected ones were meant to go.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::{CongestionControl, Marks};
use crate::netns::{PodNetns, in_netns};

/// Makes sockets inside one pod's namespace, marked so that capture leaves them alone.
#[derive(Clone, Debug)]
pub struct PodSockets {
    netns: Arc<PodNetns>,
    mark: u32,
    tuning: SocketTuning,
}

/// How sockets are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketTuning {
    /// Silence before the first keep-alive probe, and between probes. Default 180 s.
    pub keepalive: Duration,
    /// Unanswered probes until the connection is given up. Default 9.
    pub keepalive_probes: u32,
    /// How long what is sent in plaintext to elsewhere may stay unacknowledged (TCP_USER_TIMEOUT). Default none: the
    /// kernel's retries decide, and who acknowledges but takes nothing is waited for, as without a mesh.
    pub unacknowledged: Option<Duration>,
    /// What tunnels use against congestion. Default CUBIC.
    pub tunnels: CongestionControl,
}

impl PodSockets {
    /// A maker of sockets in `netns`.
    pub const fn new(netns: Arc<PodNetns>, marks: Marks, tuning: SocketTuning) -> Self {
        Self { netns, mark: marks.socket, tuning }
    }

    /// A non-blocking TCP socket to connect to `destination` with. With `source`, the connection comes from that
    /// address although it is not the pod's, and reaches the pod only; its port may be 0.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel refuses.
    pub fn tcp(&self, destination: IpAddr, source: Option<SocketAddr>) -> io::Result<Socket> {
        let socket = self.patient(destination, source)?;
        self.tuning.apply_in_plaintext(&socket)?;
        Ok(socket)
    }

    /// A non-blocking TCP socket to connect to an application of the pod with; else like [`tcp`](Self::tcp).
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel refuses.
    pub fn tcp_to_app(&self, destination: IpAddr, source: Option<SocketAddr>) -> io::Result<Socket> {
        let socket = self.patient(destination, source)?;
        CongestionControl::RENO.apply(&socket)?;
        Ok(socket)
    }

    /// A non-blocking TCP socket to open a tunnel to `peer` with.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel refuses.
    pub fn tcp_for_tunnel(&self, peer: IpAddr) -> io::Result<Socket> {
        let socket = self.patient(peer, None)?;
        self.tuning.tunnels.apply(&socket)?;
        Ok(socket)
    }

    /// A non-blocking UDP socket of the family of `destination`, for DNS questions to the pod's own servers.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel refuses.
    pub fn udp(&self, destination: IpAddr) -> io::Result<Socket> {
        self.make(destination, Type::DGRAM, Protocol::UDP)
    }

    /// How its sockets are set.
    pub const fn tuning(&self) -> &SocketTuning {
        &self.tuning
    }

    /// The namespace that sockets are made in.
    pub const fn netns(&self) -> &Arc<PodNetns> {
        &self.netns
    }

    /// A TCP socket that waits for acknowledgements as long as the kernel does.
    fn patient(&self, destination: IpAddr, source: Option<SocketAddr>) -> io::Result<Socket> {
        let socket = self.make(destination, Type::STREAM, Protocol::TCP)?;
        self.tuning.apply(&socket)?;
        if let Some(source) = source {
            bind_foreign(&socket, source)?;
        }
        Ok(socket)
    }

    fn make(&self, destination: IpAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let domain = if destination.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        // Only socket(2) decides on the namespace; options are set outside of it.
        let socket = in_netns(&self.netns, || Socket::new(domain, kind.nonblocking(), Some(protocol)))?;
        socket.set_mark(self.mark)?;
        Ok(socket)
    }
}

impl SocketTuning {
    /// Sets the options on a TCP socket: these, and no delay.
    ///
    /// # Errors
    /// What setsockopt(2) reports.
    pub fn apply(&self, socket: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(socket);
        let keepalive = TcpKeepalive::new()
            .with_time(self.keepalive)
            .with_interval(self.keepalive)
            .with_retries(self.keepalive_probes);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&keepalive)
    }

    /// Sets what holds beyond that for a connection in plaintext with somebody elsewhere. Within a pod nobody vanishes,
    /// and tunnels have pings.
    ///
    /// # Errors
    /// What setsockopt(2) reports.
    pub fn apply_in_plaintext(&self, socket: &impl AsFd) -> io::Result<()> {
        self.unacknowledged.map_or(Ok(()), |limit| SockRef::from(socket).set_tcp_user_timeout(Some(limit)))
    }
}

impl Default for SocketTuning {
    fn default() -> Self {
        Self {
            keepalive: Duration::from_secs(180),
            keepalive_probes: 9,
            unacknowledged: None,
            tunnels: CongestionControl::CUBIC,
        }
    }
}

/// Where a redirected connection was going. For one that was not redirected: its local address.
///
/// # Errors
/// When the kernel does not know the connection (any more).
pub fn original_destination(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let socket = SockRef::from(socket);
    let local = plain(socket.local_addr()?.as_socket())?;
    let original = if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    plain(original?.as_socket())
}

/// The address without the IPv6 clothes that IPv4 wears on a socket that serves both families.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn plain(address: Option<SocketAddr>) -> io::Result<SocketAddr> {
    address.map(canonical).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn bind_foreign(socket: &Socket, source: SocketAddr) -> io::Result<()> {
    if source.is_ipv4() {
        socket.set_ip_transparent_v4(true)?;
    } else {
        socket.set_ip_transparent_v6(true)?;
    }
    if source.port() == 0 {
        // The port is chosen by connect, so that only the 4-tuple must be free and not the port.
        setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?;
    }
    // Such a connection never leaves the namespace. Saying so lets the kernel use a port again a second after its
    // connection ended (net.ipv4.tcp_tw_reuse = 2) and not a minute: else 28,000 connections of one client to one
    // port of the pod would be all there is in a minute.
    socket.bind_device(Some(b"lo"))?;
    socket.bind(&source.into())
}
