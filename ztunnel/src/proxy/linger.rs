//! Keeps a worker awake for the moment in which an answer is about to come.
//!
//! A processor that is halted takes longer to wake than all else that a small message costs. So a worker that was just
//! busy looks for more for a while before it sleeps, and gives its processor to whoever else wants it between two
//! looks. It learns: where nothing came in that while, or so much that the processors are busy anyway, it sleeps at
//! once the next times.

use std::time::{Duration, Instant};

use hbone::tunnel::Buffers;

/// Lingers for `span` after each arrival. Runs as long as the worker.
pub(super) async fn linger(buffers: Buffers, span: Duration) {
    let mut hope = Hope::default();
    let mut seen = buffers.arrivals();
    loop {
        buffers.arrival(seen).await;
        seen = buffers.arrivals();
        if hope.is_worth_it() {
            let (latest, hit) = look(&buffers, seen, span).await;
            seen = latest;
            hope.learn(hit);
        }
    }
}

/// Looks until nothing has come for `span`; whether anything has.
async fn look(buffers: &Buffers, mut seen: u64, span: Duration) -> (u64, bool) {
    let mut since = Instant::now();
    let mut hit = false;
    loop {
        // Everything that is ready runs, and the reactor is asked.
        tokio::task::yield_now().await;
        let now = buffers.arrivals();
        if now.wrapping_sub(seen) > FEW {
            // So much at once: there will be more before long, and what comes together costs less.
            return (now, false);
        } else if now != seen {
            (seen, hit, since) = (now, true, Instant::now());
        } else if since.elapsed() >= span {
            return (seen, hit);
        } else {
            std::thread::yield_now();
        }
    }
}

/// Whether lingering has been of use.
#[derive(Debug, Default)]
struct Hope {
    /// Arrivals to let pass before the next try.
    pause: u32,
    /// How many that were the last time.
    last: u32,
}

impl Hope {
    fn is_worth_it(&mut self) -> bool {
        match self.pause.checked_sub(1) {
            Some(left) => {
                self.pause = left;
                false
            }
            None => true,
        }
    }

    fn learn(&mut self, hit: bool) {
        self.last = if hit { 0 } else { (self.last * 2 + 1).min(MAX_PAUSE) };
        self.pause = self.last;
    }
}

/// Arrivals in one turn that answer few connections.
const FEW: u64 = 2;

/// Arrivals that pass between two tries in vain: what lingering costs a worker that has nothing of it stays far below
/// one part in a hundred.
const MAX_PAUSE: u32 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `arrivals` are followed by a look, when what comes of it is always the same.
    fn looks(hit: bool, arrivals: u32) -> usize {
        let mut hope = Hope::default();
        let worth = |hope: &mut Hope| {
            let worth = hope.is_worth_it();
            if worth {
                hope.learn(hit);
            }
            worth
        };
        (0..arrivals).filter(|_| worth(&mut hope)).count()
    }

    #[test]
    fn it_goes_on_while_something_comes_of_it() {
        assert_eq!(looks(true, 1000), 1000);
    }

    #[test]
    fn in_vain_it_becomes_rare() {
        assert!(looks(false, 100_000) < 500, "{}", looks(false, 100_000));
    }

    #[test]
    fn after_one_success_it_is_tried_each_time_again() {
        let mut hope = Hope::default();
        (0..10).for_each(|_| hope.learn(false));
        assert!(!hope.is_worth_it());
        hope.learn(true);
        assert!(hope.is_worth_it() && hope.is_worth_it());
    }

    #[test]
    fn many_arrivals_at_once_end_the_look() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let long = Duration::from_secs(20);
        let (latest, hit) = runtime.block_on(async {
            // As if four had come since somebody counted.
            let buffers = Buffers::new();
            let looked = look(&buffers, buffers.arrivals().wrapping_sub(4), long);
            tokio::time::timeout(long / 2, looked).await.expect("it ends at once")
        });
        assert_eq!((latest, hit), (0, false));
    }
}
