mod bulk;
mod handshakes;
mod hostile;
mod resumption;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use certs::{Authority, Bundles, ClientTls, Credential, IdentityConfigs, LeafKey, LeafRequest, TrustBundle};
use identity::SpiffeId;
use rustls::pki_types::{ServerName, UnixTime};
use socket2::{Domain, Socket as RawSocket, Type};

use super::{Established, HEADER, Opened, RecordError, Records, TRAILER};
use crate::socket::Socket;

pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// A mesh of one trust domain and two workloads.
pub(crate) struct Mesh {
    pub(super) client: IdentityConfigs,
    pub(super) server: IdentityConfigs,
    pub(super) bundles: Arc<Bundles>,
}

impl Mesh {
    pub(crate) fn new() -> Self {
        let authority = Authority::ephemeral("cluster.local").unwrap();
        let root = TrustBundle::new(vec![authority.root().clone()]).unwrap();
        let bundles = Arc::new(Bundles::from_iter([("cluster.local".parse().unwrap(), root)]));
        let configs = |service_account| {
            IdentityConfigs::new(Arc::new(credential(&authority, service_account)), bundles.clone(), 1)
                .unwrap()
        };
        Self { client: configs("client"), server: configs("server"), bundles }
    }

    /// The client's configuration for peers of `service_account`.
    pub(super) fn towards(&self, service_account: &str) -> Arc<ClientTls> {
        self.client.client(&"pod-1".into(), &id(service_account).into()).unwrap()
    }
}

pub(super) fn id(service_account: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/test/sa/{service_account}").parse().unwrap()
}

fn credential(authority: &Authority, service_account: &str) -> Credential {
    credential_of(authority, &id(service_account))
}

pub(super) fn credential_of(authority: &Authority, identity: &SpiffeId) -> Credential {
    let key = LeafKey::generate().unwrap();
    let request = LeafRequest::from_pem(&key.request(identity).unwrap()).unwrap();
    let chain = authority.sign(&request, Duration::from_hours(24), UnixTime::now()).unwrap();
    Credential::new(identity, key, chain).unwrap()
}

pub(crate) fn socket_pair() -> (Socket, RawSocket) {
    let (ours, theirs) = RawSocket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    (Socket::new(ours).unwrap(), theirs)
}

/// Two ends of one connection, both ours.
pub(crate) async fn both_ours(mesh: &Mesh) -> (Established, Established) {
    let (left, right) = socket_pair();
    both_over(mesh, left, Socket::new(right).unwrap()).await
}

/// The same over sockets of the caller's, that lead to each other.
pub(crate) async fn both_over(mesh: &Mesh, left: Socket, right: Socket) -> (Established, Established) {
    let tls = mesh.towards("server");
    let (client, server) =
        tokio::join!(super::connect(left, &tls, ADDRESS), super::accept(right, mesh.server.server()));
    (client.unwrap(), server.unwrap())
}

/// Runs rustls' own buffered server on a thread; `talk` gets it with the handshake done.
pub(super) fn rustls_server<T: Send + 'static>(
    mesh: &Mesh,
    mut socket: RawSocket,
    talk: impl FnOnce(&mut rustls::Stream<'_, rustls::ServerConnection, RawSocket>) -> T + Send + 'static,
) -> JoinHandle<T> {
    let config = mesh.server.server().config().clone();
    std::thread::spawn(move || {
        let mut connection = rustls::ServerConnection::new(config).unwrap();
        connection.complete_io(&mut socket).unwrap();
        talk(&mut rustls::Stream::new(&mut connection, &mut socket))
    })
}

/// Runs rustls' own buffered client on a thread; `talk` gets it with the handshake done.
pub(super) fn rustls_client<T: Send + 'static>(
    mesh: &Mesh,
    mut socket: RawSocket,
    talk: impl FnOnce(&mut rustls::Stream<'_, rustls::ClientConnection, RawSocket>) -> T + Send + 'static,
) -> JoinHandle<T> {
    let config = mesh.towards("server").config().clone();
    std::thread::spawn(move || {
        let name = ServerName::IpAddress(ADDRESS.into());
        let mut connection = rustls::ClientConnection::new(config, name).unwrap();
        connection.complete_io(&mut socket).unwrap();
        talk(&mut rustls::Stream::new(&mut connection, &mut socket))
    })
}

