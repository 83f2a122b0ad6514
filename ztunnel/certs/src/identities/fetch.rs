//! One fetch: a key, a request, a signature.

use std::sync::Arc;
use std::time::Duration;

use identity::SpiffeId;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::schedule::later;
use crate::bundle::{ParseRootsError, TrustBundle};
use crate::configs::ConfigError;
use crate::credential::{Credential, CredentialError};
use crate::key::{KeyError, LeafKey};
use crate::signer::{SignError, Signer};
use crate::token::CLOCK_SKEW;
use crate::verify::PeerError;

/// What a CA made of a request.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) credential: Arc<Credential>,
    pub(super) roots: Vec<CertificateDer<'static>>,
}

/// Why there is no (other) certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// TLS cannot be set up with it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is for somebody or something else.
    #[error("ca's answer is unusable")]
    Credential(#[from] CredentialError),
    /// It has ended, by our clock.
    #[error("certificate from the ca ended {ago:?} ago: is the clock right?")]
    Expired { ago: Duration },
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It begins later than clocks may be apart.
    #[error("certificate from the ca begins in {after:?}: is the clock right?")]
    NotYetValid { after: Duration },
    /// Peers would refuse it.
    #[error("certificate from the ca does not verify")]
    Own(#[source] PeerError),
    /// Its roots cannot be roots.
    #[error("ca's roots are unusable")]
    Roots(#[from] ParseRootsError),
    /// The signer refused.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The signer did not answer.
    #[error("no answer within {after:?}")]
    Timeout { after: Duration },
}

/// Fetches a certificate for a fresh key.
pub(super) async fn fetch(signer: &dyn Signer, identity: &SpiffeId) -> Result<Fetched, FetchError> {
    let key = LeafKey::generate()?;
    let request = key.request(identity)?;
    let answer = tokio::time::timeout(TIMEOUT, signer.sign(identity, &request)).await;
    let signed = answer.map_err(|_elapsed| FetchError::Timeout { after: TIMEOUT })??;
    TrustBundle::new(signed.roots.clone())?;
    let credential = Credential::new(identity, key, signed.chain)?;
    Ok(Fetched { credential: Arc::new(credential), roots: signed.roots })
}

/// Refuses a certificate that is of no use `now`. One that begins within the time by which clocks may differ is.
pub(super) fn check_life(credential: &Credential, now: UnixTime) -> Result<(), FetchError> {
    let leaf = credential.leaf();
    let since =
        |from: UnixTime, to: UnixTime| Duration::from_secs(to.as_secs().saturating_sub(from.as_secs()));
    if leaf.not_before > later(now, CLOCK_SKEW) {
        return Err(FetchError::NotYetValid { after: since(now, leaf.not_before) });
    }
    if leaf.not_after <= now {
        return Err(FetchError::Expired { ago: since(leaf.not_after, now) });
    }
    Ok(())
}

/// Time for one fetch: a signer that takes longer is as good as gone, and others may be waiting for the place.
const TIMEOUT: Duration = Duration::from_secs(15);
