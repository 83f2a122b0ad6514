//! One CONNECT stream.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::lane::{App, Lane};
use super::relay::{Meter, Relay};
use super::state::State;
use super::{Ended, Tunnel};
use crate::h2::{ConnectRequest, ConnectResponse, ErrorCode};
use crate::socket::Socket;

/// One stream of a tunnel. Dropped before its end, it is reset.
#[derive(Debug)]
pub struct Stream {
    pub(super) tunnel: Tunnel,
    pub(super) token: usize,
    /// What the peer is told when the stream is dropped before its end.
    on_drop: ErrorCode,
}

/// A stream that the peer asks for. Dropped without an answer, it is reset.
#[derive(Debug)]
pub struct Request {
    /// The stream.
    pub stream: Stream,
    /// What it is for. Anything but CONNECT surfaces too, to be refused.
    pub request: ConnectRequest,
}

/// Why a stream brought no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamError {
    /// The peer reset it.
    #[error("peer reset the stream with {0}")]
    Reset(ErrorCode),
    /// The whole tunnel ended.
    #[error("tunnel ended")]
    TunnelEnded(#[source] Ended),
}

impl Stream {
    pub(super) const fn new(tunnel: Tunnel, token: usize) -> Self {
        Self { tunnel, token, on_drop: ErrorCode::CANCEL }
    }

    /// The tunnel that it belongs to.
    pub const fn tunnel(&self) -> &Tunnel {
        &self.tunnel
    }

    /// Waits for the peer's answer (clients only).
    ///
    /// # Errors
    /// When none will come.
    ///
    /// # Cancel safety
    /// Safe: an answer that came is not lost. The caller sets the deadline.
    pub async fn response(&mut self) -> Result<ConnectResponse, StreamError> {
        poll_fn(|cx| {
            let mut state = self.tunnel.0.state.borrow_mut();
            let ended = state.ended.clone();
            let lane = &mut state.lanes[self.token];
            if let Some(response) = lane.response.take() {
                return Poll::Ready(Ok(response));
            }
            if let Some(code) = lane.reset {
                return Poll::Ready(Err(StreamError::Reset(code)));
            }
            if let Some(ended) = ended {
                return Poll::Ready(Err(StreamError::TunnelEnded(ended)));
            }
            lane.wait(cx);
            Poll::Pending
        })
        .await
    }

    /// Waits until the peer gives the stream up before it was answered (servers only).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn given_up(&mut self) -> StreamError {
        match self.response().await {
            Err(error) => error,
            // A server is never answered.
            Ok(_) => std::future::pending().await,
        }
    }

    /// Answers the peer's request (servers only).
    pub fn respond(&mut self, response: &ConnectResponse) {
        self.with(|state, stream| state.h2.respond(stream, response, false));
    }

    /// Refuses the peer's request (servers only).
    pub fn refuse(mut self, response: &ConnectResponse) {
        self.with(|state, stream| state.h2.respond(stream, response, true));
        // The answer says why; the peer need not send anything further (RFC 9113 §8.1).
        self.on_drop = ErrorCode::NO_ERROR;
    }

    /// Joins the stream to an application's connection until both directions have ended. Half-closes are carried as
    /// such, and a reset as a reset.
    ///
    /// # Errors
    /// When either side reset the connection, or the tunnel ended.
    ///
    /// # Cancel safety
    /// Dropping the future resets both sides.
    pub fn relay(self, app: Socket, meter: Rc<dyn Meter>) -> Relay {
        let app = Rc::new(app);
        self.with(|state, _| {
            state.lanes[self.token].app = Some(App { socket: app.clone(), meter: meter.clone() });
        });
        Relay::new(self, app, meter)
    }

    fn with(&self, change: impl FnOnce(&mut State, crate::h2::StreamId)) {
        let mut state = self.tunnel.0.state.borrow_mut();
        let stream = state.lanes[self.token].stream;
        change(&mut state, stream);
        state.schedule();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.tunnel.0.state.borrow_mut();
        let Lane { stream, pending, .. } = state.lanes.remove(self.token);
        state.h2.release(stream, pending.len());
        // No effect on a stream that has ended in both directions.
        state.h2.reset(stream, self.on_drop);
        state.schedule();
    }
}
