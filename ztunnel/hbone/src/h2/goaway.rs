//! How connections come to their end (RFC 9113 §6.8).
//!
//! A server cannot know which streams are on their way to it. So it announces its leave with a GOAWAY that excludes
//! no stream, and a PING; once that is answered, everything that the client sent before it knew is here, and a
//! second GOAWAY names the last stream.

use super::connection::{Connection, Role};
use super::frame;
use super::{ErrorCode, Event};

/// How far our leave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// Said, but streams that are on their way are still taken.
    Announced,
    /// No streams above this number are taken.
    After(u32),
}

impl Connection {
    /// Leaves in order: open streams go on, new ones are not taken. Said once only.
    pub fn go_away(&mut self) {
        if self.leaving != Leaving::No {
            return;
        }
        match self.role {
            Role::Client => self.close(ErrorCode::NO_ERROR),
            Role::Server => {
                frame::write_go_away(&mut self.control, MAX_STREAM_ID, ErrorCode::NO_ERROR);
                frame::write_ping(&mut self.control, 0, LEAVE_PING);
                self.leaving = Leaving::Announced;
            }
        }
    }

    /// Says that no further streams are taken, and why. Without an error, open streams may go on.
    pub fn close(&mut self, code: ErrorCode) {
        let last = match self.leaving {
            // What came behind it was ignored, so it must not look as if it had been handled.
            Leaving::After(last) => last,
            Leaving::No | Leaving::Announced => self.last_peer_id,
        };
        frame::write_go_away(&mut self.control, last, code);
        self.leaving = Leaving::After(last);
    }

    /// Whether no stream will be opened any more: when the last one ends, the connection may be closed.
    pub fn is_going_away(&self) -> bool {
        match (self.role, self.leaving) {
            (_, Leaving::After(_)) | (Role::Client, Leaving::Announced) => true,
            (_, Leaving::No) | (Role::Server, Leaving::Announced) => self.peer_leaving.is_some(),
        }
    }

    /// Whether the connection is going away and its last stream has ended.
    pub fn is_drained(&self) -> bool {
        self.is_going_away() && self.streams.is_empty()
    }

    /// Whether the peer has still to confirm that it knows of our leave.
    pub fn is_leave_pending(&self) -> bool {
        self.leaving == Leaving::Announced
    }

    /// Takes no more streams, because the peer has confirmed that it knows of our leave, or because it does not.
    pub fn conclude_leave(&mut self) {
        if self.is_leave_pending() {
            self.close(ErrorCode::NO_ERROR);
        }
    }

    /// The peer says that it leaves.
    pub(super) fn peer_leaves(&mut self, last_stream: u32, code: ErrorCode) -> Event<'static> {
        let last = self.peer_leaving.map_or(last_stream, |before| before.min(last_stream));
        self.peer_leaving = Some(last);
        if self.role == Role::Client {
            self.due_refusals = Some(last);
        }
        Event::GoAway { last_stream: last, code }
    }

    /// The next stream that the peer's GOAWAY excludes.
    pub(super) fn next_refusal(&mut self, last: u32) -> Option<Event<'static>> {
        let Some(stream) = self.streams.above(last) else {
            self.due_refusals = None;
            return None;
        };
        let token = self.streams.remove(stream)?.token;
        Some(Event::Reset { stream, token, code: ErrorCode::REFUSED_STREAM })
    }
}

/// Whether a PING is the one that [`Connection::go_away`] sent.
pub(super) fn is_leave_ping(payload: [u8; 8]) -> bool {
    payload == LEAVE_PING
}

/// The highest stream number.
pub(super) const MAX_STREAM_ID: u32 = (1 << 31) - 1;

const LEAVE_PING: [u8; 8] = *b"goodbye\0";
