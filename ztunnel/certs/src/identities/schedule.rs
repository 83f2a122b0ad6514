//! When to fetch: pure arithmetic. `roll` is a random number from 0 to 1.

use std::time::Duration;

use rustls_pki_types::UnixTime;

/// What a fetch is for; the least comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    /// A connection waits for it.
    Waiting,
    /// A workload is there that has no certificate.
    Prefetch,
    /// There is a certificate that still lasts.
    Renewal,
}

/// When a certificate received `now` that ends at `not_after` is renewed: at half of the life that it has left, or up
/// to a tenth later, so that nodes that started together don't renew together. What a CA dates back doesn't count.
pub(super) fn renew_at(now: UnixTime, not_after: UnixTime, roll: f64) -> UnixTime {
    let left = Duration::from_secs(not_after.as_secs().saturating_sub(now.as_secs()));
    later(now, left.mul_f64(0.1f64.mul_add(roll, 0.5)))
}

/// How long to wait after the `failures`th failure in a row.
pub(super) fn back_off(failures: u32, roll: f64) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(MAX_DOUBLINGS));
    doubled.min(LAST_RETRY).mul_f64(0.4f64.mul_add(roll, 0.8))
}

pub(super) fn later(time: UnixTime, by: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(time.as_secs()).saturating_add(by))
}

/// Istio's: quick enough for a CA that restarts.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// Istio's: slow enough for a CA that is down, with 1000 nodes waiting for it.
const LAST_RETRY: Duration = Duration::from_secs(150);

/// Half a second doubled this often is more than the last.
const MAX_DOUBLINGS: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_begins_at_half_life_and_is_spread_over_a_tenth() {
        let day = 24 * 3600;
        let at = |roll| renew_at(time(1000), time(1000 + day), roll).as_secs() - 1000;
        assert_eq!((at(0.0), at(1.0)), (day / 2, day * 6 / 10));
    }

    #[test]
    fn a_certificate_that_has_ended_is_renewed_at_once() {
        assert_eq!(renew_at(time(1000), time(10), 1.0), time(1000));
    }

    #[test]
    fn back_off_doubles_from_half_a_second_to_two_and_a_half_minutes() {
        let mean = |failures| back_off(failures, 0.5).as_millis();
        assert_eq!([1, 2, 3, 4].map(mean), [500, 1000, 2000, 4000]);
        assert_eq!([9, 10, 1000, u32::MAX].map(mean), [128_000, 150_000, 150_000, 150_000]);
    }

    #[test]
    fn back_off_differs_by_a_fifth() {
        assert_eq!(back_off(1, 0.0), Duration::from_millis(400));
        assert_eq!(back_off(1, 1.0), Duration::from_millis(600));
    }

    #[test]
    fn who_waits_comes_first() {
        assert!(Priority::Waiting < Priority::Prefetch && Priority::Prefetch < Priority::Renewal);
    }

    fn time(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }
}
