//! The kernel's table of TCP sockets in one network namespace.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use nix::libc;
use nix::sys::socket::SockProtocol;

use super::{Exchange, NetlinkSocket, Request};

/// The TCP sockets of the namespace in which it was opened.
#[derive(Debug)]
pub struct TcpTable {
    netlink: NetlinkSocket,
}

/// A TCP socket as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// Its end.
    pub local: SocketAddr,
    /// The other end; unspecified for a listening socket.
    pub remote: SocketAddr,
    /// Its state, as `TCP_*` of the kernel.
    pub state: u8,
    /// Its inode, which fstat(2) reports of its descriptor. 0 when no process holds it.
    pub inode: u64,
}

impl TcpTable {
    /// Opens the table of the calling thread's namespace.
    ///
    /// # Errors
    /// What the socket calls report.
    pub fn open() -> io::Result<Self> {
        Ok(Self { netlink: NetlinkSocket::open(SockProtocol::NetlinkSockDiag)? })
    }

    /// The socket that the kernel would hand a segment from `remote` to `local`: the connection of these two ends,
    /// or else a listening socket, so compare what comes back.
    ///
    /// # Errors
    /// When the kernel does not answer. That there is no such socket is not an error.
    pub fn find(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<TcpSocket>> {
        let mut found = None;
        let request = Request::new(SOCK_DIAG_BY_FAMILY, 0).header(&exact(local, remote));
        match self.netlink.ask(request, Exchange::One, |message| found = TcpSocket::parse(message.payload)) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            result => result.map(|()| found),
        }
    }

    /// Every listening socket.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn listening(&self) -> io::Result<Vec<TcpSocket>> {
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let mut header = [0; REQUEST];
            header[..2].copy_from_slice(&[family, IPPROTO_TCP]);
            header[4..8].copy_from_slice(&(1_u32 << LISTEN).to_ne_bytes());
            let request = Request::new(SOCK_DIAG_BY_FAMILY, libc::NLM_F_DUMP).header(&header);
            match self
                .netlink
                .ask(request, Exchange::Dump, |message| found.extend(TcpSocket::parse(message.payload)))
            {
                // A kernel without that family has no sockets of it.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                result => result?,
            }
        }
        Ok(found)
    }
}

impl TcpSocket {
    /// Reads `struct inet_diag_msg`, the payload of the kernel's answer; none if it is cut short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let &family = payload.first()?;
        let end = |port: usize, ip: usize| {
            let port = u16::from_be_bytes(*payload.get(port..)?.first_chunk()?);
            let raw: [u8; 16] = *payload.get(ip..)?.first_chunk()?;
            let ip = match family {
                AF_INET => IpAddr::from([raw[0], raw[1], raw[2], raw[3]]),
                _ => Ipv6Addr::from(raw).to_canonical(),
            };
            Some(SocketAddr::new(ip, port))
        };
        let inode = u32::from_ne_bytes(*payload.get(68..)?.first_chunk()?);
        let state = *payload.get(1)?;
        Some(Self { local: end(4, 8)?, remote: end(6, 24)?, state, inode: inode.into() })
    }
}

/// `struct inet_diag_req_v2` for one connection.
fn exact(local: SocketAddr, remote: SocketAddr) -> [u8; REQUEST] {
    let mut header = [0; REQUEST];
    header[..2].copy_from_slice(&[if local.is_ipv4() { AF_INET } else { AF_INET6 }, IPPROTO_TCP]);
    header[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    header[8..10].copy_from_slice(&local.port().to_be_bytes());
    header[10..12].copy_from_slice(&remote.port().to_be_bytes());
    put(&mut header[12..28], local.ip());
    put(&mut header[28..44], remote.ip());
    // INET_DIAG_NOCOOKIE
    header[48..56].fill(0xff);
    header
}

fn put(into: &mut [u8], ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => into[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => into.copy_from_slice(&ip.octets()),
    }
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Size of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// `TCP_LISTEN`.
const LISTEN: u8 = 10;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_and_listeners_are_found() {
        for ip in ["127.0.0.1", "::1"] {
            let listener = TcpListener::bind((ip, 0)).unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (local, remote) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            let table = TcpTable::open().unwrap();
            let found = table.find(local, remote).unwrap().unwrap();
            assert_eq!((found.local, found.remote, found.state), (local, remote, 1));
            let all = table.listening().unwrap();
            assert!(all.iter().any(|it| it.local == remote && it.state == LISTEN));
            let stranger = SocketAddr::new(local.ip(), 1);
            assert_eq!(table.find(stranger, local).unwrap(), None);
        }
    }

    #[test]
    fn cut_answers_yield_nothing() {
        for length in 0..72 {
            assert_eq!(TcpSocket::parse(&[2; 72][..length]), None);
        }
    }
}
