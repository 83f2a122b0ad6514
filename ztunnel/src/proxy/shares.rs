//! Bounded things that many ask for: nobody may take so many that others get none.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

/// A bounded number of places, counted by who took them.
///
/// However many are free, nobody may have more than twice as many as are: one alone gets two thirds of all, two get two
/// fifths each, and whoever comes later still finds some. A fixed share would either be too small for the one client of
/// a busy server, or leave nothing to others.
#[derive(Debug)]
pub(super) struct Shares<K> {
    taken: Mutex<Taken<K>>,
    /// Places that there are.
    limit: usize,
    /// Places that one may have at most, however many are free.
    each: usize,
}

#[derive(Debug)]
struct Taken<K> {
    total: usize,
    by: HashMap<K, usize, RandomState>,
}

/// A place. Given back when dropped.
#[derive(Debug)]
pub(super) struct Share<K: Eq + Hash> {
    of: Arc<Shares<K>>,
    by: K,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All are taken.
    All,
    /// Who asks has its share.
    Own,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// `limit` places; one may have no more than `each` of them.
    pub(super) fn new(limit: usize, each: usize) -> Arc<Self> {
        let taken = Mutex::new(Taken { total: 0, by: HashMap::default() });
        Arc::new(Self { taken, limit, each })
    }

    /// A place for `by`.
    pub(super) fn take(self: &Arc<Self>, by: &K) -> Result<Share<K>, Full> {
        let mut taken = self.taken();
        let free = self.limit.saturating_sub(taken.total);
        if free == 0 {
            return Err(Full::All);
        }
        let own = taken.by.get(by).copied().unwrap_or_default();
        if own >= self.each.min(free.saturating_mul(2)) {
            return Err(Full::Own);
        }
        taken.by.insert(by.clone(), own + 1);
        taken.total += 1;
        Ok(Share { of: self.clone(), by: by.clone() })
    }
}

impl<K> Shares<K> {
    fn taken(&self) -> MutexGuard<'_, Taken<K>> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        taken.total -= 1;
        if let Some(own) = taken.by.get_mut(&self.by) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(&self.by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many places as `by` gets.
    fn fill(shares: &Arc<Shares<u8>>, by: u8) -> Vec<Share<u8>> {
        std::iter::from_fn(|| shares.take(&by).ok()).collect()
    }

    #[test]
    fn who_takes_all_it_can_leaves_places_to_others() {
        let shares = Shares::new(900, usize::MAX);
        let first = fill(&shares, 1);
        assert_eq!(first.len(), 600);
        assert_eq!(shares.take(&1).unwrap_err(), Full::Own);
        let others: Vec<_> = (2..50).map(|by| shares.take(&by)).collect();
        assert!(others.iter().all(Result::is_ok));
    }

    #[test]
    fn nobody_has_more_than_the_most_that_one_may_have() {
        let shares = Shares::new(1000, 10);
        let places = fill(&shares, 1);
        assert_eq!(places.len(), 10);
        drop(places);
        assert_eq!(fill(&shares, 1).len(), 10, "places come back");
        assert!(shares.taken().by.is_empty(), "who has none is forgotten");
    }

    #[test]
    fn all_places_can_be_taken_together() {
        let shares = Shares::new(30, usize::MAX);
        let places: Vec<_> = (0..30).map(|by| shares.take(&by).unwrap()).collect();
        assert_eq!(shares.take(&200).unwrap_err(), Full::All);
        drop(places);
        assert!(shares.take(&200).is_ok());
    }
}
