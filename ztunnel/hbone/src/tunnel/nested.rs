//! A tunnel within a stream of another one: through somebody who passes its bytes on and cannot read them.
//!
//! ```text
//! application - inner tunnel - | pair of sockets | - stream of the outer tunnel - gateway - far end
//! ```
//!
//! The inner tunnel has a socket like any other, whose other end is the application of the outer stream. What waits in
//! between is bounded by the pair's kernel buffers and the windows of both tunnels.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::timeout;

use super::driver::drive;
use super::relay::{Meter, Relay, RelayError};
use super::stream::Stream;
use super::{Ended, Tunnel};
use crate::socket::Socket;

/// A stream that carries the bytes of a socket. It must be polled for any to move. Dropped, it resets the stream.
#[derive(Debug)]
#[must_use = "dropped, it resets its stream"]
pub struct Carrier {
    /// None once both directions have ended.
    relay: Option<Relay>,
}

impl Carrier {
    /// Carries what goes through the socket that is returned in a stream that the peer has accepted.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn new(stream: Stream) -> io::Result<(Self, Socket)> {
        let (near, far) = Socket::pair()?;
        Ok((Self { relay: Some(stream.relay(near, Rc::new(Uncounted))) }, far))
    }

    /// Carries while `work` goes on with the socket.
    ///
    /// # Errors
    /// When the stream failed meanwhile: `work` is given up.
    ///
    /// # Cancel safety
    /// As `work` is.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, RelayError> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = self.poll(cx) {
                return Poll::Ready(Err(error));
            }
            work.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// Ready when both directions have ended, or one has failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        let Some(relay) = &mut self.relay else { return Poll::Ready(Ok(())) };
        let ended = ready!(Pin::new(relay).poll(cx));
        self.relay = None;
        Poll::Ready(ended)
    }
}

/// Drives a tunnel in a stream of another one until it ends, and says why it did. Its last bytes have `patience` to be
/// taken by the other tunnel, and the far end to say that it has ended too.
///
/// # Cancel safety
/// Dropping the future ends the tunnel at once, and resets its applications' connections and the stream.
pub async fn drive_nested(tunnel: Tunnel, mut carrier: Carrier, patience: Duration) -> Ended {
    let mut driver = Box::pin(drive(tunnel.clone(), |_| {}));
    let ended = poll_fn(|cx| {
        if let Poll::Ready(Err(error)) = carrier.poll(cx) {
            // Said before the tunnel sees its socket closed: this is why.
            tunnel.cut_for(Ended::Carrier(Arc::new(error)));
        }
        driver.as_mut().poll(cx)
    })
    .await;
    drop(driver);
    if matches!(ended, Ended::Closed) && tunnel.0.socket.shutdown_write().is_ok() {
        // Closed with something unread, the pair would show a reset, and what is on its way be lost.
        let both = poll_fn(|cx| {
            let carried = carrier.poll(cx).is_ready();
            let silent = tunnel.poll_silent(cx).is_ready();
            if carried && silent { Poll::Ready(()) } else { Poll::Pending }
        });
        let _given_up = timeout(patience, both).await;
    }
    ended
}

impl Tunnel {
    /// Reads what still comes, and drops it. Ready when nothing will.
    fn poll_silent(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = self.0.buffers.scratch();
        let ended = match ready!(self.0.socket.poll_recv(cx, &mut scratch)) {
            Ok(0) | Err(_) => true,
            Ok(_) => false,
        };
        if ended {
            return Poll::Ready(());
        }
        // The others' turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Counts nothing: what an inner tunnel sends are no application's bytes.
#[derive(Debug)]
struct Uncounted;

impl Meter for Uncounted {
    fn sent(&self, _bytes: usize) {}

    fn received(&self, _bytes: usize) {}
}
