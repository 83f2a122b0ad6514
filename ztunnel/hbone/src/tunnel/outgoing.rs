//! What a tunnel is about to send: frames, put into records where they lie.
//!
//! ```text
//! | sealed, being sent | open record: header 5 | frame frame .. | room for type 1, tag 16 | room for more records |
//! ```
//!
//! Payload is read from the application's socket straight into its place, one frame a record when there is much of
//! it; small frames of many streams share a record. Nothing is copied between the two sockets.

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::task::{Context, Poll};

use smallvec::SmallVec;

use super::buffers::{Buffers, RECORDS, SEND_BUFFER};
use crate::h2::{Connection, FRAME_HEADER, StreamId};
use crate::record::{HEADER, MAX_CONTENT, MAX_RECORD, RecordError, Records, TRAILER};
use crate::socket::Socket;

/// What a tunnel is about to send.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Lent while there is anything to send.
    buffer: Option<Box<[u8]>>,
    /// Control frames that found no room in the buffer; they go first when there is some.
    overflow: Vec<u8>,
    /// Sent up to here.
    sent: usize,
    /// Sealed up to here: where the open record begins, if there is one.
    sealed: usize,
    /// Bytes of content in the open record.
    content: Option<usize>,
}

/// What reading from an application brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many bytes; as many as there was room for if `full`.
    Bytes { count: usize, full: bool },
    /// The end of what the application sends.
    End,
}

impl Outgoing {
    /// Whether anything waits to be sent.
    pub(super) const fn is_empty(&self) -> bool {
        self.buffer.is_none() && self.overflow.is_empty()
    }

    /// Whether payload may be added: there is room for a whole record more.
    pub(super) const fn has_room(&self) -> bool {
        self.overflow.is_empty() && self.sealed + MAX_RECORD <= FULL
    }

    /// Whether the peer makes us hold more than it should: it sends what wants an answer, and reads none.
    pub(super) const fn is_overfull(&self) -> bool {
        self.overflow.len() > MAX_OVERFLOW
    }

    /// Puts control frames behind what is there.
    pub(super) fn control(
        &mut self,
        control: &mut Vec<u8>,
        records: &mut Records,
        buffers: &Buffers,
    ) -> Result<(), RecordError> {
        if self.overflow.is_empty() {
            let taken = self.put(control, records, buffers)?;
            self.overflow.extend_from_slice(&control[taken..]);
        } else {
            self.overflow.extend_from_slice(control);
        }
        control.clear();
        Ok(())
    }

    /// Reads up to `limit` bytes from an application and frames them as payload of `stream`. To be called with no
    /// control frames waiting, and with [room](Self::has_room).
    pub(super) fn read_from(
        &mut self,
        cx: &mut Context<'_>,
        app: &Socket,
        limit: usize,
        payload: Payload<'_>,
    ) -> Poll<Result<Taken, ReadError>> {
        let Payload { h2, stream, records, buffers } = payload;
        if self.content.is_some_and(|content| content + FRAME_HEADER + MIN_PAYLOAD > MAX_CONTENT) {
            self.close(records);
        }
        let first = self.begin(records, buffers).map_err(ReadError::Record)?;
        let buffer = self.buffer.as_mut().expect("begun above");
        let slots = Slots::new(first, self.sealed, limit);
        let received = app.poll_recv_vectored(cx, &mut slots.iovecs(buffer));
        let count = match received {
            Poll::Pending => {
                self.abandon(buffers);
                return Poll::Pending;
            }
            Poll::Ready(Err(error)) => {
                self.abandon(buffers);
                return Poll::Ready(Err(ReadError::App(error)));
            }
            Poll::Ready(Ok(count)) => count,
        };
        if count == 0 {
            let header = h2.data_header(stream, 0, true);
            self.append_frame(first, header, 0);
            return Poll::Ready(Ok(Taken::End));
        }
        let mut left = count;
        for (at, slot) in slots.spans.iter().enumerate() {
            if left == 0 {
                break;
            }
            if at > 0 {
                self.close(records);
                self.content = Some(0);
                debug_assert_eq!(slot.start, self.sealed + HEADER + FRAME_HEADER, "records lie side by side");
            }
            let length = left.min(slot.len());
            let header = h2.data_header(stream, length, false);
            self.append_frame(slot.start - FRAME_HEADER, header, length);
            left -= length;
        }
        Poll::Ready(Ok(Taken::Bytes { count, full: count == slots.total }))
    }

