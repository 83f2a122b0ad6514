//! Bytes to events, in pieces of any size.

use super::connection::Connection;
use super::error::ConnectionError;
use super::frame::{self, FRAME_HEADER, FrameHeader, PREFACE};
use super::rules::Place;
use super::streams::{Half, StreamId};
use super::{ErrorCode, Event};

/// Where in the input we are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// Within the client's preface.
    Preface { have: usize },
    /// Within a frame's header.
    Header { have: usize },
    /// Within a short frame, or the short fields at a frame's start.
    Short { frame: FrameHeader, have: usize, need: usize },
    /// Within the payload of DATA.
    Data(DataFrame),
    /// Within a fragment of a header block.
    Fragment { left: u32, padding: u32, end_headers: bool },
    /// Within bytes that mean nothing.
    Skip { left: u32 },
}

/// A DATA frame under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct DataFrame {
    stream: StreamId,
    token: usize,
    left: u32,
    padding: u32,
    end_stream: bool,
}

/// What became of a piece of input.
enum Step<'b> {
    /// It was used up without any event so far.
    Starved,
    /// Nothing to tell, but there may be more.
    Onward,
    Event(Event<'b>),
}

impl Connection {
    pub(super) fn advance<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b>>, ConnectionError> {
        loop {
            if let Some(event) = self.next_due() {
                return Ok(Some(event));
            }
            match self.step(input)? {
                Step::Starved => return Ok(None),
                Step::Onward => {}
                Step::Event(event) => return Ok(Some(event)),
            }
        }
    }

