//! What each kind of frame means, and when it may come (RFC 9113 §5.1, §6).

use super::connection::{Connection, Role};
use super::error::{ConnectionError, Excess};
use super::frame::{self, FrameHeader};
use super::receive::SHORT;
use super::settings;
use super::streams::{Half, StreamId};
use super::{ErrorCode, Event, goaway};

/// Where a frame's stream is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Open(StreamId),
    /// It was open once.
    Closed,
    /// It was never opened.
    Idle,
}

impl Connection {
    pub(super) fn place(&mut self, id: u32) -> Place {
        if let Some(stream) = self.streams.find(id) {
            return Place::Open(stream);
        }
        let opened = match self.role {
            Role::Client => id < self.next_id,
            Role::Server => id <= self.last_peer_id,
        };
        if opened && id % 2 == 1 { Place::Closed } else { Place::Idle }
    }

    /// Judges a frame by its header: may it come now, for this stream, with this length?
    pub(super) fn admit(&mut self, frame: FrameHeader) -> Result<(), ConnectionError> {
        let FrameHeader { length, kind, stream, .. } = frame;
        if !self.greeted && (kind != frame::SETTINGS || frame.has(frame::ACK)) {
            return Err(ConnectionError::Preface);
        }
        if length > self.limits.max_frame_size {
            return Err(ConnectionError::FrameTooLong(length));
        }
        if self.block.is_some() != (kind == frame::CONTINUATION) {
            return Err(ConnectionError::Continuation);
        }
        let length_fits = match kind {
            frame::PRIORITY => length == 5,
            frame::RST_STREAM | frame::WINDOW_UPDATE => length == 4,
            frame::SETTINGS if frame.has(frame::ACK) => length == 0,
            frame::SETTINGS => (length as usize).is_multiple_of(settings::ENTRY),
            frame::PING => length == 8,
            frame::GOAWAY => length >= 8,
            _ => true,
        };
        if !length_fits {
            return Err(ConnectionError::FrameLength { kind, length });
        }
        let stream_fits = match kind {
            frame::DATA | frame::HEADERS | frame::PRIORITY | frame::RST_STREAM => stream != 0,
            frame::SETTINGS | frame::PING | frame::GOAWAY => stream == 0,
            _ => true,
        };
        if stream_fits { Ok(()) } else { Err(ConnectionError::StreamId { kind, stream }) }
    }

    /// Judges the start of a header block by its stream.
    pub(super) fn admit_headers(&mut self, id: u32) -> Result<(), ConnectionError> {
        match self.place(id) {
            Place::Idle if self.role == Role::Client || id.is_multiple_of(2) => {
                Err(ConnectionError::StreamId { kind: frame::HEADERS, stream: id })
            }
            _ => Ok(()),
        }
    }

