//! The task that joins a stream to an application's connection.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::outgoing::{MIN_READ, Payload, ReadError, TAKE, Taken};
use super::state::State;
use super::stream::Stream;
use super::{Ended, Shared};
use crate::h2::ErrorCode;
use crate::socket::Socket;

/// Counts a connection's bytes as they move.
pub trait Meter: fmt::Debug {
    /// So many bytes went from the application into the tunnel.
    fn sent(&self, bytes: usize);

    /// So many bytes went from the tunnel to the application.
    fn received(&self, bytes: usize);
}

/// Why a relay ended before both directions had.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The application's connection failed, mostly by a reset.
    #[error("connection failed")]
    App(#[source] io::Error),
    /// The peer reset the stream: its application's connection was reset.
    #[error("peer reset the stream with {0}")]
    Reset(ErrorCode),
    /// The whole tunnel ended.
    #[error("tunnel ended")]
    TunnelEnded(#[source] Ended),
}

/// A stream joined to an application's connection: a future that is ready when both directions have ended.
#[derive(Debug)]
#[must_use = "dropped, it resets both sides"]
pub struct Relay {
    stream: Stream,
    app: Rc<Socket>,
    meter: Rc<dyn Meter>,
    /// What one read may take: grows while reads are full, so that small messages cost no preparation for large ones.
    appetite: usize,
    /// The application has ended its half.
    app_ended: bool,
    /// We have told the application that the peer has ended its half.
    shut: bool,
}

impl Relay {
    pub(super) fn new(stream: Stream, app: Rc<Socket>, meter: Rc<dyn Meter>) -> Self {
        app.reset_on_close();
        Self { stream, app, meter, appetite: MIN_READ, app_ended: false, shut: false }
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        let shared = self.stream.tunnel.0.clone();
        let mut state = shared.state.borrow_mut();
        if let Some(failure) = self.failure(&mut state) {
            return Poll::Ready(Err(failure));
        }
        state.lanes[self.stream.token].wait(cx);
        let delivered = self.deliver(cx, &mut state).map_err(RelayError::App)?;
        if !self.app_ended
            && let Poll::Ready(taken) = self.collect(cx, &shared, &mut state)
        {
            taken?;
        }
        match (self.app_ended, self.shut) {
            (true, true) => Poll::Ready(Ok(())),
            // All that it may yet do is to fail, which shows by itself while there is nothing to write.
            (true, false) if delivered.is_ready() => self.failed(cx),
            _ => Poll::Pending,
        }
    }

    /// Whether the application's connection has failed, which the peer is to be told also while it says nothing.
    fn failed(&self, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        self.app.poll_failure(cx).map(|error| Err(RelayError::App(error)))
    }

    fn failure(&self, state: &mut State) -> Option<RelayError> {
        let lane = &mut state.lanes[self.stream.token];
        if let Some(error) = lane.app_error.take() {
            return Some(RelayError::App(error));
        }
        if let Some(code) = lane.reset {
            return Some(RelayError::Reset(code));
        }
        if lane.peer_ended && self.app_ended {
            // All that is left is to give the application what has arrived.
            return None;
        }
        state.ended.clone().map(RelayError::TunnelEnded)
    }

    /// Writes what the application had not taken, and tells it when there is nothing more to come.
    fn deliver(&mut self, cx: &mut Context<'_>, state: &mut State) -> Poll<io::Result<()>> {
        let lane = &mut state.lanes[self.stream.token];
        let stream = lane.stream;
        let mut written = 0;
        let sent = loop {
            if lane.pending.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match self.app.poll_send(cx, lane.pending.bytes()) {
                Poll::Ready(Ok(count)) => {
                    lane.pending.take(count);
                    written += count;
                }
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        let done = lane.pending.is_empty() && lane.peer_ended;
        if written > 0 {
            self.meter.received(written);
            state.h2.release(stream, written);
            if !state.h2.control().is_empty() {
                state.schedule();
            }
        }
        ready!(sent)?;
        if done && !self.shut {
            self.shut = true;
            self.app.shutdown_write()?;
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what the application sends into the tunnel.
    fn collect(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        state: &mut State,
    ) -> Poll<Result<(), RelayError>> {
        loop {
            if !state.outgoing.has_room() {
                state.block(self.stream.token);
                return Poll::Pending;
            }
            let stream = state.lanes[self.stream.token].stream;
            let limit = state.h2.send_capacity(stream).min(self.appetite);
            if limit == 0 {
                // The lane is woken when the window opens.
                return self.failed(cx);
            }
            state.collect_control(&shared.buffers).map_err(|error| RelayError::TunnelEnded(error.into()))?;
            let State { h2, records, outgoing, .. } = state;
            let payload = Payload { h2, stream, records, buffers: &shared.buffers };
            let taken = ready!(outgoing.read_from(cx, &self.app, limit, payload));
            state.schedule();
            match taken {
                Ok(Taken::Bytes { count, full }) => {
                    self.meter.sent(count);
                    shared.buffers.arrived(1);
                    self.appetite = if full { (self.appetite * 4).min(TAKE) } else { MIN_READ.max(count) };
                    if full && self.appetite >= TAKE {
                        // The others' turn; the driver sends meanwhile.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Ok(Taken::End) => {
                    self.app_ended = true;
                    return Poll::Ready(Ok(()));
                }
                Err(ReadError::App(error)) => return Poll::Ready(Err(RelayError::App(error))),
                Err(ReadError::Record(error)) => {
                    return Poll::Ready(Err(RelayError::TunnelEnded(error.into())));
                }
            }
        }
    }
}

impl Future for Relay {
    type Output = Result<(), RelayError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(self.advance(cx));
        if ended.is_ok() {
            self.app.end_on_close();
        }
        Poll::Ready(ended)
    }
}
