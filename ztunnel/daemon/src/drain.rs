//! Ending in two steps: first nothing new is taken, then what is left is cut.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Business as usual.
    Running,
    /// Nothing new is taken; what is there may go on until `deadline`.
    Draining {
        /// When it is cut.
        deadline: Instant,
    },
    /// What is left is cut, at once.
    Cut,
}

/// Sees the end coming. Clones see the same.
#[derive(Clone, Debug)]
pub struct Drain {
    phase: watch::Receiver<Phase>,
    /// Never sent on: [`Drainer::finished`] waits until the last guard is gone.
    guards: mpsc::WeakSender<()>,
}

/// Brings about the end. Clones drive the same one.
#[derive(Clone, Debug)]
pub struct Drainer {
    phase: Arc<watch::Sender<Phase>>,
}

/// Held by whatever must come to its end before the daemon may.
#[derive(Clone, Debug)]
pub struct DrainGuard {
    _held: Option<mpsc::Sender<()>>,
}

/// Waits for all guards.
#[derive(Debug)]
pub struct Finished {
    held: mpsc::Sender<()>,
    gone: mpsc::Receiver<()>,
}

/// A drain that runs, whoever starts it, and whoever waits for its end.
pub fn channel() -> (Drainer, Drain, Finished) {
    let (sender, phase) = watch::channel(Phase::Running);
    let (held, gone) = mpsc::channel(1);
    let drain = Drain { phase, guards: held.downgrade() };
    (Drainer { phase: Arc::new(sender) }, drain, Finished { held, gone })
}

impl Drain {
    /// How far the end has come.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until nothing new may be taken; says until when what is there may go on.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn draining(&self) -> Instant {
        let mut phase = self.phase.clone();
        match phase.wait_for(|phase| *phase != Phase::Running).await.as_deref() {
            Ok(Phase::Draining { deadline }) => *deadline,
            _ => Instant::now(),
        }
    }

    /// Waits until what is left must be cut. A drainer that is gone without a word cuts too.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn cut(&self) {
        let mut phase = self.phase.clone();
        let _ = phase.wait_for(|phase| *phase == Phase::Cut).await;
    }

    /// A guard that the daemon's end waits for, up to its deadline.
    pub fn guard(&self) -> DrainGuard {
        DrainGuard { _held: self.guards.upgrade() }
    }
}

impl Drainer {
    /// Nothing new from here on; a cut after `grace`. A second call can only bring the deadline forward.
    pub fn start(&self, grace: Duration) {
        let wanted = Instant::now() + grace;
        self.phase.send_if_modified(|phase| match phase {
            Phase::Draining { deadline } if *deadline <= wanted => false,
            Phase::Cut => false,
            Phase::Draining { .. } | Phase::Running => {
                *phase = Phase::Draining { deadline: wanted };
                true
            }
        });
    }

    /// Cuts what is left.
    pub fn cut(&self) {
        self.phase.send_replace(Phase::Cut);
    }
}

impl Finished {
    /// Waits until all guards are gone.
    pub async fn all_gone(self) {
        let Self { held, mut gone } = self;
        drop(held);
        while gone.recv().await.is_some() {}
    }

    /// Sees a drain through: waits for its start, then until all guards are gone or the deadline has come, then
    /// cuts, and gives what was cut `after_cut` to clean up.
    pub async fn see_through(self, drain: &Drain, drainer: &Drainer, after_cut: Duration) -> DrainEnd {
        drain.draining().await;
        let all_gone = self.all_gone();
        tokio::pin!(all_gone);
        tokio::select! {
            () = &mut all_gone => {
                drainer.cut();
                return DrainEnd::Drained;
            }
            () = deadline(drain) => drainer.cut(),
        }
        match tokio::time::timeout(after_cut, all_gone).await {
            Ok(()) => DrainEnd::Cut,
            Err(_) => DrainEnd::Abandoned,
        }
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainEnd {
    /// Something did not even react to the cut.
    Abandoned,
    /// Something was left at the deadline and was cut.
    Cut,
    /// Everything came to its own end.
    Drained,
}

/// Waits for the drain's deadline, which may come forward meanwhile.
async fn deadline(drain: &Drain) {
    let mut phase = drain.phase.clone();
    loop {
        let Phase::Draining { deadline } = *phase.borrow_and_update() else { return };
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => return,
            changed = phase.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_ends_by_itself_is_not_cut() {
        let (drainer, drain, finished) = channel();
        let guard = drain.guard();
        drainer.start(Duration::from_secs(5));
        let end = finished.see_through(&drain, &drainer, Duration::from_secs(1));
        let connection = async {
            drain.draining().await;
            drop(guard);
        };
        assert_eq!(tokio::join!(end, connection).0, DrainEnd::Drained);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_at_the_deadline_is_cut() {
        let (drainer, drain, finished) = channel();
        let guard = drain.guard();
        let began = Instant::now();
        drainer.start(Duration::from_secs(5));
        let end = finished.see_through(&drain, &drainer, Duration::from_secs(1));
        let connection = async {
            drain.cut().await;
            drop(guard);
        };
        assert_eq!(tokio::join!(end, connection).0, DrainEnd::Cut);
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_brings_the_deadline_forward_and_never_back() {
        let (drainer, drain, finished) = channel();
        let _guard = drain.guard();
        let began = Instant::now();
        drainer.start(Duration::from_secs(3600));
        drainer.start(Duration::from_secs(2));
        drainer.start(Duration::from_secs(60));
        let end = finished.see_through(&drain, &drainer, Duration::from_secs(1)).await;
        assert_eq!(end, DrainEnd::Abandoned);
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        assert_eq!(drain.phase(), Phase::Cut);
    }
}
