//! Which endpoint each client's connections go to, for services with `sessionAffinity: ClientIP`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Remembered;
use crate::ServiceKey;

/// Remembers endpoints of clients. Time is an argument; the number of entries is bounded.
#[derive(Debug)]
pub struct Affinities {
    entries: HashMap<AffinityKey, Entry>,
    limit: usize,
}

/// A client and what it calls. Ports of a service are placed on their own, as kube-proxy does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AffinityKey {
    /// The client's address.
    pub client: IpAddr,
    /// The service.
    pub service: ServiceKey,
    /// Port of the service.
    pub port: u16,
}

#[derive(Debug)]
struct Entry {
    endpoint: Remembered,
    until: Instant,
}

impl Affinities {
    /// Remembers up to `limit` endpoints.
    pub fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), limit }
    }

    /// The endpoint of a client, unless its time is over.
    pub fn recall(&self, key: &AffinityKey, now: Instant) -> Option<&Remembered> {
        self.entries.get(key).filter(|entry| now < entry.until).map(|entry| &entry.endpoint)
    }

    /// Remembers a client's endpoint until it has been idle for `timeout`.
    pub fn remember(&mut self, key: AffinityKey, endpoint: Remembered, timeout: Duration, now: Instant) {
        let entry = Entry { endpoint, until: now + timeout };
        if let Some(known) = self.entries.get_mut(&key) {
            *known = entry;
            return;
        }
        if self.entries.len() >= self.limit {
            self.make_room(now);
        }
        if self.entries.len() < self.limit {
            self.entries.insert(key, entry);
        }
    }

    /// How many endpoints are remembered, outdated ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops what is outdated; else the half that will be soonest, so that this is rare.
    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| now < entry.until);
        if self.entries.len() < self.limit || self.entries.is_empty() {
            return;
        }
        let mut ends: Vec<_> = self.entries.values().map(|entry| entry.until).collect();
        let middle = ends.len() / 2;
        let (_, &mut median, _) = ends.select_nth_unstable(middle);
        self.entries.retain(|_, entry| median < entry.until);
    }
}