    /// Events that wait behind the one that was reported last.
    fn next_due(&mut self) -> Option<Event<'static>> {
        if let Some(stream) = self.due_end.take() {
            return self.end_of_stream(stream);
        }
        self.next_refusal(self.due_refusals?)
    }

    fn end_of_stream(&mut self, stream: StreamId) -> Option<Event<'static>> {
        let found = self.streams.get_mut(stream)?;
        found.receiving = Half::Ended;
        let token = found.token;
        if found.is_over() {
            self.streams.remove(stream);
        }
        Some(Event::EndStream { stream, token })
    }

    fn step<'b>(&mut self, input: &mut &'b [u8]) -> Result<Step<'b>, ConnectionError> {
        match self.stage {
            Stage::Data(data) => Ok(self.data(data, input)),
            Stage::Header { have } => match self.frame_header(have, input) {
                Some(frame) => self.begin_frame(frame),
                None => Ok(Step::Starved),
            },
            Stage::Short { frame, have, need } => {
                let piece = take(input, need - have);
                self.short[have..have + piece.len()].copy_from_slice(piece);
                let have = have + piece.len();
                if have < need {
                    self.stage = Stage::Short { frame, have, need };
                    return Ok(Step::Starved);
                }
                self.end_short(frame, need)
            }
            Stage::Fragment { left, padding, end_headers } => {
                let piece = take(input, left as usize);
                self.extend_block(piece);
                let left = left - count(piece);
                if left > 0 {
                    self.stage = Stage::Fragment { left, padding, end_headers };
                    return Ok(Step::Starved);
                }
                self.stage = Stage::Skip { left: padding };
                let event = if end_headers { self.finish_block()? } else { None };
                Ok(event.map_or(Step::Onward, Step::Event))
            }
            Stage::Skip { left } => {
                let left = left - count(take(input, left as usize));
                self.stage = if left == 0 { Stage::Header { have: 0 } } else { Stage::Skip { left } };
                Ok(if left == 0 { Step::Onward } else { Step::Starved })
            }
            Stage::Preface { have } => {
                let piece = take(input, PREFACE.len() - have);
                let after = have + piece.len();
                if piece != &PREFACE[have..after] {
                    return Err(ConnectionError::Preface);
                }
                let complete = after == PREFACE.len();
                self.stage =
                    if complete { Stage::Header { have: 0 } } else { Stage::Preface { have: after } };
                Ok(if complete { Step::Onward } else { Step::Starved })
            }
        }
    }

    /// The next frame's header, once it is there as a whole.
    fn frame_header(&mut self, have: usize, input: &mut &[u8]) -> Option<FrameHeader> {
        if have == 0
            && let Some((header, rest)) = input.split_first_chunk::<FRAME_HEADER>()
        {
            *input = rest;
            return Some(FrameHeader::parse(*header));
        }
        let piece = take(input, FRAME_HEADER - have);
        self.header[have..have + piece.len()].copy_from_slice(piece);
        let have = have + piece.len();
        if have < FRAME_HEADER {
            self.stage = Stage::Header { have };
            return None;
        }
        Some(FrameHeader::parse(self.header))
    }

    fn begin_frame<'b>(&mut self, frame: FrameHeader) -> Result<Step<'b>, ConnectionError> {
        self.admit(frame)?;
        let need = match frame.kind {
            frame::DATA if !frame.has(frame::PADDED) => return self.begin_data(frame, None),
            frame::DATA => 1,
            frame::HEADERS => {
                self.admit_headers(frame.stream)?;
                usize::from(frame.has(frame::PADDED)) + if frame.has(frame::PRIORITY_FLAG) { 5 } else { 0 }
            }
            frame::CONTINUATION => {
                self.continue_block(frame)?;
                let end_headers = frame.has(frame::END_HEADERS);
                self.stage = Stage::Fragment { left: frame.length, padding: 0, end_headers };
                return Ok(Step::Onward);
            }
            frame::SETTINGS if frame.length as usize > SHORT => return Err(Self::too_many_settings()),
            frame::GOAWAY => 8,
            frame::SETTINGS | frame::PING | frame::RST_STREAM | frame::WINDOW_UPDATE => frame.length as usize,
            frame::PUSH_PROMISE => return Err(ConnectionError::Push),
            _ => {
                self.idle_frames.spend()?;
                self.stage = Stage::Skip { left: frame.length };
                return Ok(Step::Onward);
            }
        };
        if need > frame.length as usize {
            return Err(ConnectionError::FrameLength { kind: frame.kind, length: frame.length });
        }
        self.stage = Stage::Short { frame, have: 0, need };
        Ok(Step::Onward)
    }

    /// The short part of a frame is there.
    fn end_short<'b>(&mut self, frame: FrameHeader, need: usize) -> Result<Step<'b>, ConnectionError> {
        let padding = if frame.has(frame::PADDED) { u32::from(self.short[0]) } else { 0 };
        match frame.kind {
            frame::DATA => self.begin_data(frame, Some(padding)),
            frame::HEADERS => {
                let behind = frame.length.saturating_sub(u32::try_from(need).unwrap_or(0));
                let left = behind.checked_sub(padding).ok_or(ConnectionError::Padding)?;
                self.begin_block(frame, left)?;
                self.stage = Stage::Fragment { left, padding, end_headers: frame.has(frame::END_HEADERS) };
                Ok(Step::Onward)
            }
            _ => {
                self.stage =
                    Stage::Skip { left: frame.length.saturating_sub(u32::try_from(need).unwrap_or(0)) };
                Ok(self.short_frame(frame)?.map_or(Step::Onward, Step::Event))
            }
        }
    }

    /// The payload of DATA begins; `padding` is none for a frame that has not even room for it.
    fn begin_data<'b>(
        &mut self,
        frame: FrameHeader,
        padding: Option<u32>,
    ) -> Result<Step<'b>, ConnectionError> {
        // A padded frame's first byte says how much padding there is.
        let overhead = padding.map_or(0, |padding| padding + 1);
        let left = frame.length.checked_sub(overhead).ok_or(ConnectionError::Padding)?;
        self.receive.take(frame.length).map_err(|_overrun| ConnectionError::FlowControl)?;
        let in_input = left + padding.unwrap_or(0);
        let stream = match self.place(frame.stream) {
            Place::Open(stream) => stream,
            Place::Closed => {
                self.idle_frames.spend()?;
                self.throw_away(frame.length, in_input);
                return Ok(Step::Onward);
            }
            Place::Idle => return Err(ConnectionError::IdleStream(frame.stream)),
        };
        let Some(found) = self.streams.get_mut(stream) else { return Ok(Step::Onward) };
        let broken = match found.receiving {
            Half::Ended => Some(ErrorCode::STREAM_CLOSED),
            Half::Headers => Some(ErrorCode::PROTOCOL_ERROR),
            Half::Open => {
                found.receive.take(frame.length).err().map(|_overrun| ErrorCode::FLOW_CONTROL_ERROR)
            }
        };
        if let Some(code) = broken {
            self.throw_away(frame.length, in_input);
            return Ok(self.break_stream(stream, code)?.map_or(Step::Onward, Step::Event));
        }
        let token = found.token;
        let end_stream = frame.has(frame::END_STREAM);
        if left > 0 {
            self.idle_frames.earn();
            self.answers.earn();
        } else if !end_stream {
            self.idle_frames.spend()?;
        }
        if overhead > 0 {
            self.release(stream, overhead as usize);
        }
        self.stage =
            Stage::Data(DataFrame { stream, token, left, padding: padding.unwrap_or(0), end_stream });
        Ok(Step::Onward)
    }

    /// Skips the rest of a DATA frame that no one wants; it counted for the connection's window.
    fn throw_away(&mut self, counted: u32, in_input: u32) {
        self.release_connection(counted as usize);
        self.stage = Stage::Skip { left: in_input };
    }

    /// Hands on what there is of a DATA frame's payload.
    fn data<'b>(&mut self, mut data: DataFrame, input: &mut &'b [u8]) -> Step<'b> {
        if self.streams.get(data.stream).is_none() {
            // Reset by us in the meantime. Padding was given back when the frame began.
            self.throw_away(data.left, data.left + data.padding);
            return Step::Onward;
        }
        let payload = take(input, data.left as usize);
        if payload.is_empty() && data.left > 0 {
            return Step::Starved;
        }
        data.left -= count(payload);
        if data.left > 0 {
            self.stage = Stage::Data(data);
        } else {
            if data.end_stream {
                self.due_end = Some(data.stream);
            }
            self.stage =
                if data.padding > 0 { Stage::Skip { left: data.padding } } else { Stage::Header { have: 0 } };
        }
        if payload.is_empty() {
            return Step::Onward;
        }
        Step::Event(Event::Data { stream: data.stream, token: data.token, payload })
    }
}

/// Takes up to `limit` bytes off `input`.
fn take<'b>(input: &mut &'b [u8], limit: usize) -> &'b [u8] {
    let (piece, rest) = input.split_at(limit.min(input.len()));
    *input = rest;
    piece
}

/// The length of a piece that was cut to what a frame had left.
fn count(piece: &[u8]) -> u32 {
    u32::try_from(piece.len()).expect("a frame has less than 2^24 bytes")
}

/// The longest short frame: SETTINGS with 32 entries, of which six are defined.
pub(super) const SHORT: usize = 192;
