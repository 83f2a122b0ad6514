//! What we do: open, answer, send, give back, reset.

use super::connection::{Connection, Role};
use super::frame::{self, FRAME_HEADER, FrameHeader};
use super::goaway::{Leaving, MAX_STREAM_ID};
use super::hpack::Encoder;
use super::limits::{CONNECTION_PARTS, DEFAULT_WINDOW};
use super::streams::{Half, Stream, StreamId};
use super::window::{ReceiveWindow, SendWindow};
use super::{ConnectRequest, ConnectResponse, ErrorCode, OpenError};

impl Connection {
    /// Opens a stream (clients only). Give it a token at once. A request that is larger than the peer takes goes without
    /// baggage and trace, which only label metrics and logs: the peer might end the connection over it.
    ///
    /// # Errors
    /// When the connection takes no more streams, or the peer no request as large as this even so.
    pub fn open(&mut self, request: &ConnectRequest) -> Result<StreamId, OpenError> {
        self.may_open()?;
        let most = self.peer.longest_header_list();
        let modest;
        let mut request = request;
        if request.list_size() > most as usize {
            modest = request.without_claims();
            request = &modest;
        }
        let size = request.list_size();
        if size > most as usize {
            return Err(OpenError::HeadersTooLarge { size, most });
        }
        let id = self.next_id;
        self.next_id += 2;
        let stream = self.streams.insert(self.new_stream(id, Half::Open, Half::Headers));
        self.write_headers(id, 0, |encoder, out| request.encode(encoder, out));
        Ok(stream)
    }

    /// Whether [`open`](Self::open) would succeed with a request of ordinary size.
    pub fn can_open(&self) -> bool {
        self.may_open().is_ok()
    }

    fn may_open(&self) -> Result<(), OpenError> {
        if self.role == Role::Server || self.leaving != Leaving::No || self.peer_leaving.is_some() {
            return Err(OpenError::GoingAway);
        }
        if self.next_id > MAX_STREAM_ID {
            return Err(OpenError::IdsUsedUp);
        }
        let max = self.max_streams();
        if self.streams.len() >= max as usize { Err(OpenError::TooManyStreams(max)) } else { Ok(()) }
    }

    pub(super) const fn new_stream(&self, id: u32, sending: Half, receiving: Half) -> Stream {
        Stream {
            id,
            token: usize::MAX,
            sending,
            receiving,
            send: SendWindow::new(self.peer.initial_window),
            receive: ReceiveWindow::new(DEFAULT_WINDOW),
        }
    }

    /// Answers a request, once (servers only); with `end_stream`, nothing follows. No effect on a stream that is gone.
    pub fn respond(&mut self, stream: StreamId, response: &ConnectResponse, end_stream: bool) {
        let Some(found) = self.streams.get_mut(stream) else { return };
        if found.sending != Half::Headers {
            return;
        }
        found.sending = if end_stream { Half::Ended } else { Half::Open };
        let is_over = found.is_over();
        self.early_resets.earn();
        let flags = if end_stream { frame::END_STREAM } else { 0 };
        let most = self.peer.longest_header_list();
        self.write_headers(stream.id, flags, |encoder, out| response.encode(encoder, out, most));
        if is_over {
            self.streams.remove(stream);
        }
    }

    /// How much payload may be sent at once: what the stream's and the connection's windows leave. Nothing for a
    /// stream that is gone, not yet answered, or ended by us.
    pub fn send_capacity(&self, stream: StreamId) -> usize {
        match self.streams.get(stream) {
            Some(stream) if stream.sending == Half::Open => {
                stream.send.available().min(self.send.available())
            }
            _ => 0,
        }
    }

    /// Payload that the peer takes in one frame, 16,384 bytes at least.
    pub const fn max_frame_size(&self) -> usize {
        self.peer.max_frame_size as usize
    }

    /// The header of a DATA frame with `length` bytes, at most [`send_capacity`](Self::send_capacity) and
    /// [`max_frame_size`](Self::max_frame_size): the caller sends the payload behind it. `end_stream` ends our half.
    ///
    /// For a stream that is gone, the header is that of an extension frame, which the peer ignores (RFC 9113 §5.5).
    pub fn data_header(&mut self, stream: StreamId, length: usize, end_stream: bool) -> [u8; FRAME_HEADER] {
        let frame_length = u32::try_from(length).unwrap_or(u32::MAX);
        let Some(found) = self.streams.get_mut(stream).filter(|found| found.sending == Half::Open) else {
            return FrameHeader { length: frame_length, kind: IGNORED, flags: 0, stream: 0 }.to_bytes();
        };
        debug_assert!(
            length <= found.send.available().min(self.send.available()),
            "the caller asked for capacity"
        );
        found.send.spend(length);
        self.send.spend(length);
        let mut flags = 0;
        if end_stream {
            flags = frame::END_STREAM;
            found.sending = Half::Ended;
            if found.is_over() {
                self.streams.remove(stream);
            }
        }
        FrameHeader { length: frame_length, kind: frame::DATA, flags, stream: stream.id }.to_bytes()
    }

    /// Gives back `count` bytes of received payload: consumed, or thrown away. Also for a stream that is gone, whose
    /// bytes still count for the connection.
    pub fn release(&mut self, stream: StreamId, count: usize) {
        self.release_connection(count);
        if let Some(increment) = self.streams.release(stream, count) {
            frame::write_window_update(&mut self.control, stream.id, increment);
        }
    }

    pub(super) fn release_connection(&mut self, count: usize) {
        if let Some(increment) = self.receive.release(count, CONNECTION_PARTS) {
            frame::write_window_update(&mut self.control, 0, increment);
        }
    }

    /// Ends a stream in both directions. No effect on one that is gone.
    pub fn reset(&mut self, stream: StreamId, code: ErrorCode) {
        if self.streams.remove(stream).is_some() {
            frame::write_reset(&mut self.control, stream.id, code);
        }
    }

    /// Asks the peer for an [`Event::PingAck`](super::Event::PingAck).
    pub fn ping(&mut self, payload: [u8; 8]) {
        frame::write_ping(&mut self.control, 0, payload);
    }

    /// Appends HEADERS, and CONTINUATION where the peer's frame size asks for it.
    fn write_headers(&mut self, stream: u32, flags: u8, encode: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        let mut block = Vec::new();
        self.encoder.begin(&mut block);
        encode(&mut self.encoder, &mut block);
        let mut kind = frame::HEADERS;
        let mut flags = flags;
        let mut rest = &block[..];
        loop {
            let (fragment, behind) = rest.split_at(rest.len().min(self.max_frame_size()));
            rest = behind;
            if rest.is_empty() {
                flags |= frame::END_HEADERS;
            }
            frame::write(&mut self.control, kind, flags, stream, fragment);
            if rest.is_empty() {
                break;
            }
            kind = frame::CONTINUATION;
            flags = 0;
        }
    }
}

/// A frame type that nobody has defined.
const IGNORED: u8 = 0xfa;
