//! Tokens that were used, for as long as they could be used again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use certs::NodeClaims;
use rustls_pki_types::UnixTime;

use crate::ca::refusal::Refusal;

/// Ids of tokens, each until nobody would accept it any more. What it holds is bounded by what callers may ask for in
/// some minutes.
#[derive(Debug, Default)]
pub(super) struct Replays {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    until: HashMap<(String, String), UnixTime>,
    /// How many there may be before the old ones are looked for.
    prune_at: usize,
}

impl Replays {
    /// Takes a token for used. A bearer token may be used again.
    pub(super) fn first_use(&self, claims: &NodeClaims, now: UnixTime) -> Result<(), Refusal> {
        if claims.request.is_none() {
            return Ok(());
        }
        if claims.id.is_empty() || claims.id.len() > MAX_ID {
            return Err(certs::NodeTokenError::Malformed.into());
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.until.len() >= seen.prune_at {
            seen.until.retain(|_, until| *until >= now);
            seen.prune_at = (2 * seen.until.len()).max(PRUNE_AT);
        }
        let id = (claims.node.clone(), claims.id.clone());
        match seen.until.insert(id, claims.acceptable_until()) {
            Some(until) if until >= now => Err(Refusal::Replay),
            _ => Ok(()),
        }
    }
}

/// Our own ids have 22 characters, UUIDs 36.
const MAX_ID: usize = 64;

/// Ids kept without looking for old ones.
const PRUNE_AT: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_is_used_once() {
        let replays = Replays::default();
        assert!(replays.first_use(&claims("node-1", "a"), at(1000)).is_ok());
        assert!(matches!(replays.first_use(&claims("node-1", "a"), at(1060)), Err(Refusal::Replay)));
        assert!(replays.first_use(&claims("node-1", "b"), at(1000)).is_ok());
        assert!(replays.first_use(&claims("node-2", "a"), at(1000)).is_ok(), "nodes don't share ids");
    }

    #[test]
    fn a_bearer_token_is_used_again() {
        let (replays, bearer) = (Replays::default(), NodeClaims { request: None, ..claims("node-1", "a") });
        assert!(replays.first_use(&bearer, at(1000)).is_ok());
        assert!(replays.first_use(&bearer, at(1000)).is_ok());
    }

    #[test]
    fn a_token_without_an_id_is_refused() {
        for id in ["", &"x".repeat(65)] {
            assert!(matches!(
                Replays::default().first_use(&claims("node-1", id), at(1000)),
                Err(Refusal::Token(_))
            ));
        }
    }

    #[test]
    fn what_nobody_would_accept_is_not_kept() {
        let replays = Replays::default();
        for number in 0..PRUNE_AT {
            replays.first_use(&claims("node-1", &number.to_string()), at(1000)).unwrap();
        }
        replays.first_use(&claims("node-1", "last"), at(10_000)).unwrap();
        assert_eq!(replays.seen.lock().unwrap().until.len(), 1);
    }

    fn claims(node: &str, id: &str) -> NodeClaims {
        NodeClaims {
            node: node.to_owned(),
            audience: certs::AUDIENCE.to_owned(),
            issued_at: 1000,
            expires_at: 1060,
            id: id.to_owned(),
            request: Some(String::new()),
        }
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }
}
