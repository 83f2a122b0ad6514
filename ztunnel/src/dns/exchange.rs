//! Asking name servers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use socket2::{Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::{Instant, timeout};

use super::Query;
use super::wire::{MAX_DATAGRAM, code_of};
use crate::redirect::{OwnSockets, PodSockets};

/// How a query came, and so how it is passed on: a client that asks by TCP wants long answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// Where sockets are made.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In the daemon's own namespace.
    Daemon(OwnSockets),
    /// In a pod's namespace, marked.
    Pod(PodSockets),
}

/// Why nobody answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("no name server answered, the last of {servers}")]
    NoAnswer { servers: usize, source: io::Error },
    #[error("no name server is known")]
    NoServer,
}

/// The answer of the first server that has one. Servers share [`PATIENCE`]; what one says that can't or won't answer
/// counts if no other has an answer.
pub(super) async fn ask(
    place: &Place,
    transport: Transport,
    servers: &[SocketAddr],
    query: &Query,
) -> Result<Vec<u8>, AskError> {
    let deadline = Instant::now() + PATIENCE;
    let (mut unwilling, mut unheard) = (None, None);
    for (left, server) in (1..=servers.len()).rev().zip(servers) {
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let patience = deadline.saturating_duration_since(Instant::now()) / left;
        let asked = timeout(patience, ask_one(place, transport, *server, query));
        match asked.await.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())) {
            Ok(answer) if is_unwilling(&answer) => unwilling = Some(answer),
            Ok(answer) => return Ok(answer),
            Err(error) => unheard = Some(error),
        }
    }
    match (unwilling, unheard) {
        (Some(answer), _) => Ok(answer),
        (None, Some(source)) => Err(AskError::NoAnswer { servers: servers.len(), source }),
        (None, None) => Err(AskError::NoServer),
    }
}

async fn ask_one(
    place: &Place,
    transport: Transport,
    server: SocketAddr,
    query: &Query,
) -> io::Result<Vec<u8>> {
    // Whoever forges an answer must guess this, and the port that the kernel chose.
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::from)?;
    let id = u16::from_ne_bytes(id);
    match transport {
        Transport::Tcp => by_tcp(place.tcp(server.ip())?, server, query, id).await,
        Transport::Udp => by_udp(place.udp(server.ip())?, server, query, id).await,
    }
}

async fn by_udp(socket: Socket, server: SocketAddr, query: &Query, id: u16) -> io::Result<Vec<u8>> {
    // Connected, so that only the server's datagrams come in, and its node's word that nobody listens there.
    socket.connect(&server.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    socket.send(&query.with_id(id)).await?;
    // One more than a datagram may have: what fills it was longer, and is cut off like everything that is.
    let mut buffer = vec![0; MAX_DATAGRAM + 1];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if query.is_answered_by(&buffer[..length], id) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn by_tcp(socket: Socket, server: SocketAddr, query: &Query, id: u16) -> io::Result<Vec<u8>> {
    let mut stream = TcpSocket::from_std_stream(socket.into()).connect(server).await?;
    stream.write_all(&framed(&query.with_id(id))?).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if query.is_answered_by(&answer, id) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// A message as it goes over TCP (RFC 1035 §4.2.2), in one piece (RFC 7766 §8).
pub(super) fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes()[..], message].concat())
}

impl Place {
    fn tcp(&self, server: IpAddr) -> io::Result<Socket> {
        match self {
            Self::Daemon(own) => own.socket(server, Type::STREAM, Protocol::TCP),
            Self::Pod(sockets) => sockets.tcp(server, None),
        }
    }

    fn udp(&self, server: IpAddr) -> io::Result<Socket> {
        match self {
            Self::Daemon(own) => own.socket(server, Type::DGRAM, Protocol::UDP),
            Self::Pod(sockets) => sockets.udp(server),
        }
    }
}

/// Whether a server says that another may do better.
fn is_unwilling(answer: &[u8]) -> bool {
    matches!(code_of(answer), Some(ResponseCode::ServFail | ResponseCode::NotImp | ResponseCode::Refused))
}

/// How long all servers together may take: what clients wait for a server by default.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
