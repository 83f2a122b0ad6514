//! The tunnels that a worker keeps to be shared.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::watch;

use crate::h2::ConnectRequest;
use crate::tunnel::{Stream, Tunnel};

/// Tunnels by key. Whoever has the same key shares them, so a key names everything that must not be shared beyond it.
/// `E` is why a tunnel could not be opened.
#[derive(Debug)]
pub struct Pool<K, E> {
    entries: RefCell<HashMap<K, Entry<E>, RandomState>>,
    /// Streams that a tunnel has before another one is opened beside it.
    streams_per_tunnel: usize,
    counts: Cell<PoolCounts>,
}

/// How streams came by their tunnels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// There was one.
    pub reused: u64,
    /// It was opened for them.
    pub dialled: u64,
    /// Somebody else was opening one, and they waited for it.
    pub waited: u64,
}

#[derive(Debug)]
struct Entry<E> {
    tunnels: Vec<Tunnel>,
    /// A tunnel is being opened.
    dial: Option<Dialling<E>>,
}

/// A tunnel that is being opened, as those see it who wait for it.
#[derive(Debug)]
struct Dialling<E> {
    /// Ends without an outcome when whoever dials gives up.
    outcome: watch::Receiver<Option<Outcome<E>>>,
    /// The key was evicted meanwhile: the tunnel serves those who wait, and nobody else.
    evicted: Rc<Cell<bool>>,
}

/// What came of a dial.
#[derive(Debug)]
enum Outcome<E> {
    /// No tunnel: everyone who waited is told the same.
    Failed(Arc<E>),
    /// A tunnel, in the pool.
    Pooled,
    /// A tunnel under an evicted key, kept out of the pool.
    Unpooled(Rc<LastUse>),
}

/// A tunnel that takes no streams once nobody who waited for it is left.
#[derive(Debug)]
struct LastUse(Tunnel);

/// What asking the pool comes to.
enum Turn<'p, K: Eq + Hash, E> {
    Open(Stream),
    Wait(watch::Receiver<Option<Outcome<E>>>),
    Dial(Dial<'p, K, E>),
}

/// The right to open a tunnel; others wait until it is dropped.
struct Dial<'p, K: Eq + Hash, E> {
    pool: &'p Pool<K, E>,
    key: K,
    evicted: Rc<Cell<bool>>,
    outcome: watch::Sender<Option<Outcome<E>>>,
}

impl<K: Clone + Eq + Hash, E: fmt::Debug> Pool<K, E> {
    /// An empty pool.
    pub fn new(streams_per_tunnel: usize) -> Self {
        Self { entries: RefCell::default(), streams_per_tunnel, counts: Cell::default() }
    }

    /// What was counted since this was last asked.
    pub fn take_counts(&self) -> PoolCounts {
        self.counts.take()
    }

    /// A stream of some tunnel under `key`. Opens a tunnel by `dial` if there is none with room; those who ask
    /// meanwhile share it.
    ///
    /// # Errors
    /// When `dial` fails. Those who waited for it share its failure: each dialling for itself, the last of many would
    /// wait for as many deadlines.
    ///
    /// # Cancel safety
    /// Dropping the future lets the next who waits dial.
    pub async fn stream(
        &self,
        key: &K,
        request: &ConnectRequest,
        dial: impl AsyncFn() -> Result<Tunnel, Arc<E>>,
    ) -> Result<Stream, Arc<E>> {
        loop {
            let opened = match self.turn(key, request) {
                Turn::Open(stream) => {
                    self.count(|counts| &mut counts.reused);
                    return Ok(stream);
                }
                Turn::Wait(mut dialled) => {
                    self.count(|counts| &mut counts.waited);
                    // Ends with an error when whoever dialled was dropped: then somebody else has to.
                    let _given_up = dialled.changed().await;
                    let outcome = dialled.borrow().clone();
                    match outcome {
                        Some(Outcome::Failed(error)) => return Err(error),
                        Some(Outcome::Unpooled(tunnel)) => tunnel.0.open(request),
                        Some(Outcome::Pooled) | None => continue,
                    }
                }
                Turn::Dial(turn) => {
                    self.count(|counts| &mut counts.dialled);
                    let tunnel = dial().await.inspect_err(|error| turn.fail(error))?;
                    // Held until our own stream is open.
                    let _last_use = turn.succeed(&tunnel);
                    tunnel.open(request)
                }
            };
            if let Ok(stream) = opened {
                return Ok(stream);
            }
        }
    }

    /// Has the tunnels under the keys that `gone` names take no new streams, also those that are being opened: they
    /// serve whoever waits for them already.
    pub fn evict(&self, gone: impl Fn(&K) -> bool) {
        self.let_go(gone, |tunnel| tunnel.leave());
    }

