//! How often each caller may ask.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A bucket of calls for each caller, which fills steadily. Full ones say nothing and are forgotten. There are never
/// more than [`MOST`]: callers beyond it have one bucket together.
#[derive(Debug)]
pub(in crate::ca) struct Rates {
    per_second: f64,
    burst: f64,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    of: HashMap<String, Bucket>,
    /// That of all who found no room for one of their own.
    rest: Option<Bucket>,
    /// When full ones were last looked for.
    pruned: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    calls: f64,
    at: Instant,
}

impl Rates {
    pub(in crate::ca) fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: per_second.into(), burst: burst.into(), buckets: Mutex::default() }
    }

    /// Whether `caller` may ask now, which it then has.
    pub(in crate::ca) fn admit(&self, caller: &str, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = self.bucket(&mut buckets, caller, now);
        let filled = self.filled(bucket, now);
        let admitted = filled >= 1.0;
        *bucket = Bucket { calls: if admitted { filled - 1.0 } else { filled }, at: now };
        admitted
    }

    /// Gives a call back that `caller` was let make.
    pub(in crate::ca) fn give_back(&self, caller: &str, now: Instant) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = self.bucket(&mut buckets, caller, now);
        *bucket = Bucket { calls: (self.filled(bucket, now) + 1.0).min(self.burst), at: now };
    }

    fn bucket<'b>(&self, buckets: &'b mut Buckets, caller: &str, now: Instant) -> &'b mut Bucket {
        let full = Bucket { calls: self.burst, at: now };
        if !buckets.of.contains_key(caller) {
            self.make_room(buckets, now);
            if buckets.of.len() >= MOST {
                return buckets.rest.get_or_insert(full);
            }
        }
        buckets.of.entry(caller.to_owned()).or_insert(full)
    }

    /// Forgets full buckets where there are too many. They are not looked for with each call.
    fn make_room(&self, buckets: &mut Buckets, now: Instant) {
        let lately = |at| now.saturating_duration_since(at) < LOOK_EVERY;
        if buckets.of.len() >= MOST && !buckets.pruned.is_some_and(lately) {
            buckets.of.retain(|_, bucket| self.filled(bucket, now) < self.burst);
            buckets.pruned = Some(now);
        }
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since: Duration = now.saturating_duration_since(bucket.at);
        since.as_secs_f64().mul_add(self.per_second, bucket.calls).min(self.burst)
    }
}

/// Buckets at a time, some hundred bytes each: more than there are nodes, and than a cluster has callers in a moment.
const MOST: usize = 16 << 10;

/// How often full buckets are looked for at most, once there is no room: all are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_ask_at_once_what_it_saved_up_and_then_at_its_rate() {
        let (rates, start) = (Rates::new(2, 3), Instant::now());
        let admitted = |millis| rates.admit("node-1", start + Duration::from_millis(millis));
        assert_eq!([0, 0, 0, 0].map(admitted), [true, true, true, false]);
        assert_eq!([400, 500, 600, 1000].map(admitted), [false, true, false, true]);
    }

    #[test]
    fn one_caller_costs_another_nothing() {
        let (rates, now) = (Rates::new(1, 1), Instant::now());
        assert!(rates.admit("node-1", now));
        assert!(!rates.admit("node-1", now));
        assert!(rates.admit("node-2", now));
    }

    #[test]
    fn a_call_that_is_given_back_was_not_made() {
        let (rates, now) = (Rates::new(1, 1), Instant::now());
        for _ in 0..5 {
            assert!(rates.admit("node-1", now));
            rates.give_back("node-1", now);
        }
        rates.give_back("node-1", now);
        assert!(
            rates.admit("node-1", now) && !rates.admit("node-1", now),
            "no more than the burst is saved up"
        );
    }

    #[test]
    fn however_many_call_there_is_a_bound_and_those_beyond_it_share_what_one_may() {
        let (rates, start) = (Rates::new(1, 2), Instant::now());
        for caller in 0..MOST {
            assert!(rates.admit(&caller.to_string(), start));
        }
        let beyond = ["a", "b", "c", "d"].map(|caller| rates.admit(caller, start));
        assert_eq!(beyond, [true, true, false, false]);
        assert!(rates.admit("0", start) && !rates.admit("0", start), "who was there before has its own");
        let later = start + Duration::from_secs(1);
        assert_eq!(["e", "f", "g"].map(|caller| rates.admit(caller, later)), [true; 3]);
        assert_eq!(
            rates.buckets.lock().unwrap().of.len(),
            4,
            "of the first it is only \"0\" that is not full"
        );
    }
}
