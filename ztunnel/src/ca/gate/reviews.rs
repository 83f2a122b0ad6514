//! The API server's word on tokens, for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use cluster::kubernetes::TokenOwner;
use tokio::time::Instant;

/// Whose the tokens are that were seen lately. Holds digests, not tokens.
#[derive(Debug, Default)]
pub(super) struct Reviews {
    known: Mutex<HashMap<Digest, Known>>,
}

type Digest = [u8; 32];

#[derive(Debug)]
struct Known {
    owner: Arc<TokenOwner>,
    until: Instant,
}

impl Reviews {
    /// Whose token it is, if that was said lately.
    pub(super) fn recall(&self, token: &str, now: Instant) -> Option<Arc<TokenOwner>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&digest_of(token)).filter(|known| now < known.until).map(|known| known.owner.clone())
    }

    /// Remembers whose token it is.
    pub(super) fn remember(&self, token: &str, owner: &Arc<TokenOwner>, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, known| now < known.until);
        }
        // Full of what is still good: one that is not remembered is asked for again.
        if known.len() < MOST {
            known.insert(digest_of(token), Known { owner: owner.clone(), until: now + FOR });
        }
    }
}

fn digest_of(token: &str) -> Digest {
    let digest = digest(&SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// How long it is remembered: a node that starts asks for all of its pods within that, and a token whose account or pod
/// was deleted is good for no longer.
pub(super) const FOR: Duration = Duration::from_secs(10);

/// How many are remembered: a daemon presents the same token for hours, so that these are nodes that ask within a moment.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_remembered_for_a_moment_and_for_that_token_only() {
        let (reviews, now) = (Reviews::default(), Instant::now());
        reviews.remember("token", &owner(), now);
        assert_eq!(reviews.recall("token", now), Some(owner()));
        assert_eq!(reviews.recall("tokem", now), None);
        assert!(reviews.recall("token", now + FOR - Duration::from_millis(1)).is_some());
        assert!(reviews.recall("token", now + FOR).is_none());
    }

    #[test]
    fn there_are_never_more_than_its_bound_and_old_ones_make_room() {
        let (reviews, now) = (Reviews::default(), Instant::now());
        (0..=MOST).for_each(|at| reviews.remember(&at.to_string(), &owner(), now));
        assert_eq!(reviews.known.lock().unwrap().len(), MOST);
        assert!(reviews.recall("0", now).is_some());
        assert!(reviews.recall(&MOST.to_string(), now).is_none());
        reviews.remember("later", &owner(), now + FOR);
        assert!(reviews.recall("later", now + FOR).is_some());
        assert_eq!(reviews.known.lock().unwrap().len(), 1);
    }

    fn owner() -> Arc<TokenOwner> {
        let (namespace, service_account) = ("shop".to_owned(), "cart".to_owned());
        Arc::new(TokenOwner { namespace, service_account, pod: None, node: None })
    }
}