    /// Seals what is there and writes it to the tunnel's socket. Ready when everything is sent.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Socket,
        records: &mut Records,
        buffers: &Buffers,
    ) -> Poll<Result<(), FlushError>> {
        loop {
            if records.key_update_due() && self.content.is_none() {
                self.begin(records, buffers)?;
            }
            self.close(records);
            let Some(buffer) = &self.buffer else { return Poll::Ready(Ok(())) };
            while self.sent < self.sealed {
                match socket.poll_send_vectored(cx, &[IoSlice::new(&buffer[self.sent..self.sealed])]) {
                    Poll::Ready(Ok(count)) => self.sent += count,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(FlushError::Socket(error))),
                    Poll::Pending => return Poll::Pending,
                }
            }
            self.reset(buffers);
            if self.overflow.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let mut overflow = std::mem::take(&mut self.overflow);
            self.control(&mut overflow, records, buffers)?;
        }
    }

    /// Adds a sealed alert, the last thing that is sent.
    pub(super) fn last_words(&mut self, record: &[u8], records: &mut Records, buffers: &Buffers) {
        self.close(records);
        let start = self.sealed;
        let buffer = self.buffer.get_or_insert_with(|| buffers.lend());
        if let Some(room) = buffer.get_mut(start..start + record.len()) {
            room.copy_from_slice(record);
            self.sealed += record.len();
        }
    }

    /// Gives the buffer back, whatever is in it.
    pub(super) fn reset(&mut self, buffers: &Buffers) {
        if let Some(buffer) = self.buffer.take() {
            buffers.give_back(buffer);
        }
        (self.sent, self.sealed, self.content) = (0, 0, None);
    }

    /// Opens a record if none is open; returns where its content ends.
    fn begin(&mut self, records: &mut Records, buffers: &Buffers) -> Result<usize, RecordError> {
        if self.content == Some(0) || self.content.is_none() {
            let buffer = self.buffer.get_or_insert_with(|| buffers.lend());
            // Without room it waits for the next buffer: keys last for many more records than one buffer holds.
            if records.key_update_due() && self.sealed + KEY_UPDATE <= FULL {
                let mut update = Vec::with_capacity(KEY_UPDATE);
                records.key_update(&mut update)?;
                buffer[self.sealed..self.sealed + update.len()].copy_from_slice(&update);
                self.sealed += update.len();
            }
            self.content = Some(0);
        }
        Ok(self.sealed + HEADER + self.content.unwrap_or(0))
    }

    /// Seals the open record.
    pub(super) fn close(&mut self, records: &mut Records) {
        if let Some(content) = self.content.take()
            && content > 0
            && let Some(buffer) = &mut self.buffer
        {
            self.sealed += records.seal(&mut buffer[self.sealed..], content);
        }
    }

    /// Drops a record that was opened for nothing, and the buffer with it if nothing else is in it.
    fn abandon(&mut self, buffers: &Buffers) {
        if self.content == Some(0) {
            self.content = None;
        }
        if self.content.is_none() && self.sealed == 0 {
            self.reset(buffers);
        }
    }

    fn append_frame(&mut self, at: usize, header: [u8; FRAME_HEADER], length: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer[at..at + FRAME_HEADER].copy_from_slice(&header);
        }
        self.content = self.content.map(|content| content + FRAME_HEADER + length);
    }

    /// Copies bytes into records as far as there is room; returns how many.
    fn put(&mut self, bytes: &[u8], records: &mut Records, buffers: &Buffers) -> Result<usize, RecordError> {
        let mut taken = 0;
        while taken < bytes.len() {
            if self.content == Some(MAX_CONTENT) {
                self.close(records);
            }
            if self.content.is_none() && self.sealed > FULL {
                break;
            }
            let at = self.begin(records, buffers)?;
            let content = self.content.unwrap_or(0);
            let room = MAX_CONTENT - content;
            let length = room.min(bytes.len() - taken);
            if let Some(buffer) = &mut self.buffer {
                buffer[at..at + length].copy_from_slice(&bytes[taken..taken + length]);
            }
            self.content = Some(content + length);
            taken += length;
        }
        Ok(taken)
    }
}

/// What framing payload takes besides a place for it.
pub(super) struct Payload<'a> {
    pub(super) h2: &'a mut Connection,
    pub(super) stream: StreamId,
    pub(super) records: &'a mut Records,
    pub(super) buffers: &'a Buffers,
}

/// Why nothing could be read from an application.
#[derive(Debug)]
pub(super) enum ReadError {
    App(io::Error),
    Record(RecordError),
}

/// Why nothing could be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum FlushError {
    /// Records could not be sealed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The tunnel's socket failed.
    #[error("socket failed")]
    Socket(#[source] io::Error),
}

/// Places for payload: one in the open record, then one a record.
struct Slots {
    spans: SmallVec<[Range<usize>; RECORDS]>,
    total: usize,
}

impl Slots {
    /// `first` is where the open record's content ends; its header is at `record`.
    fn new(first: usize, record: usize, limit: usize) -> Self {
        let mut this = Self { spans: SmallVec::new(), total: 0 };
        let (mut record, mut frame) = (record, first);
        while this.total < limit && record + MAX_RECORD <= SEND_BUFFER {
            let start = frame + FRAME_HEADER;
            let length = (record + HEADER + MAX_CONTENT - start).min(limit - this.total);
            this.spans.push(start..start + length);
            this.total += length;
            if limit <= MIN_READ && length >= AMPLE {
                break;
            }
            record += MAX_RECORD;
            frame = record + HEADER;
        }
        this
    }

    /// The places as what readv(2) takes.
    fn iovecs<'b>(&self, buffer: &'b mut [u8]) -> SmallVec<[IoSliceMut<'b>; RECORDS]> {
        let mut rest = buffer;
        let mut at = 0;
        let mut iovecs = SmallVec::new();
        for span in &self.spans {
            let (_, behind) = rest.split_at_mut(span.start - at);
            let (slot, behind) = behind.split_at_mut(span.len());
            iovecs.push(IoSliceMut::new(slot));
            rest = behind;
            at = span.end;
        }
        iovecs
    }
}

/// A buffer in which no further record is begun.
const FULL: usize = RECORDS * MAX_RECORD;

/// Bytes of a sealed KeyUpdate (RFC 8446 §4.6.3).
const KEY_UPDATE: usize = HEADER + 5 + TRAILER;

/// What a read takes of an application that has little to say.
pub(super) const MIN_READ: usize = 16 << 10;

/// Room for what an application says that has little to say: with so much left in the open record, the read needs no
/// second place.
const AMPLE: usize = 4 << 10;

/// What is taken from an application at most: payload for [`RECORDS`] full records.
pub(super) const TAKE: usize = RECORDS * (MAX_CONTENT - FRAME_HEADER);

/// Payload that is worth a frame in the open record: else it begins another.
const MIN_PAYLOAD: usize = 1024;

/// Control frames that wait for room until nothing more is received: far more than honest peers give cause to.
const MAX_OVERFLOW: usize = 64 << 10;
