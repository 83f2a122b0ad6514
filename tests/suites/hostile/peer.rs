//! A peer that need not behave: a tunnel's client over rustls, whose frames are written by hand or by our codec.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::{Authority, LeafKey, LeafRequest};
use harness::PATIENCE;
use hbone::h2::{ConnectRequest, Connection, Event, Limits, StreamId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme, StreamOwned,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// Certificates under which a peer shows itself.
pub(crate) struct Credential {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// The client's end of a tunnel.
pub(crate) struct Peer {
    tls: StreamOwned<ClientConnection, TcpStream>,
    h2: Connection,
    streams: Vec<StreamId>,
    said: HashMap<usize, Said>,
    /// The server takes no more streams, and why.
    pub(crate) go_away: Option<u32>,
}

/// What the server said about a stream.
#[derive(Clone, Debug, Default)]
struct Said {
    answer: Option<Answer>,
    payload: Vec<u8>,
}

/// How the server answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(u16),
    Reset(u32),
}

/// What was left of a connection when nothing more came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Errors that GOAWAY frames gave.
    pub(crate) go_away: Vec<u32>,
    /// Errors that RST_STREAM frames gave.
    pub(crate) resets: Vec<u32>,
    /// It was closed, in whatever way.
    pub(crate) closed: bool,
}

impl Credential {
    /// A certificate for an identity, valid for an hour from `from`.
    pub(crate) fn new(authority: &Authority, identity: &str, from: UnixTime) -> Self {
        let identity = identity.parse().expect("a SPIFFE id");
        let key = LeafKey::generate().expect("a key");
        let request = LeafRequest::from_pem(&key.request(&identity).expect("a request")).expect("a request");
        let chain = authority.sign(&request, Duration::from_hours(1), from).expect("a certificate");
        Self { chain, key: key.pkcs8().clone_key() }
    }

    /// The same, with one more certificate behind the others.
    pub(crate) fn with(&self, more: impl Into<CertificateDer<'static>>) -> Self {
        let chain = self.chain.iter().cloned().chain([more.into()]).collect();
        Self { chain, key: self.key.clone_key() }
    }

    /// What a server shows under it, who asks nobody for a certificate and speaks `protocols`.
    pub(crate) fn server(&self, protocols: &[&str]) -> io::Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(io::Error::other)?;
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Peer {
    /// Shakes hands on a connection; without a credential, as somebody without a certificate.
    pub(crate) fn shake(stream: TcpStream, credential: Option<&Credential>) -> io::Result<Self> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody));
        let mut config = match credential {
            Some(it) => config
                .with_client_auth_cert(it.chain.clone(), it.key.clone_key())
                .map_err(io::Error::other)?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("peer.invalid").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut tls = StreamOwned::new(connection, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        let (h2, streams, said) = (Connection::client(Limits::default()), Vec::new(), HashMap::new());
        Ok(Self { tls, h2, streams, said, go_away: None })
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.write_all(bytes)?;
        self.tls.flush()
    }

    /// Writes bytes as they are below TLS, which spoils the session.
    pub(crate) fn write_below_tls(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.sock.write_all(bytes)
    }

    /// Sends a request and hands out its number.
    pub(crate) fn ask(&mut self, request: &ConnectRequest) -> io::Result<usize> {
        let number = self.streams.len();
        let stream = self.h2.open(request).map_err(io::Error::other)?;
        self.h2.set_token(stream, number);
        self.streams.push(stream);
        self.send_control()?;
        Ok(number)
    }

    /// Sends a CONNECT.
    pub(crate) fn connect(&mut self, authority: &impl ToString) -> io::Result<usize> {
        self.ask(&ConnectRequest::new(authority.to_string()))
    }

    /// What the server answers to a request.
    pub(crate) fn answer(&mut self, number: usize) -> io::Result<Answer> {
        loop {
            if let Some(answer) = self.said.get(&number).and_then(|said| said.answer) {
                return Ok(answer);
            }
            self.receive()?;
        }
    }

    /// Sends payload on a stream, to be echoed, and waits for it.
    pub(crate) fn echoed(&mut self, number: usize, payload: &[u8]) -> io::Result<()> {
        let header = self.h2.data_header(self.streams[number], payload.len(), false);
        self.write(&[&header, payload].concat())?;
        loop {
            if let Some(said) = self.said.get_mut(&number)
                && said.payload.len() >= payload.len()
            {
                let heard = std::mem::take(&mut said.payload);
                return if heard == payload { Ok(()) } else { Err(ErrorKind::InvalidData.into()) };
            }
            self.receive()?;
        }
    }

    /// Ends our half of a stream.
    pub(crate) fn end(&mut self, number: usize) -> io::Result<()> {
        let header = self.h2.data_header(self.streams[number], 0, true);
        self.write(&header)
    }

    /// Takes in what comes for so long, or until the connection is closed; says whether it was.
    pub(crate) fn listen(&mut self, within: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.tls.sock.set_read_timeout(Some(left))?;
            match self.receive() {
                Ok(()) => {}
                Err(error) if is_timeout(&error) => return Ok(false),
                Err(_) => return Ok(true),
            }
        }
    }

    /// What comes until the connection is closed, or nothing has come for so long. Answers nothing.
    pub(crate) fn ending(mut self, within: Duration) -> Ending {
        let mut bytes = Vec::new();
        let _gone = self.tls.sock.set_read_timeout(Some(within));
        let closed = loop {
            let mut buffer = [0; 16 * 1024];
            match self.tls.read(&mut buffer) {
                Ok(0) => break true,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if is_timeout(&error) => break false,
                Err(_) => break true,
            }
        };
        let mut ending = Ending { closed, ..Ending::default() };
        let mut rest = &bytes[..];
        while let Some((head, behind)) = rest.split_at_checked(9) {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let Some((payload, behind)) = behind.split_at_checked(length) else { break };
            let code = |at: usize| {
                payload.get(at..at + 4).map(|it| u32::from_be_bytes([it[0], it[1], it[2], it[3]]))
            };
            match head[3] {
                RST_STREAM => ending.resets.extend(code(0)),
                GOAWAY => ending.go_away.extend(code(4)),
                _ => {}
            }
            rest = behind;
        }
        ending
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let count = self.tls.read(&mut buffer)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut input = &buffer[..count];
        let mut taken = Vec::new();
        while let Some(event) = self.h2.next_event(&mut input).map_err(io::Error::other)? {
            match event {
                Event::Response { token, response, .. } => {
                    self.said.entry(token).or_default().answer = Some(Answer::Status(response.status));
                }
                Event::Reset { token, code, .. } => {
                    self.said.entry(token).or_default().answer.get_or_insert(Answer::Reset(code.0));
                }
                Event::Data { stream, token, payload } => {
                    self.said.entry(token).or_default().payload.extend_from_slice(payload);
                    taken.push((stream, payload.len()));
                }
                Event::GoAway { code, .. } => self.go_away = Some(code.0),
                _ => {}
            }
        }
        taken.into_iter().for_each(|(stream, count)| self.h2.release(stream, count));
        self.send_control()
    }

    fn send_control(&mut self) -> io::Result<()> {
        let control = std::mem::take(self.h2.control());
        if control.is_empty() { Ok(()) } else { self.write(&control) }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// Takes whatever certificate the server has.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
