//! Header blocks: HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10).

use super::connection::{Connection, Role};
use super::error::{ConnectionError, Excess};
use super::frame::{self, FrameHeader};
use super::goaway::Leaving;
use super::message::HeaderList;
use super::rules::Place;
use super::streams::{Half, StreamId};
use super::{ErrorCode, Event};

/// A header block under way.
#[derive(Debug)]
pub(super) struct HeaderBlock {
    pub(super) stream: u32,
    end_stream: bool,
    continuations: u32,
    bytes: Vec<u8>,
}

impl Connection {
    /// A HEADERS frame begins; `fragment` bytes of header block are in it.
    pub(super) fn begin_block(&mut self, frame: FrameHeader, fragment: u32) -> Result<(), ConnectionError> {
        if fragment > self.limits.max_header_block() {
            return Err(ConnectionError::HeadersTooLarge);
        }
        self.block = Some(HeaderBlock {
            stream: frame.stream,
            end_stream: frame.has(frame::END_STREAM),
            continuations: 0,
            // What is announced is not there yet.
            bytes: Vec::with_capacity(fragment.min(self.limits.max_header_list) as usize),
        });
        Ok(())
    }

    /// A CONTINUATION frame begins.
    pub(super) fn continue_block(&mut self, frame: FrameHeader) -> Result<(), ConnectionError> {
        let Some(block) = self.block.as_mut().filter(|block| block.stream == frame.stream) else {
            return Err(ConnectionError::Continuation);
        };
        block.continuations += 1;
        if block.continuations > self.limits.max_continuations {
            return Err(ConnectionError::TooMany(Excess::Continuations));
        }
        if block.bytes.len() + frame.length as usize > self.limits.max_header_block() as usize {
            return Err(ConnectionError::HeadersTooLarge);
        }
        Ok(())
    }

    pub(super) fn extend_block(&mut self, fragment: &[u8]) {
        if let Some(block) = &mut self.block {
            block.bytes.extend_from_slice(fragment);
        }
    }

    /// The header block is complete.
    pub(super) fn finish_block(&mut self) -> Result<Option<Event<'static>>, ConnectionError> {
        let Some(block) = self.block.take() else { return Ok(None) };
        let mut list = HeaderList::new(self.limits.max_header_list);
        // Also for streams that nobody wants: the tables must stay the same at both ends.
        self.decoder.decode(&block.bytes, |name, value| list.add(name, value))?;
        if list.is_a_bomb() {
            return Err(ConnectionError::HeadersTooLarge);
        }
        match self.place(block.stream) {
            Place::Open(stream) => self.headers_on_stream(stream, list, block.end_stream),
            Place::Closed => self.idle_frames.spend().map(|()| None),
            Place::Idle => self.request(block.stream, list, block.end_stream),
        }
    }

    /// A client opens a stream.
    fn request(
        &mut self,
        id: u32,
        list: HeaderList,
        end_stream: bool,
    ) -> Result<Option<Event<'static>>, ConnectionError> {
        debug_assert!(self.role == Role::Server && id > self.last_peer_id, "checked when the frame began");
        self.last_peer_id = id;
        if matches!(self.leaving, Leaving::After(_)) {
            return self.idle_frames.spend().map(|()| None);
        }
        if self.streams.len() >= self.limits.max_concurrent_streams as usize {
            return self.refuse(id, ErrorCode::REFUSED_STREAM);
        }
        if list.is_too_large() {
            return self.refuse(id, ErrorCode::ENHANCE_YOUR_CALM);
        }
        let Ok(request) = list.into_request() else {
            return self.refuse(id, ErrorCode::PROTOCOL_ERROR);
        };
        let stream = self.streams.insert(self.new_stream(id, Half::Headers, Half::Open));
        if end_stream {
            self.due_end = Some(stream);
        }
        Ok(Some(Event::Request { stream, request, end_stream }))
    }

    /// Resets a stream that nobody has heard of yet.
    fn refuse(&mut self, id: u32, code: ErrorCode) -> Result<Option<Event<'static>>, ConnectionError> {
        self.early_resets.spend()?;
        frame::write_reset(&mut self.control, id, code);
        Ok(None)
    }

    /// A response, or trailers.
    fn headers_on_stream(
        &mut self,
        stream: StreamId,
        list: HeaderList,
        end_stream: bool,
    ) -> Result<Option<Event<'static>>, ConnectionError> {
        let Some(found) = self.streams.get_mut(stream) else { return Ok(None) };
        match found.receiving {
            Half::Ended => return self.break_stream(stream, ErrorCode::STREAM_CLOSED),
            _ if list.is_too_large() => return self.break_stream(stream, ErrorCode::ENHANCE_YOUR_CALM),
            Half::Open if end_stream && list.are_trailers() => {
                self.due_end = Some(stream);
                return Ok(None);
            }
            Half::Open => return self.break_stream(stream, ErrorCode::PROTOCOL_ERROR),
            Half::Headers => {}
        }
        let token = found.token;
        match list.into_response() {
            // Interim answers say nothing about a CONNECT; 101 does not exist in HTTP/2.
            Ok(response) if matches!(response.status, 100 | 102..=199) && !end_stream => {
                self.idle_frames.spend().map(|()| None)
            }
            Ok(response) if response.status >= 200 => {
                found.receiving = Half::Open;
                if end_stream {
                    self.due_end = Some(stream);
                }
                Ok(Some(Event::Response { stream, token, response, end_stream }))
            }
            _ => self.break_stream(stream, ErrorCode::PROTOCOL_ERROR),
        }
    }
}
