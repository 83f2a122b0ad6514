//! From a fresh socket to an established connection.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use certs::{ClientTls, PeerError, ServerTls};
use identity::SpiffeId;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ExtractedSecrets, HandshakeKind, ServerConfig};

use crate::socket::Socket;

use super::keys::UnsupportedSuite;
use super::{HEADER, KeySchedule, MAX_RECEIVED, Records};

/// A connection whose peer has proved an identity that we accept.
#[derive(Debug)]
pub struct Established {
    /// The socket, with nothing left to send.
    pub socket: Socket,
    /// Seals and opens its records.
    pub records: Records,
    /// Sealed bytes that came behind the handshake: the first to be opened.
    pub received: Vec<u8>,
    /// Who the peer is.
    pub peer: SpiffeId,
    /// The peer's certificates, leaf first.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// Whether a ticket took the place of certificates on the wire.
    pub resumed: bool,
}

/// Why a handshake did not end well.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer closed the connection within the handshake.
    #[error("peer closed the connection within the handshake")]
    Closed,
    /// The socket failed.
    #[error("socket failed within the handshake")]
    Io(#[source] io::Error),
    /// The peer did not agree on `h2`.
    #[error("peer did not agree on the application protocol h2")]
    NoH2,
    /// The peer sends more than any handshake needs.
    #[error("handshake is longer than {MAX_INPUT} bytes")]
    Overflow,
    /// The peer is none that we accept.
    #[error("peer is not accepted")]
    Peer(#[source] PeerError),
    /// A cipher suite that our configurations don't offer.
    #[error(transparent)]
    Suite(#[from] UnsupportedSuite),
    /// rustls refused: a protocol error, an unacceptable peer, or an alert from it.
    #[error("tls handshake was refused")]
    Tls(#[source] rustls::Error),
}

/// Runs a client's handshake on `socket`. `destination` only tells one peer's tickets from another's.
///
/// # Errors
/// When the peer isn't one that `tls` accepts, or doesn't speak as it should. An alert has been sent then.
///
/// # Cancel safety
/// Dropping the future closes the socket. The caller sets the deadline.
pub async fn connect(
    socket: Socket,
    tls: &ClientTls,
    destination: IpAddr,
) -> Result<Established, HandshakeError> {
    connect_with(socket, tls.config(), destination, |chain| tls.admit(chain, UnixTime::now())).await
}

/// [`connect`], where `admit` says whether the peer counts when the handshake is over.
pub(super) async fn connect_with(
    socket: Socket,
    config: &Arc<ClientConfig>,
    destination: IpAddr,
    admit: impl Fn(&[CertificateDer<'_>]) -> Result<SpiffeId, PeerError>,
) -> Result<Established, HandshakeError> {
    let name = ServerName::IpAddress(destination.into());
    let connection = UnbufferedClientConnection::new(config.clone(), name).map_err(HandshakeError::Tls)?;
    let mut handshake = Handshake::new(connection);
    handshake.run(&socket).await?;
    handshake.finish(socket, admit)
}

/// Runs a server's handshake on `socket`.
///
/// # Errors
/// When the peer isn't one that `tls` accepts, or doesn't speak as it should. An alert has been sent then.
///
/// # Cancel safety
/// Dropping the future closes the socket. The caller sets the deadline.
pub async fn accept(socket: Socket, tls: &ServerTls) -> Result<Established, HandshakeError> {
    accept_with(socket, tls.config(), |chain| tls.admit(chain, UnixTime::now())).await
}

/// [`accept`], where `admit` says whether the peer counts when the handshake is over.
pub(super) async fn accept_with(
    socket: Socket,
    config: &Arc<ServerConfig>,
    admit: impl Fn(&[CertificateDer<'_>]) -> Result<SpiffeId, PeerError>,
) -> Result<Established, HandshakeError> {
    let connection = UnbufferedServerConnection::new(config.clone()).map_err(HandshakeError::Tls)?;
    let mut handshake = Handshake::new(connection);
    handshake.run(&socket).await?;
    handshake.finish(socket, admit)
}

/// What client and server have in common before rustls hands over its keys.
trait Side: std::ops::Deref<Target: std::ops::Deref<Target = CommonState>> {
    /// What rustls calls this side.
    type Data;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn into_kernel(self) -> Result<(ExtractedSecrets, KernelConnection<Self::Data>), rustls::Error>;
    fn schedule(kernel: KernelConnection<Self::Data>) -> KeySchedule;
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn into_kernel(self) -> Result<(ExtractedSecrets, KernelConnection<Self::Data>), rustls::Error> {
        self.dangerous_into_kernel_connection()
    }

    fn schedule(kernel: KernelConnection<Self::Data>) -> KeySchedule {
        KeySchedule::Client(kernel)
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn into_kernel(self) -> Result<(ExtractedSecrets, KernelConnection<Self::Data>), rustls::Error> {
        self.dangerous_into_kernel_connection()
    }

    fn schedule(kernel: KernelConnection<Self::Data>) -> KeySchedule {
        KeySchedule::Server(kernel)
    }
}

/// A handshake in progress.
///
/// rustls is shown one record at a time: what it has seen it decrypts, and records behind the handshake are for
/// [`Records`] alone.
struct Handshake<S> {
    connection: S,
    /// Received bytes that rustls has not taken yet.
    input: Vec<u8>,
    /// How many of them rustls has been shown.
    shown: usize,
    /// All bytes received so far.
    received: usize,
    output: Vec<u8>,
}

/// What has to happen before a handshake can go on.
enum Step {
    Finished,
    Receive,
}

/// What rustls said, free of its borrows.
enum Said {
    Again,
    Finished,
    Receive,
    Failed(HandshakeError),
}

impl<S: Side> Handshake<S> {
    fn new(connection: S) -> Self {
        Self { connection, input: Vec::new(), shown: 0, received: 0, output: Vec::new() }
    }

    async fn run(&mut self, socket: &Socket) -> Result<(), HandshakeError> {
        loop {
            let step = self.step();
            let sent = self.send(socket).await;
            match (step?, sent) {
                (_, Err(error)) => return Err(HandshakeError::Io(error)),
                (Step::Finished, Ok(())) => return Ok(()),
                (Step::Receive, Ok(())) => self.receive(socket).await?,
            }
        }
    }

    /// Goes on as far as the received bytes allow. What is to be sent is in `output`, an alert included.
    fn step(&mut self) -> Result<Step, HandshakeError> {
        loop {
            match self.process() {
                Said::Again => {}
                Said::Finished => return Ok(Step::Finished),
                Said::Receive if self.show_next_record() => {}
                Said::Receive => return Ok(Step::Receive),
                Said::Failed(error) => {
                    // What rustls has queued, an alert at last, it yields before it looks at the input. It must
                    // not look again: it has refused what is there.
                    while self.connection.wants_write() && matches!(self.process(), Said::Again) {}
                    return Err(error);
                }
            }
        }
    }

    fn process(&mut self) -> Said {
        let UnbufferedStatus { discard, state } = self.connection.process(&mut self.input[..self.shown]);
        let said = match state {
            Ok(ConnectionState::EncodeTlsData(chunk)) => {
                encode(chunk, &mut self.output);
                Said::Again
            }
            Ok(ConnectionState::TransmitTlsData(transmit)) => {
                transmit.done();
                Said::Again
            }
            Ok(ConnectionState::BlockedHandshake) => Said::Receive,
            Ok(ConnectionState::WriteTraffic(_)) => Said::Finished,
            // Early data is never accepted, and data behind the handshake never shown.
            Ok(_) => Said::Failed(HandshakeError::Closed),
            Err(error) => Said::Failed(error.into()),
        };
        self.input.drain(..discard);
        self.shown -= discard;
        said
    }

    /// Shows rustls one record more. False when no whole one was received.
    fn show_next_record(&mut self) -> bool {
        let Some(&[kind, _, _, high, low]) = self.input[self.shown..].first_chunk::<HEADER>() else {
            return false;
        };
        let end = self.shown + HEADER + usize::from(u16::from_be_bytes([high, low]));
        if !CONTENT_TYPES.contains(&kind) || end - self.shown > MAX_RECEIVED {
            // No TLS: rustls refuses such a header by itself, and there may never be more than that.
            self.shown = self.input.len();
            return true;
        }
        if self.input.len() < end {
            return false;
        }
        self.shown = end;
        true
    }

    async fn receive(&mut self, socket: &Socket) -> Result<(), HandshakeError> {
        let filled = self.input.len();
        self.input.resize(filled + READ, 0);
        let count = poll_fn(|cx| socket.poll_recv(cx, &mut self.input[filled..])).await;
        let count = count.map_err(HandshakeError::Io)?;
        self.input.truncate(filled + count);
        self.received += count;
        match count {
            0 => Err(HandshakeError::Closed),
            _ if self.received > MAX_INPUT => Err(HandshakeError::Overflow),
            _ => Ok(()),
        }
    }

    async fn send(&mut self, socket: &Socket) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.output.len() {
            sent += poll_fn(|cx| socket.poll_send(cx, &self.output[sent..])).await?;
        }
        self.output.clear();
        Ok(())
    }

    fn finish(
        self,
        socket: Socket,
        admit: impl Fn(&[CertificateDer<'_>]) -> Result<SpiffeId, PeerError>,
    ) -> Result<Established, HandshakeError> {
        let Self { connection, input, .. } = self;
        if connection.alpn_protocol() != Some(b"h2") {
            return Err(HandshakeError::NoH2);
        }
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let chain = connection.peer_certificates().unwrap_or_default();
        let peer = admit(chain).map_err(HandshakeError::Peer)?;
        let peer_certificates = chain.to_vec();
        let (secrets, kernel) = connection.into_kernel().map_err(HandshakeError::Tls)?;
        let records = Records::new(secrets, S::schedule(kernel))?;
        Ok(Established { socket, records, received: input, peer, peer_certificates, resumed })
    }
}

impl From<rustls::Error> for HandshakeError {
    fn from(error: rustls::Error) -> Self {
        match PeerError::from_rustls(&error) {
            Some(refused) => Self::Peer(refused),
            None => Self::Tls(error),
        }
    }
}

/// Appends what rustls has to send to `output`.
fn encode<D>(mut chunk: EncodeTlsData<'_, D>, output: &mut Vec<u8>) {
    let start = output.len();
    let Err(EncodeError::InsufficientSize(needed)) = chunk.encode(&mut []) else { return };
    output.resize(start + needed.required_size, 0);
    chunk.encode(&mut output[start..]).expect("the size is the one that rustls asked for");
}

/// ChangeCipherSpec, alert, handshake and application data (RFC 8446 §B.1).
const CONTENT_TYPES: std::ops::RangeInclusive<u8> = 20..=23;

/// Bytes asked of the socket at once. A whole flight with an ML-KEM share and a chain of three fits.
const READ: usize = 8 * 1024;

/// Most bytes received within one handshake: 64 KiB is what rustls takes as a chain, and the rest is small.
/// What a client sends right behind its handshake counts too, so there is room for a first flight of data.
const MAX_INPUT: usize = 160 * 1024;
