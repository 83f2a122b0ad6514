//! Two TCP connections joined without a tunnel: within a node, or in plaintext.
//!
//! Bytes go through the worker's scratch buffer, from one socket's kernel buffer to the other's in one turn; only what
//! the receiver does not take is kept. While one side sends in bulk, bytes stay in the kernel: [`splice`].

mod flow;
mod splice;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::socket::Socket;
use crate::tunnel::{Buffers, Meter};
use flow::Flow;

pub(crate) use splice::Pipe;

/// Why a relay ended before both directions had.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The client's connection failed, mostly by a reset.
    #[error("client's connection failed")]
    Client(#[source] io::Error),
    /// The server's connection failed, mostly by a reset.
    #[error("server's connection failed")]
    Server(#[source] io::Error),
}

/// Joins two connections until both directions have ended. Half-closes are carried as such, and a reset as a reset.
///
/// # Errors
/// When either side fails; the other has been reset then.
///
/// # Cancel safety
/// Dropping the future resets both sides.
pub fn join(client: Socket, server: Socket, buffers: Buffers, meter: Rc<dyn Meter>) -> Joined {
    client.reset_on_close();
    server.reset_on_close();
    Joined { client, server, up: Flow::default(), down: Flow::default(), buffers, meter }
}

/// Two connections that are joined: a future that is ready when both directions have ended.
#[derive(Debug)]
#[must_use = "dropped, it resets both sides"]
pub struct Joined {
    client: Socket,
    server: Socket,
    up: Flow,
    down: Flow,
    buffers: Buffers,
    meter: Rc<dyn Meter>,
}

/// Which socket of a flow failed.
enum FlowError {
    From(io::Error),
    To(io::Error),
}

impl Future for Joined {
    type Output = Result<(), JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { client, server, up, down, buffers, meter } = &mut *self;
        let up = up.poll(cx, client, server, buffers, &|count| meter.sent(count));
        let up = up.map_err(|error| match error {
            FlowError::From(error) => JoinError::Client(error),
            FlowError::To(error) => JoinError::Server(error),
        });
        if let Poll::Ready(Err(error)) = up {
            return Poll::Ready(Err(error));
        }
        let down = down.poll(cx, server, client, buffers, &|count| meter.received(count));
        let down = down.map_err(|error| match error {
            FlowError::From(error) => JoinError::Server(error),
            FlowError::To(error) => JoinError::Client(error),
        });
        match (up, down) {
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Ready(_), Poll::Ready(_)) => {
                client.end_on_close();
                server.end_on_close();
                Poll::Ready(Ok(()))
            }
            // All that is left of a side that has ended is to fail, of which nobody reads or writes any more.
            (Poll::Ready(_), Poll::Pending) => {
                client.poll_failure(cx).map(|error| Err(JoinError::Client(error)))
            }
            (Poll::Pending, Poll::Ready(_)) => {
                server.poll_failure(cx).map(|error| Err(JoinError::Server(error)))
            }
            (Poll::Pending, Poll::Pending) => Poll::Pending,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
