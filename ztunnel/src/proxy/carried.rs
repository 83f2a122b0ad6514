//! A connection that has come about, until its end.
//!
//! What it took to get there is several times what is kept of it: each connection begins in a box of its own, and leaves
//! only this.

use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use mesh::PodUid;

use super::live::{Grounds, LiveGuard};
use super::meter::Metered;
use super::worker::Worker;

/// The rest of a connection's life. Ready when both directions have ended, or it was cut.
pub(super) type Carried = Pin<Box<dyn Future<Output = ()>>>;

/// Runs what `begins` a connection, and then the connection. Boxed by the caller: what an async function is given it has
/// room for until its end.
pub(super) async fn run<F: Future<Output = Option<Carried>>>(begins: Pin<Box<F>>) {
    let carried = begins.await;
    if let Some(carried) = carried {
        carried.await;
    }
}

impl Worker {
    /// [Lists](Self::list) a connection; notes that it was cut where it may not be.
    pub(super) fn listed(&self, pod: &PodUid, metered: &Rc<Metered>, grounds: Grounds) -> Option<LiveGuard> {
        self.list(pod, metered, grounds).map_err(|cut| self.cut_off(metered, &cut)).ok()
    }

    /// Carries a connection by `relay` until it ends or is cut, and notes how. `held` is let go of when its sockets are
    /// closed.
    pub(super) fn carry<R, E, H>(
        self: &Rc<Self>,
        live: LiveGuard,
        metered: Rc<Metered>,
        relay: R,
        held: H,
    ) -> Carried
    where
        R: Future<Output = Result<(), E>> + Unpin + 'static,
        E: Error + 'static,
        H: Unpin + 'static,
    {
        Box::pin(Carrying { relay, live, metered, worker: self.clone(), _held: held })
    }
}

/// Its fields go in this order.
struct Carrying<R, H> {
    relay: R,
    live: LiveGuard,
    metered: Rc<Metered>,
    worker: Rc<Worker>,
    _held: H,
}

impl<R, E, H> Future for Carrying<R, H>
where
    R: Future<Output = Result<(), E>> + Unpin,
    E: Error + 'static,
    H: Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = match self.live.poll_cut(cx) {
            Poll::Ready(cut) => Err(cut),
            Poll::Pending => Ok(ready!(Pin::new(&mut self.relay).poll(cx))),
        };
        self.worker.conclude(&self.metered, ended);
        Poll::Ready(())
    }
}