/// What the tests need of a driver: whole messages in and out of an established connection.
pub(crate) struct Driver {
    pub(super) socket: Socket,
    pub(super) records: Records,
    buffer: Vec<u8>,
}

impl From<Established> for Driver {
    fn from(established: Established) -> Self {
        let Established { socket, records, received, .. } = established;
        Self { socket, records, buffer: received }
    }
}

impl Driver {
    pub(crate) async fn write(&mut self, content: &[u8]) {
        let mut wire = Vec::new();
        if self.records.key_update_due() {
            self.records.key_update(&mut wire).unwrap();
        }
        wire.extend(sealed(&mut self.records, content));
        self.write_raw(&wire).await;
    }

    pub(super) async fn write_raw(&mut self, mut wire: &[u8]) {
        while !wire.is_empty() {
            let count = std::future::poll_fn(|cx| self.socket.poll_send(cx, wire)).await.unwrap();
            wire = &wire[count..];
        }
    }

    /// The next `length` bytes of data.
    pub(super) async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut content = Vec::new();
        while content.len() < length {
            match self.next().await {
                Opened::Data { consumed, plaintext } => {
                    content.extend_from_slice(&self.buffer[plaintext]);
                    self.buffer.drain(..consumed);
                }
                other => panic!("{other:?} after {} bytes", content.len()),
            }
        }
        content
    }

    /// The next data or end.
    pub(super) async fn next(&mut self) -> Opened {
        loop {
            match self.records.open(&mut self.buffer).unwrap() {
                Opened::Incomplete { needed } => {
                    assert!(needed > self.buffer.len());
                    self.fill().await;
                }
                Opened::Control { consumed } => drop(self.buffer.drain(..consumed)),
                other => return other,
            }
        }
    }

    /// All data up to the connection's end, however it ends.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            match self.records.open(&mut self.buffer) {
                Ok(Opened::Data { consumed, plaintext }) => {
                    content.extend_from_slice(&self.buffer[plaintext]);
                    self.buffer.drain(..consumed);
                }
                Ok(Opened::Control { consumed }) => drop(self.buffer.drain(..consumed)),
                Ok(Opened::Incomplete { .. }) => {
                    let mut more = [0; 4096];
                    match std::future::poll_fn(|cx| self.socket.poll_recv(cx, &mut more)).await {
                        Ok(count @ 1..) => self.buffer.extend_from_slice(&more[..count]),
                        _ => return content,
                    }
                }
                _ => return content,
            }
        }
    }

    /// Why the peer's bytes end the connection.
    pub(super) async fn error(&mut self) -> RecordError {
        loop {
            match self.records.open(&mut self.buffer) {
                Ok(Opened::Incomplete { .. }) => self.fill().await,
                Ok(Opened::Control { consumed }) => drop(self.buffer.drain(..consumed)),
                Ok(other) => panic!("{other:?}"),
                Err(error) => return error,
            }
        }
    }

    async fn fill(&mut self) {
        let filled = self.buffer.len();
        self.buffer.resize(filled + 20_000, 0);
        let buffer = &mut self.buffer;
        let socket = &self.socket;
        let count = std::future::poll_fn(|cx| socket.poll_recv(cx, &mut buffer[filled..])).await.unwrap();
        assert_ne!(count, 0, "unexpected end");
        self.buffer.truncate(filled + count);
    }
}

pub(super) fn sealed(records: &mut Records, content: &[u8]) -> Vec<u8> {
    let mut record = vec![0; HEADER + content.len() + TRAILER];
    record[HEADER..][..content.len()].copy_from_slice(content);
    let length = records.seal(&mut record, content.len());
    assert_eq!(length, record.len());
    record
}

/// Deterministic sizes and bytes, so that a failure can be repeated.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// xorshift64*.
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

pub(super) fn read_exactly(stream: &mut impl Read, length: usize) -> Vec<u8> {
    let mut content = vec![0; length];
    stream.read_exact(&mut content).unwrap();
    content
}

pub(super) fn write_all(stream: &mut impl Write, content: &[u8]) {
    stream.write_all(content).unwrap();
    stream.flush().unwrap();
}
