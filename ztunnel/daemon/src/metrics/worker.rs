//! Counting on a worker: plain additions, handed to the shared counters now and then.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::connections::{ConnectionTable, Series};
use crate::metrics::labels::{ConnectionLabels, ResponseFlag};

/// Counters of one worker's connections. Not `Send`: it stays on its worker.
#[derive(Debug)]
pub struct WorkerCounters {
    table: Arc<ConnectionTable>,
    local: RefCell<HashMap<ConnectionLabels, Rc<Local>, foldhash::fast::RandomState>>,
}

/// Counts one connection: opened when made, closed when dropped.
#[derive(Debug)]
pub struct ConnectionCounters {
    local: Rc<Local>,
    sent: Cell<u64>,
    received: Cell<u64>,
}

/// What a worker counted under one label set since it was last flushed.
#[derive(Debug)]
struct Local {
    series: Arc<Series>,
    opened: Cell<u64>,
    closed: Cell<u64>,
    sent: Cell<u64>,
    received: Cell<u64>,
    failed: [Cell<u64>; ResponseFlag::ALL.len()],
    /// Flushes since a connection used it.
    unused: Cell<u32>,
}

impl WorkerCounters {
    pub(super) fn new(table: Arc<ConnectionTable>) -> Self {
        Self { table, local: RefCell::default() }
    }

    /// Counts a connection as opened. Looks the labels up, once for its life.
    pub fn open(&self, labels: &ConnectionLabels) -> ConnectionCounters {
        let local = self.local(labels);
        add(&local.opened, 1);
        ConnectionCounters { local, sent: Cell::new(0), received: Cell::new(0) }
    }

    /// Hands everything counted to the shared counters. To be called about once a second; costs a few additions
    /// per label set in use, however many connections there are.
    pub fn flush(&self) {
        self.local.borrow_mut().retain(|_, local| {
            local.flush();
            let unused = if Rc::strong_count(local) == 1 { local.unused.get() + 1 } else { 0 };
            local.unused.set(unused);
            unused < KEPT_FLUSHES
        });
    }

    fn local(&self, labels: &ConnectionLabels) -> Rc<Local> {
        if let Some(local) = self.local.borrow().get(labels) {
            return local.clone();
        }
        let local = Rc::new(Local::new(self.table.series(labels)));
        self.local.borrow_mut().insert(labels.clone(), local.clone());
        local
    }
}

impl ConnectionCounters {
    /// Counts bytes from source to destination.
    pub fn sent(&self, bytes: u64) {
        add(&self.sent, bytes);
        add(&self.local.sent, bytes);
    }

    /// Counts bytes from destination to source.
    pub fn received(&self, bytes: u64) {
        add(&self.received, bytes);
        add(&self.local.received, bytes);
    }

    /// Bytes of this connection so far: sent, received.
    pub const fn bytes(&self) -> (u64, u64) {
        (self.sent.get(), self.received.get())
    }

    /// Counts the connection as failed, and closed.
    pub fn failed(self, flag: ResponseFlag) {
        add(&self.local.failed[flag.place()], 1);
    }
}

impl Drop for ConnectionCounters {
    fn drop(&mut self) {
        add(&self.local.closed, 1);
    }
}

impl Local {
    fn new(series: Arc<Series>) -> Self {
        Self {
            series,
            opened: Cell::default(),
            closed: Cell::default(),
            sent: Cell::default(),
            received: Cell::default(),
            failed: Default::default(),
            unused: Cell::default(),
        }
    }

    fn flush(&self) {
        let counts = &self.series.counts;
        hand_over(&self.opened, &counts.opened);
        hand_over(&self.closed, &counts.closed);
        hand_over(&self.sent, &counts.sent);
        hand_over(&self.received, &counts.received);
        for (local, shared) in self.failed.iter().zip(&counts.failed) {
            hand_over(local, shared);
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.flush();
    }
}

fn add(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get() + by);
}

fn hand_over(local: &Cell<u64>, shared: &AtomicU64) {
    let counted = local.take();
    if counted > 0 {
        shared.fetch_add(counted, Ordering::Relaxed);
    }
}

/// Flushes that a label set without connections is kept for: about a minute, so that clients that connect now and
/// then do not make the worker ask for the same labels again and again.
const KEPT_FLUSHES: u32 = 60;
