//! Families whose labels others choose: only so many, and the rest under one name.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;
use prometheus::{IntCounter, IntCounterVec};

/// Room for the label sets of one family. Clones share it.
#[derive(Clone, Debug)]
pub struct LabelBound(Arc<Room>);

/// A counter whose labels others choose. Clones share it.
#[derive(Clone, Debug)]
pub struct BoundedCounters {
    counters: IntCounterVec,
    bound: LabelBound,
}

#[derive(Debug)]
struct Room {
    limit: usize,
    hasher: RandomState,
    /// Digests of the label sets that have a series. Never more than `limit`.
    seen: Mutex<HashSet<u64, RandomState>>,
    overflowed: IntCounter,
}

impl LabelBound {
    pub(super) fn new(limit: usize, overflowed: IntCounter) -> Self {
        let (hasher, seen) = (RandomState::default(), Mutex::default());
        Self(Arc::new(Room { limit, hasher, seen, overflowed }))
    }

    /// Whether these labels have a series, or get one. If not, they are counted: use [`OVERFLOW`] for each of them.
    pub fn admits(&self, labels: &[&str]) -> bool {
        let digest = self.0.hasher.hash_one(labels);
        // Every change is one step: a panic elsewhere leaves nothing half done.
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&digest) {
            return true;
        }
        if seen.len() >= self.0.limit {
            self.0.overflowed.inc();
            return false;
        }
        seen.insert(digest);
        true
    }
}

impl BoundedCounters {
    pub(super) const fn new(counters: IntCounterVec, bound: LabelBound) -> Self {
        Self { counters, bound }
    }

    /// The counter of these labels, or the one for all that find no room.
    pub fn with(&self, labels: &[&str]) -> IntCounter {
        if self.bound.admits(labels) {
            self.counters.with_label_values(labels)
        } else {
            self.counters.with_label_values(&vec![OVERFLOW; labels.len()])
        }
    }

    /// Counts one more under these labels, or under the one name for all that find no room.
    pub fn inc(&self, labels: &[&str]) {
        self.with(labels).inc();
    }
}

/// Stands for the labels of what found no room.
pub const OVERFLOW: &str = "overflow";
