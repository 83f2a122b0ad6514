//! One end of a connection.

use super::block::HeaderBlock;
use super::budget::Budget;
use super::error::{ConnectionError, Excess};
use super::frame::{FRAME_HEADER, PREFACE};
use super::goaway::Leaving;
use super::hpack::{Decoder, Encoder};
use super::limits::DEFAULT_WINDOW;
use super::receive::Stage;
use super::settings::{self, PeerSettings};
use super::streams::{StreamId, Streams};
use super::window::{ReceiveWindow, SendWindow};
use super::{Event, Limits};

/// One end of an HTTP/2 connection.
///
/// The caller gives it what arrives ([`next_event`](Self::next_event)) and sends what it collects
/// ([`control`](Self::control)) in order: control bytes that are there go out before any DATA whose header is asked
/// for later.
#[derive(Debug)]
pub struct Connection {
    pub(super) role: Role,
    pub(super) limits: Limits,
    pub(super) peer: PeerSettings,
    pub(super) streams: Streams,
    pub(super) send: SendWindow,
    pub(super) receive: ReceiveWindow,
    pub(super) control: Vec<u8>,
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder,

    /// Number of the next stream that we open (clients only).
    pub(super) next_id: u32,
    /// The highest number of a stream that the peer opened (servers only).
    pub(super) last_peer_id: u32,
    pub(super) leaving: Leaving,
    /// The peer's GOAWAY: its last stream.
    pub(super) peer_leaving: Option<u32>,

    pub(super) stage: Stage,
    /// A frame's header that did not arrive in one piece.
    pub(super) header: [u8; FRAME_HEADER],
    /// A short frame, or the short fields at a frame's start.
    pub(super) short: [u8; super::receive::SHORT],
    /// The header block that is under way.
    pub(super) block: Option<HeaderBlock>,
    /// The peer's SETTINGS have arrived.
    pub(super) greeted: bool,
    /// A stream whose END_STREAM is to be reported.
    pub(super) due_end: Option<StreamId>,
    /// Streams above this number are to be reported as refused.
    pub(super) due_refusals: Option<u32>,
    pub(super) failed: Option<ConnectionError>,

    pub(super) answers: Budget,
    pub(super) settings: Budget,
    pub(super) idle_frames: Budget,
    pub(super) early_resets: Budget,
}

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Connection {
    /// The end that opens streams. Its preface and settings are in [`control`](Self::control).
    pub fn client(limits: Limits) -> Self {
        let mut connection = Self::new(Role::Client, limits);
        connection.control.extend_from_slice(PREFACE);
        settings::write_ours(&mut connection.control, &connection.limits, true);
        connection
    }

    /// The end that is asked. Its settings are in [`control`](Self::control).
    pub fn server(limits: Limits) -> Self {
        let mut connection = Self::new(Role::Server, limits);
        settings::write_ours(&mut connection.control, &connection.limits, false);
        connection
    }

    fn new(role: Role, limits: Limits) -> Self {
        let limits = limits.clamped();
        Self {
            role,
            limits,
            peer: PeerSettings::default(),
            streams: Streams::new(&limits),
            send: SendWindow::new(DEFAULT_WINDOW),
            receive: ReceiveWindow::new(limits.connection_window),
            control: Vec::new(),
            encoder: Encoder::default(),
            decoder: Decoder::default(),
            next_id: 1,
            last_peer_id: 0,
            leaving: Leaving::No,
            peer_leaving: None,
            stage: match role {
                Role::Client => Stage::Header { have: 0 },
                Role::Server => Stage::Preface { have: 0 },
            },
            header: [0; FRAME_HEADER],
            short: [0; super::receive::SHORT],
            block: None,
            greeted: false,
            due_end: None,
            due_refusals: None,
            failed: None,
            answers: Budget::new(limits.max_answers, Excess::Answers),
            settings: Budget::new(limits.max_answers, Excess::Answers),
            idle_frames: Budget::new(limits.max_idle_frames, Excess::IdleFrames),
            early_resets: Budget::new(limits.max_early_resets, Excess::Resets),
        }
    }

    /// Takes bytes off `input` and says what they mean; none when the input is used up. Call it until then.
    ///
    /// # Errors
    /// When the peer breaks the connection. A GOAWAY that says so is in [`control`](Self::control); send it and
    /// close. The same error comes again for any further input.
    pub fn next_event<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b>>, ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.advance(input).inspect_err(|error| {
            self.failed = Some(*error);
            self.close(error.code());
        })
    }

    /// What is to be sent besides payload: take it away (or clear it when it was copied).
    pub const fn control(&mut self) -> &mut Vec<u8> {
        &mut self.control
    }

    /// Gives a stream the name that its events carry, typically the caller's own index for it.
    pub fn set_token(&mut self, stream: StreamId, token: usize) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.token = token;
        }
    }

    /// How many streams are open.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// How many streams may be open at once, as far as known.
    pub fn max_streams(&self) -> u32 {
        match self.role {
            Role::Client => {
                let allowed = self.peer.max_concurrent_streams.unwrap_or(self.limits.initial_send_streams);
                allowed.min(self.limits.max_concurrent_streams)
            }
            Role::Server => self.limits.max_concurrent_streams,
        }
    }

    /// What the peer has begun and must bring to its end before it may say anything else: none, its preface and
    /// settings (0), or the header block of a stream. One that stays the same for long is held up on purpose.
    pub const fn unfinished(&self) -> Option<u32> {
        match &self.block {
            _ if !self.greeted => Some(0),
            Some(block) => Some(block.stream),
            None => None,
        }
    }

    /// Says that a while has passed, some seconds: the peer may ping and change its settings anew. Without it, a
    /// connection that is idle but pinged by its peer fails after [`Limits::max_answers`] pings.
    pub const fn replenish(&mut self) {
        self.answers.refill();
        self.settings.refill();
        self.idle_frames.refill();
        self.early_resets.refill();
    }
}
