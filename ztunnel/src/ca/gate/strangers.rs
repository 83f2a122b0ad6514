//! Whoever has proven nothing yet, by where the call comes from.

use std::net::IpAddr;

use daemon::limits::source_of;
use tokio::time::Instant;

use super::rates::Rates;
use crate::ca::refusal::Refusal;

/// How often may be tried, from one place, to prove who one is: a proof costs more to check than to send.
#[derive(Debug)]
pub struct Strangers(Rates);

impl Strangers {
    /// So many tries a second, and so many at once.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self(Rates::new(per_second, burst))
    }

    /// Whether a proof from there is looked at.
    pub(super) fn admit(&self, peer: IpAddr) -> Result<(), Refusal> {
        let caller = place(peer);
        if self.0.admit(&caller, Instant::now()) { Ok(()) } else { Err(Refusal::RateLimit { caller }) }
    }

    /// The proof was good: it does not count.
    pub(super) fn proven(&self, peer: IpAddr) {
        self.0.give_back(&place(peer), Instant::now());
    }
}

/// The source that tries are counted for, as messages name it.
fn place(peer: IpAddr) -> String {
    match source_of(peer) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_place_and_so_is_an_address_of_ipv4() {
        let place = |address: &str| place(address.parse().unwrap());
        assert_eq!(place("192.0.2.7"), "192.0.2.7");
        assert_eq!(place("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(place("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(place("2001:db8:1:2::1"), place("2001:db8:1:2:ffff::"));
        assert_ne!(place("2001:db8:1:2::1"), place("2001:db8:1:3::1"));
    }

    #[test]
    fn whoever_changes_addresses_within_a_network_gains_nothing() {
        let strangers = Strangers::new(1, 3);
        let tries = (1..=9).map(|host| strangers.admit(format!("2001:db8::{host}").parse().unwrap()));
        assert_eq!(tries.filter(Result::is_ok).count(), 3);
        assert!(strangers.admit("2001:db8:0:1::1".parse().unwrap()).is_ok(), "another network");
    }

    #[test]
    fn a_good_proof_does_not_count() {
        let (strangers, peer) = (Strangers::new(1, 1), IpAddr::from([192, 0, 2, 7]));
        for _ in 0..9 {
            strangers.admit(peer).unwrap();
            strangers.proven(peer);
        }
        strangers.admit(peer).unwrap();
        let refused = strangers.admit(peer).unwrap_err();
        assert_eq!(
            (refused.reason(), refused.to_string()),
            ("rate_limit", "192.0.2.7 asks too often".to_owned())
        );
    }
}
