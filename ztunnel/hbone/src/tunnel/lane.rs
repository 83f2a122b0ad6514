//! What a tunnel's driver and a stream's relay share.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Waker};

use smallvec::SmallVec;

use super::pending::Pending;
use super::relay::Meter;
use crate::h2::{ConnectResponse, ErrorCode, StreamId};
use crate::socket::Socket;

/// One stream, as its driver sees it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) stream: StreamId,
    /// The application, once the stream is relayed.
    pub(super) app: Option<App>,
    /// Payload that the application has not taken yet; bounded by the stream's window.
    pub(super) pending: Pending,
    pub(super) response: Option<ConnectResponse>,
    /// The peer has ended its half.
    pub(super) peer_ended: bool,
    /// The peer has reset the stream.
    pub(super) reset: Option<ErrorCode>,
    /// Writing to the application failed.
    pub(super) app_error: Option<io::Error>,
    /// Its relay waits for room to send.
    pub(super) blocked: bool,
    waker: Option<Waker>,
}

/// The application at the near end of a stream.
#[derive(Debug)]
pub(super) struct App {
    pub(super) socket: Rc<Socket>,
    pub(super) meter: Rc<dyn Meter>,
}

impl Lane {
    pub(super) fn new(stream: StreamId) -> Self {
        Self {
            stream,
            app: None,
            pending: Pending::default(),
            response: None,
            peer_ended: false,
            reset: None,
            app_error: None,
            blocked: false,
            waker: None,
        }
    }

    /// Has the task of `cx` woken by [`wake`](Self::wake).
    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Writes payload to the application as far as it takes it at once, and keeps the rest. Returns how many bytes are
    /// done with.
    pub(super) fn deliver(&mut self, pieces: &[IoSlice<'_>], total: usize) -> usize {
        let Some(app) = self.app.as_ref().filter(|_| self.pending.is_empty()) else {
            self.keep(pieces, 0);
            return 0;
        };
        let written = match app.socket.try_send_vectored(pieces) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => {
                self.app_error = Some(error);
                self.wake();
                return total;
            }
        };
        app.meter.received(written);
        if written < total {
            self.keep(pieces, written);
            self.wake();
        }
        written
    }

    fn keep(&mut self, pieces: &[IoSlice<'_>], mut skip: usize) {
        for piece in pieces {
            let from = skip.min(piece.len());
            self.pending.push(&piece[from..]);
            skip -= from;
        }
    }
}

/// Pieces of payload for one stream, to be written at once.
pub(super) struct Batch<'b> {
    pub(super) token: usize,
    pub(super) stream: Option<StreamId>,
    pub(super) pieces: SmallVec<[IoSlice<'b>; MAX_PIECES]>,
    pub(super) total: usize,
}

impl<'b> Batch<'b> {
    pub(super) fn new() -> Self {
        Self { token: usize::MAX, stream: None, pieces: SmallVec::new(), total: 0 }
    }

    /// Whether a piece of that stream may be added.
    pub(super) fn takes(&self, stream: StreamId) -> bool {
        self.stream == Some(stream) && self.pieces.len() < MAX_PIECES
    }

    pub(super) fn add(&mut self, payload: &'b [u8]) {
        self.pieces.push(IoSlice::new(payload));
        self.total += payload.len();
    }
}

/// Pieces written at once: what one read of full records brings.
const MAX_PIECES: usize = 20;
