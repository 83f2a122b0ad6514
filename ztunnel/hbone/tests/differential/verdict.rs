//! What our server and the h2 crate's think of the same bytes.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use h2::server;
use hbone::h2::{ConnectResponse, Connection, Event, Limits, StreamId};
use http::uri::Authority;
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, LocalSet};

use crate::frame::{self, Frame};

/// What a server says to what it was just told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    /// A stream is reset with this code.
    Stream(u32, u32),
    /// The connection is ended with this code.
    Connection(u32),
}

impl Verdict {
    /// Whether this is `other` but for the code, or a connection's end for a stream's (RFC 9113 §5.4.1 leaves that to
    /// the server).
    pub(crate) const fn is_as_strict_as(self, other: Self) -> bool {
        match (self, other) {
            (Self::Accepted, Self::Accepted)
            | (Self::Connection(_), Self::Connection(_) | Self::Stream(..)) => true,
            (Self::Stream(one, _), Self::Stream(other, _)) => one == other,
            _ => false,
        }
    }
}

/// Both servers, side by side.
pub(crate) struct Judges {
    ours: Ours,
    theirs: Theirs,
}

impl Judges {
    /// Runs `test` with two servers that have seen nothing yet.
    pub(crate) fn with<T>(test: impl AsyncFnOnce(Self) -> T) -> T {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let judges = Self { ours: Ours::new(), theirs: Theirs::new() };
            test(judges).await
        })
    }

    /// Tells both the same.
    pub(crate) async fn hear(&mut self, bytes: &[u8]) -> [Verdict; 2] {
        [self.ours.hear(bytes), self.theirs.hear(bytes).await]
    }

    /// Whether a stream that was open once is not any more.
    pub(crate) fn is_closed(&self, number: u32) -> bool {
        number % 2 == 1 && number <= self.ours.highest && !self.ours.open.contains_key(&number)
    }

    /// Whether the latest request's authority is none by RFC 3986.
    pub(crate) fn latest_target_is_none(&self) -> bool {
        self.ours.latest_authority.parse::<Authority>().is_err()
    }
}

/// Answers every request with 200, takes what comes, and says nothing else.
struct Ours {
    codec: Connection,
    /// Streams, and whether their client has ended its half.
    open: HashMap<u32, (StreamId, bool)>,
    highest: u32,
    latest_authority: String,
}

impl Ours {
    fn new() -> Self {
        let limits =
            Limits { stream_window: 0, connection_window: 0, max_frame_size: 0, ..Limits::default() };
        Self {
            codec: Connection::server(limits),
            open: HashMap::new(),
            highest: 0,
            latest_authority: String::new(),
        }
    }

    fn hear(&mut self, mut bytes: &[u8]) -> Verdict {
        while let Ok(Some(event)) = self.codec.next_event(&mut bytes) {
            match event {
                Event::Request { stream, request, .. } => {
                    self.latest_authority = request.authority.into();
                    self.highest = stream.number();
                    self.open.insert(stream.number(), (stream, false));
                    self.codec.respond(stream, &ConnectResponse::new(200), false);
                }
                Event::EndStream { stream, .. } => {
                    self.open.insert(stream.number(), (stream, true));
                }
                Event::Reset { stream, .. } => {
                    self.open.remove(&stream.number());
                }
                _ => {}
            }
        }
        let said = std::mem::take(self.codec.control());
        let verdict = verdict(&said);
        if let Verdict::Stream(number, _) = verdict {
            self.highest = self.highest.max(number);
        }
        verdict
    }
}

/// The same by the h2 crate.
struct Theirs {
    socket: DuplexStream,
    _server: JoinHandle<()>,
}

impl Theirs {
    fn new() -> Self {
        let (socket, far) = duplex(1 << 20);
        Self { socket, _server: tokio::task::spawn_local(serve(far)) }
    }

    async fn hear(&mut self, bytes: &[u8]) -> Verdict {
        let gone = self.socket.write_all(bytes).await.is_err();
        // Until the server has nothing left to do: the clock of the test stands still before.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut said = Vec::new();
        while let Ok(Ok(1..)) =
            tokio::time::timeout(Duration::from_millis(1), self.socket.read_buf(&mut said)).await
        {}
        let verdict = verdict(&said);
        assert!(!gone || verdict != Verdict::Accepted, "it has gone without a word");
        verdict
    }
}

async fn serve(socket: DuplexStream) {
    let mut builder = server::Builder::new();
    builder
        .initial_connection_window_size(4 * 65_535)
        .max_concurrent_streams(256)
        .max_header_list_size(16_384);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    let mut streams = Vec::new();
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        let request: Request<h2::RecvStream> = request;
        if let Ok(send) = answer.send_response(Response::new(()), false) {
            // Dropped, it would be reset.
            streams.push((request, send));
        }
    }
}

/// The first thing that is wrong by what was said.
fn verdict(mut said: &[u8]) -> Verdict {
    let mut verdict = Verdict::Accepted;
    while let Some(frame) = Frame::take(&mut said) {
        match frame.kind {
            frame::GOAWAY if frame.number(4) != 0 => return Verdict::Connection(frame.number(4)),
            frame::RST_STREAM => verdict = Verdict::Stream(frame.stream, frame.number(0)),
            _ => {}
        }
    }
    verdict
}
