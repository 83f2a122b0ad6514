//! What the peer did.

use super::{ConnectRequest, ConnectResponse, ErrorCode, StreamId};

/// What the peer did. `token` is what [`Connection::set_token`](super::Connection::set_token) was given for the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// The peer opens a stream (servers only). It wants a response; give the stream a token before the next event.
    Request {
        /// The stream.
        stream: StreamId,
        /// What it is for. Anything but CONNECT surfaces too, to be refused.
        request: ConnectRequest,
        /// Nothing follows the headers. An [`Event::EndStream`] comes all the same.
        end_stream: bool,
    },
    /// The peer's final answer (clients only).
    Response {
        /// The stream.
        stream: StreamId,
        /// The caller's own name for it.
        token: usize,
        /// The answer.
        response: ConnectResponse,
        /// Nothing follows the headers. An [`Event::EndStream`] comes all the same.
        end_stream: bool,
    },
    /// A piece of payload, never empty. Every byte must be given to
    /// [`Connection::release`](super::Connection::release) once, when it is consumed or thrown away.
    Data {
        /// The stream.
        stream: StreamId,
        /// The caller's own name for it.
        token: usize,
        /// A part of the input.
        payload: &'b [u8],
    },
    /// The peer has closed its half.
    EndStream {
        /// The stream.
        stream: StreamId,
        /// The caller's own name for it.
        token: usize,
    },
    /// The stream is gone: reset by the peer, refused by its GOAWAY, or reset by us because the peer broke its rules.
    Reset {
        /// The stream, no longer valid.
        stream: StreamId,
        /// The caller's own name for it.
        token: usize,
        /// Why.
        code: ErrorCode,
    },
    /// A window that was used up is open again: of one stream, or of the connection for all.
    WindowOpened {
        /// The caller's own name for the stream; none for the connection.
        token: Option<usize>,
    },
    /// The answer to a PING.
    PingAck {
        /// What was given to [`Connection::ping`](super::Connection::ping).
        payload: [u8; 8],
    },
    /// The peer takes no more streams. Streams of ours above `last_stream` follow as [`Event::Reset`] with
    /// REFUSED_STREAM.
    GoAway {
        /// The last stream of ours that the peer handled or may handle.
        last_stream: u32,
        /// Why.
        code: ErrorCode,
    },
    /// The peer changed its settings: windows, or how many streams it allows.
    Settings,
}