    /// The same for peers that seem to be gone: the streams of one that gives no sign of life within that time end.
    pub fn give_up(&self, gone: impl Fn(&K) -> bool, within: Duration) {
        self.let_go(gone, |tunnel| {
            tunnel.leave();
            tunnel.doubt(within);
        });
    }

    fn let_go(&self, gone: impl Fn(&K) -> bool, how: impl Fn(&Tunnel)) {
        self.entries.borrow_mut().retain(|key, entry| {
            if !gone(key) {
                return true;
            }
            entry.tunnels.drain(..).for_each(|tunnel| how(&tunnel));
            if let Some(dial) = &entry.dial {
                dial.evicted.set(true);
            }
            false
        });
    }

    /// Forgets tunnels that have ended; to be called now and then.
    pub fn prune(&self) {
        self.entries.borrow_mut().retain(|_, entry| {
            entry.tunnels.retain(|tunnel| !tunnel.is_leaving());
            !entry.tunnels.is_empty() || entry.dial.is_some()
        });
    }

    fn count(&self, which: impl Fn(&mut PoolCounts) -> &mut u64) {
        let mut counts = self.counts.get();
        *which(&mut counts) += 1;
        self.counts.set(counts);
    }

    fn turn(&self, key: &K, request: &ConnectRequest) -> Turn<'_, K, E> {
        let mut entries = self.entries.borrow_mut();
        let entry = match entries.get_mut(key) {
            Some(entry) => entry,
            None => entries.entry(key.clone()).or_default(),
        };
        entry.tunnels.retain(|tunnel| !tunnel.is_leaving());
        let open = || entry.tunnels.iter().filter(|it| it.can_open());
        // The fullest that has room: streams that share a tunnel share its reads and writes, and what a burst has left
        // behind ends for want of streams.
        let roomy = open().filter(|it| it.stream_count() < self.streams_per_tunnel);
        let fullest = roomy.max_by_key(|it| it.stream_count());
        let crowded =
            || open().min_by_key(|it| it.stream_count()).filter(|_| entry.tunnels.len() >= MAX_TUNNELS);
        if let Some(tunnel) = fullest.or_else(crowded)
            && let Ok(stream) = tunnel.open(request)
        {
            return Turn::Open(stream);
        }
        // One without streams that takes none either serves nobody. Kept, a peer that allows no streams, or no headers,
        // could have us hold a tunnel for each stream that it ever refused.
        for useless in entry.tunnels.extract_if(.., |tunnel| tunnel.stream_count() == 0) {
            useless.leave();
        }
        if let Some(dial) = &entry.dial {
            return Turn::Wait(dial.outcome.clone());
        }
        let (outcome, dialled) = watch::channel(None);
        let evicted = Rc::<Cell<bool>>::default();
        entry.dial = Some(Dialling { outcome: dialled, evicted: evicted.clone() });
        Turn::Dial(Dial { pool: self, key: key.clone(), evicted, outcome })
    }
}

impl<K: Eq + Hash, E> Dial<'_, K, E> {
    /// Hands the tunnel to the pool, unless the key was evicted meanwhile: then it leaves with its last use.
    fn succeed(self, tunnel: &Tunnel) -> Option<Rc<LastUse>> {
        if self.evicted.get() {
            let last_use = Rc::new(LastUse(tunnel.clone()));
            self.outcome.send_replace(Some(Outcome::Unpooled(last_use.clone())));
            return Some(last_use);
        }
        if let Some(entry) = self.pool.entries.borrow_mut().get_mut(&self.key) {
            entry.tunnels.push(tunnel.clone());
        }
        self.outcome.send_replace(Some(Outcome::Pooled));
        None
    }

    fn fail(&self, error: &Arc<E>) {
        self.outcome.send_replace(Some(Outcome::Failed(error.clone())));
    }
}

impl<K: Eq + Hash, E> Drop for Dial<'_, K, E> {
    fn drop(&mut self) {
        // Under an evicted key, somebody else may be dialling by now.
        if !self.evicted.get()
            && let Some(entry) = self.pool.entries.borrow_mut().get_mut(&self.key)
        {
            entry.dial = None;
        }
    }
}

impl Drop for LastUse {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl<E> Default for Entry<E> {
    fn default() -> Self {
        Self { tunnels: Vec::new(), dial: None }
    }
}

impl<E> Clone for Outcome<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(error.clone()),
            Self::Pooled => Self::Pooled,
            Self::Unpooled(tunnel) => Self::Unpooled(tunnel.clone()),
        }
    }
}

/// Tunnels under one key: beyond, streams share what there is. Each costs a socket and a handshake on both sides.
const MAX_TUNNELS: usize = 64;

#[cfg(test)]
mod tests;
