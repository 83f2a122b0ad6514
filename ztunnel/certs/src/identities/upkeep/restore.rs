//! What was kept of an earlier life of the daemon.

use std::sync::Arc;

use identity::SpiffeId;

use super::{RENEW_ALL_WITHIN, Upkeep};
use crate::bundle::TrustBundle;
use crate::cache::{CredentialCache, Kept};
use crate::credential::Credential;
use crate::describe;
use crate::identities::fetch::{FetchError, Fetched};
use crate::identities::ledger::Renewal;

impl Upkeep {
    /// Keeps what it fetches in `cache`, and takes from there what is still good until the CA gives better.
    #[must_use]
    pub fn with_cache(mut self, cache: CredentialCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Takes what was kept for an identity that has nothing yet.
    pub(super) fn restore(&mut self, identity: &SpiffeId) {
        let Some(kept) = self.cache.as_ref().and_then(|cache| cache.load(identity)) else { return };
        let used = usable(identity, kept).and_then(|found| {
            // The CA may have other roots by now, and a fresh key is better than an old one.
            self.adopt(identity, found, Renewal::Within(RENEW_ALL_WITHIN))
        });
        match used {
            Ok(changes) => {
                tracing::info!(%identity, "certificate is taken from the cache");
                self.publish(changes.into_iter());
            }
            Err(error) => {
                tracing::info!(%identity, cause = describe(&error), "kept certificate is no longer good");
                if let Some(cache) = &self.cache {
                    cache.forget(identity);
                }
            }
        }
    }

    /// Keeps what an identity of local workloads has got.
    pub(super) fn keep(&self, identity: &SpiffeId) {
        let Some(cache) = self.cache.as_ref().filter(|_| self.ledger.wants(identity)) else { return };
        let Some(held) = self.ledger.held_by(identity) else { return };
        cache.keep(held.configs.credential(), &held.roots);
    }
}

fn usable(identity: &SpiffeId, kept: Kept) -> Result<Fetched, FetchError> {
    let Kept { key, chain, roots } = kept;
    TrustBundle::new(roots.clone())?;
    Ok(Fetched { credential: Arc::new(Credential::new(identity, key, chain)?), roots })
}
