//! The tunnels that a worker keeps to be shared.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::sync::watch;

use crate::h2::ConnectRequest;
use crate::tunnel::{Stream, Tunnel};

/// Tunnels by key. Whoever has the same key shares them, so a key names everything that must not be shared beyond it.
#[derive(Debug)]
pub struct Pool<K> {
    entries: RefCell<HashMap<K, Entry, RandomState>>,
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

#[derive(Debug, Default)]
struct Entry {
    tunnels: Vec<Tunnel>,
    /// A tunnel is being opened: ends when it is there, or won't come.
    dial: Option<watch::Receiver<()>>,
}

/// What asking the pool comes to.
enum Turn<'p, K: Eq + Hash> {
    Open(Stream),
    Wait(watch::Receiver<()>),
    Dial(Dial<'p, K>),
}

/// The right to open a tunnel; others wait until it is dropped.
struct Dial<'p, K: Eq + Hash> {
    pool: &'p Pool<K>,
    key: K,
    _done: watch::Sender<()>,
}

impl<K: Clone + Eq + Hash> Pool<K> {
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
    /// When `dial` fails. Those who waited for it dial for themselves, one after the other: what stood in the way of
    /// one may not in that of the next.
    ///
    /// # Cancel safety
    /// Dropping the future lets the next who waits dial.
    pub async fn stream<E>(
        &self,
        key: &K,
        request: &ConnectRequest,
        dial: impl AsyncFn() -> Result<Tunnel, Arc<E>>,
    ) -> Result<Stream, Arc<E>> {
        loop {
            match self.turn(key, request) {
                Turn::Open(stream) => {
                    self.count(|counts| &mut counts.reused);
                    return Ok(stream);
                }
                Turn::Wait(mut dialled) => {
                    self.count(|counts| &mut counts.waited);
                    // Ends with an error when the dialling one is done: its sender is gone then.
                    let _ended = dialled.changed().await;
                }
                Turn::Dial(turn) => {
                    self.count(|counts| &mut counts.dialled);
                    let tunnel = dial().await?;
                    turn.succeed(tunnel.clone());
                    if let Ok(stream) = tunnel.open(request) {
                        return Ok(stream);
                    }
                }
            }
        }
    }

    /// Has the tunnels under the keys that `gone` names take no new streams.
    pub fn evict(&self, gone: impl Fn(&K) -> bool) {
        self.entries.borrow_mut().retain(|key, entry| {
            if !gone(key) {
                return true;
            }
            entry.tunnels.drain(..).for_each(|tunnel| tunnel.leave());
            // Those who wait still have to be found by whoever dials.
            entry.dial.is_some()
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

    fn turn(&self, key: &K, request: &ConnectRequest) -> Turn<'_, K> {
        let mut entries = self.entries.borrow_mut();
        let entry = match entries.get_mut(key) {
            Some(entry) => entry,
            None => entries.entry(key.clone()).or_default(),
        };
        entry.tunnels.retain(|tunnel| !tunnel.is_leaving());
        let least = entry.tunnels.iter().filter(|it| it.can_open()).min_by_key(|it| it.stream_count());
        if let Some(tunnel) = least
            && (tunnel.stream_count() < self.streams_per_tunnel || entry.tunnels.len() >= MAX_TUNNELS)
            && let Ok(stream) = tunnel.open(request)
        {
            return Turn::Open(stream);
        }
        if let Some(dial) = &entry.dial {
            return Turn::Wait(dial.clone());
        }
        let (done, dialled) = watch::channel(());
        entry.dial = Some(dialled);
        Turn::Dial(Dial { pool: self, key: key.clone(), _done: done })
    }
}

impl<K: Eq + Hash> Dial<'_, K> {
    fn succeed(self, tunnel: Tunnel) {
        if let Some(entry) = self.pool.entries.borrow_mut().get_mut(&self.key) {
            entry.tunnels.push(tunnel);
        }
    }
}

impl<K: Eq + Hash> Drop for Dial<'_, K> {
    fn drop(&mut self) {
        if let Some(entry) = self.pool.entries.borrow_mut().get_mut(&self.key) {
            entry.dial = None;
        }
    }
}

/// Tunnels under one key: beyond, streams share what there is. Each costs a socket and a handshake on both sides.
const MAX_TUNNELS: usize = 64;
