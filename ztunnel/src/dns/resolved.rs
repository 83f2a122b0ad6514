//! Which names a pod has resolved to an address of late.
//!
//! Only names that its namespace's egress settings are about, only as the node's trusted name servers answered, and no
//! more than [`MAX_ADDRESSES`]: a wildcard lets a pod ask for as many names as it likes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

/// The names of one pod. Time is an argument.
#[derive(Debug, Default)]
pub struct ResolvedNames(Mutex<HashMap<IpAddr, SmallVec<[Resolved; 1]>, RandomState>>);

#[derive(Clone, Debug)]
struct Resolved {
    name: Arc<str>,
    until: Instant,
}

impl ResolvedNames {
    /// The names that an address has.
    pub fn of(&self, ip: IpAddr, now: Instant) -> Vec<Arc<str>> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let good = names.get(&ip.to_canonical()).into_iter().flatten().filter(|it| now < it.until);
        good.map(|it| it.name.clone()).collect()
    }

    /// Notes that a name has an address, for `ttl` and a while longer: clients connect after they have asked.
    pub fn note(&self, name: &Arc<str>, ip: IpAddr, ttl: Duration, now: Instant) {
        let until = now + ttl + GRACE;
        let ip = ip.to_canonical();
        // Every change is one step: a panic elsewhere leaves nothing half done.
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MAX_ADDRESSES && !names.contains_key(&ip) {
            make_room(&mut names, now);
        }
        let known = names.entry(ip).or_default();
        known.retain(|it| now < it.until && it.name != *name);
        if known.len() >= MAX_NAMES {
            known.remove(0);
        }
        known.push(Resolved { name: name.clone(), until });
    }
}

/// Forgets what is over; if nothing is, what will be over first.
fn make_room(names: &mut HashMap<IpAddr, SmallVec<[Resolved; 1]>, RandomState>, now: Instant) {
    names.retain(|_, known| known.iter().any(|it| now < it.until));
    if names.len() >= MAX_ADDRESSES {
        let last = |known: &SmallVec<[Resolved; 1]>| known.iter().map(|it| it.until).max();
        let first = names.iter().min_by_key(|(_, known)| last(known)).map(|(ip, _)| *ip);
        first.and_then(|ip| names.remove(&ip));
    }
}

/// Addresses of one pod: more than an application talks to, some 400 kB.
const MAX_ADDRESSES: usize = 4096;
/// Names of one address: large providers have many behind one.
const MAX_NAMES: usize = 16;
/// How much longer than its record says an address is good: a client asks, waits in a pool, and then connects.
const GRACE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_good_for_its_ttl_and_a_while_longer() {
        let (names, now) = (ResolvedNames::default(), Instant::now());
        names.note(&"api.example".into(), ip(1), Duration::from_secs(30), now);
        assert_eq!(names.of(ip(1), now + Duration::from_secs(89)), ["api.example".into()]);
        assert!(names.of(ip(1), now + Duration::from_secs(90)).is_empty());
        assert!(names.of(ip(2), now).is_empty());
    }

    #[test]
    fn several_names_may_have_one_address_and_not_too_many() {
        let (names, now) = (ResolvedNames::default(), Instant::now());
        for number in 0..=MAX_NAMES {
            names.note(&format!("n{number}").into(), ip(1), Duration::ZERO, now);
        }
        let known = names.of(ip(1), now);
        assert_eq!(known.len(), MAX_NAMES);
        assert!(!known.contains(&"n0".into()) && known.contains(&"n1".into()));
    }

    #[test]
    fn when_all_places_are_taken_what_ends_first_makes_room() {
        let (names, now) = (ResolvedNames::default(), Instant::now());
        let name = Arc::from("a.example");
        for number in 0..u32::try_from(MAX_ADDRESSES).unwrap() {
            names.note(&name, ip(number), Duration::from_secs(if number == 7 { 1 } else { 2 }), now);
        }
        names.note(&name, ip(u32::MAX), Duration::from_secs(2), now);
        assert!(names.of(ip(7), now).is_empty());
        assert_eq!(names.of(ip(u32::MAX), now).len(), 1);
        assert_eq!(names.0.lock().unwrap().len(), MAX_ADDRESSES);
    }

    fn ip(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }
}