    /// A short frame is complete: its first bytes are in `short`.
    pub(super) fn short_frame(
        &mut self,
        frame: FrameHeader,
    ) -> Result<Option<Event<'static>>, ConnectionError> {
        match frame.kind {
            frame::SETTINGS => self.settings(frame),
            frame::PING => self.pinged(frame),
            frame::GOAWAY => {
                self.idle_frames.spend()?;
                let last_stream = self.short_u32(0) & goaway::MAX_STREAM_ID;
                let code = ErrorCode(self.short_u32(4));
                Ok(Some(self.peer_leaves(last_stream, code)))
            }
            frame::RST_STREAM => self.reset_by_peer(frame.stream, ErrorCode(self.short_u32(0))),
            // The reserved bit is ignored.
            _ => self.window_update(frame.stream, self.short_u32(0) & goaway::MAX_STREAM_ID),
        }
    }

    fn short_u32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.short[at..at + 4]);
        u32::from_be_bytes(bytes)
    }

    fn settings(&mut self, frame: FrameHeader) -> Result<Option<Event<'static>>, ConnectionError> {
        self.settings.spend()?;
        if frame.has(frame::ACK) {
            return Ok(None);
        }
        let window_before = i64::from(self.peer.initial_window);
        let length = (frame.length as usize).min(SHORT);
        self.peer.apply(&self.short[..length])?;
        let change = i64::from(self.peer.initial_window) - window_before;
        for stream in self.streams.iter_mut() {
            stream.send.change(change).map_err(|_overflow| ConnectionError::FlowControl)?;
        }
        self.encoder.set_table_size(self.peer.header_table_size as usize);
        self.greeted = true;
        frame::write(&mut self.control, frame::SETTINGS, frame::ACK, 0, &[]);
        Ok(Some(Event::Settings))
    }

    fn pinged(&mut self, frame: FrameHeader) -> Result<Option<Event<'static>>, ConnectionError> {
        let mut payload = [0; 8];
        payload.copy_from_slice(&self.short[..8]);
        if !frame.has(frame::ACK) {
            self.answers.spend()?;
            frame::write_ping(&mut self.control, frame::ACK, payload);
            return Ok(None);
        }
        self.idle_frames.spend()?;
        if goaway::is_leave_ping(payload) {
            self.conclude_leave();
            return Ok(None);
        }
        Ok(Some(Event::PingAck { payload }))
    }

    fn reset_by_peer(&mut self, id: u32, code: ErrorCode) -> Result<Option<Event<'static>>, ConnectionError> {
        let stream = match self.place(id) {
            Place::Open(stream) => stream,
            Place::Closed => return self.idle_frames.spend().map(|()| None),
            Place::Idle => return Err(ConnectionError::IdleStream(id)),
        };
        let Some(removed) = self.streams.remove(stream) else { return Ok(None) };
        if self.role == Role::Server && removed.sending == Half::Headers {
            self.early_resets.spend()?;
        }
        Ok(Some(Event::Reset { stream, token: removed.token, code }))
    }

    fn window_update(&mut self, id: u32, increment: u32) -> Result<Option<Event<'static>>, ConnectionError> {
        if id == 0 {
            if increment == 0 {
                return Err(ConnectionError::ZeroIncrement);
            }
            let opened =
                self.send.change(i64::from(increment)).map_err(|_overflow| ConnectionError::FlowControl)?;
            if opened && increment < WORTHWHILE {
                self.idle_frames.spend()?;
            }
            return Ok(opened.then_some(Event::WindowOpened { token: None }));
        }
        let stream = match self.place(id) {
            Place::Open(stream) => stream,
            // Honest peers send many of these for streams that we have just reset.
            Place::Closed => return self.idle_frames.spend().map(|()| None),
            Place::Idle => return Err(ConnectionError::IdleStream(id)),
        };
        let Some(found) = self.streams.get_mut(stream) else { return Ok(None) };
        if increment == 0 {
            return self.break_stream(stream, ErrorCode::PROTOCOL_ERROR);
        }
        match found.send.change(i64::from(increment)) {
            Ok(opened) => Ok(opened.then_some(Event::WindowOpened { token: Some(found.token) })),
            Err(_overflow) => self.break_stream(stream, ErrorCode::FLOW_CONTROL_ERROR),
        }
    }

    /// Resets a stream whose rules the peer has broken.
    pub(super) fn break_stream(
        &mut self,
        stream: StreamId,
        code: ErrorCode,
    ) -> Result<Option<Event<'static>>, ConnectionError> {
        let Some(removed) = self.streams.remove(stream) else { return Ok(None) };
        frame::write_reset(&mut self.control, stream.id, code);
        // A peer can have streams reset by breaking rules as well as by resetting them (CVE-2025-8671).
        self.early_resets.spend()?;
        Ok(Some(Event::Reset { stream, token: removed.token, code }))
    }

    /// A SETTINGS frame longer than any that makes sense.
    pub(super) const fn too_many_settings() -> ConnectionError {
        ConnectionError::TooMany(Excess::Answers)
    }
}

/// A used-up window of the connection that is opened by less is no honest peer's doing, or a strange one's: it makes all
/// streams try, for one of which there is enough.
const WORTHWHILE: u32 = 256;
