//! The label sets of connections, and what was counted under each.
//!
//! Each connection has 27 labels. The `prometheus` crate keeps them once per family and builds them anew for every
//! scrape; here they are one text per label set, shared by all families.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntCounter;

use crate::metrics::labels::{ConnectionLabels, Reporter, ResponseFlag, Security};

/// All label sets in use.
#[derive(Debug)]
pub(super) struct ConnectionTable {
    /// Held by workers when they meet a label set for the first time in a while, and by a scrape while it copies
    /// the list. Never while anything is rendered.
    table: Mutex<Table>,
    limit: usize,
    overflowed: IntCounter,
}

#[derive(Debug, Default)]
struct Table {
    series: HashMap<ConnectionLabels, Arc<Series>, foldhash::fast::RandomState>,
    /// Nothing in the table can be dropped before the next scrape.
    packed: bool,
    /// What dropped series had counted, of what is told beyond them.
    dropped: Totals,
}

/// What there is to tell of all label sets together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    /// By [`Reporter::place`].
    pub(super) of: [Total; Reporter::ALL.len()],
}

/// Of one side.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Total {
    /// Connections that are open.
    pub(super) open: u64,
    /// Bytes that nothing protected, from source to destination.
    pub(super) unprotected_sent: u64,
    /// The same, from destination to source.
    pub(super) unprotected_received: u64,
}

/// Everything that a scrape shows of connections.
pub(super) struct Scraped {
    /// All series, in the order of their labels.
    pub(super) series: Vec<Arc<Series>>,
    pub(super) totals: Totals,
}

/// What was counted under one label set.
#[derive(Debug)]
pub(super) struct Series {
    /// Labels as they stand in a sample, without `response_flags`.
    pub(super) labels: Box<str>,
    pub(super) counts: Counts,
    reporter: Reporter,
    security: Security,
    /// Bytes and connections as the last scrape saw them: what moved since must not be dropped unseen.
    scraped: AtomicU64,
}

/// Counters of one label set.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) opened: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) failed: [AtomicU64; ResponseFlag::ALL.len()],
}

impl ConnectionTable {
    pub(super) fn new(limit: usize, overflowed: IntCounter) -> Self {
        Self { table: Mutex::default(), limit, overflowed }
    }

    /// The series of these labels, or the one for all that do not fit.
    pub(super) fn series(&self, labels: &ConnectionLabels) -> Arc<Series> {
        let mut table = self.lock();
        if let Some(series) = table.series.get(labels) {
            return series.clone();
        }
        if table.series.len() >= self.limit {
            table.pack();
        }
        if table.series.len() < self.limit {
            return table.add(labels.clone());
        }
        self.overflowed.inc();
        let overflow = labels.overflow();
        // A few more than the limit: one per reporter and protection.
        table.series.get(&overflow).cloned().unwrap_or_else(|| table.add(overflow))
    }

    /// What there is. Workers wait for the time that copying the list takes, and not while anything is rendered.
    pub(super) fn scrape(&self) -> Scraped {
        let (mut series, mut totals): (Vec<_>, _) = {
            let mut table = self.lock();
            table.packed = false;
            (table.series.values().cloned().collect(), table.dropped)
        };
        series.sort_unstable_by(|one, other| one.labels.cmp(&other.labels));
        for series in &series {
            series.scraped.store(series.counts.sum(), Ordering::Relaxed);
            totals.add(series);
        }
        Scraped { series, totals }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, labels: ConnectionLabels) -> Arc<Series> {
        let series = Arc::new(Series {
            labels: labels.render(),
            counts: Counts::default(),
            reporter: labels.reporter,
            security: labels.security,
            scraped: AtomicU64::new(0),
        });
        self.series.insert(labels, series.clone());
        series
    }

    /// Drops what no worker holds and the last scrape has seen. At most once a scrape, as it looks at everything.
    fn pack(&mut self) {
        if !self.packed {
            let dropped = &mut self.dropped;
            self.series.retain(|_, series| {
                let stays = Arc::strong_count(series) > 1 || series.moved();
                if !stays {
                    dropped.add(series);
                }
                stays
            });
            self.packed = true;
        }
    }
}

impl Totals {
    fn add(&mut self, series: &Series) {
        let Counts { opened, closed, sent, received, .. } = &series.counts;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let total = &mut self.of[series.reporter.place()];
        // Closed first: one that opens and closes in between must not count as minus one.
        let closed = of(closed);
        total.open += of(opened).saturating_sub(closed);
        if series.security == Security::Unknown {
            total.unprotected_sent += of(sent);
            total.unprotected_received += of(received);
        }
    }
}

impl Series {
    fn moved(&self) -> bool {
        self.counts.sum() != self.scraped.load(Ordering::Relaxed)
    }
}

impl Counts {
    fn sum(&self) -> u64 {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = [&self.opened, &self.closed, &self.sent, &self.received];
        counters.into_iter().chain(&self.failed).fold(0, |sum, counter| sum.wrapping_add(of(counter)))
    }
}
