//! How often each caller may ask.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A bucket of calls for each caller, which fills steadily. Full ones say nothing and are forgotten, so that there are
/// no more than callers within the seconds that a bucket takes to fill.
#[derive(Debug)]
pub(in crate::ca) struct Rates {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug)]
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
        if buckets.len() >= FORGET_AT && !buckets.contains_key(caller) {
            buckets.retain(|_, bucket| self.filled(bucket, now) < self.burst);
        }
        let bucket = buckets.entry(caller.to_owned()).or_insert(Bucket { calls: self.burst, at: now });
        let filled = self.filled(bucket, now);
        let admitted = filled >= 1.0;
        *bucket = Bucket { calls: if admitted { filled - 1.0 } else { filled }, at: now };
        admitted
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since: Duration = now.saturating_duration_since(bucket.at);
        since.as_secs_f64().mul_add(self.per_second, bucket.calls).min(self.burst)
    }
}

/// Buckets kept without looking for full ones, which say nothing.
const FORGET_AT: usize = 1024;

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
}
