//! Chains checked against the bundle of the trust domain that they name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use identity::{SpiffeId, TrustDomain};
use rustls::{CertificateError, OtherError};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::bundle::Bundles;
use crate::leaf::{Leaf, LeafError, validity};
use crate::peers::PeerIdentities;
use crate::provider::signature_algorithms;
use crate::token::CLOCK_SKEW;

/// Why a peer's certificates are not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The chain is not one that the trust domain's roots vouch for now.
    #[error("chain of {identity} does not verify")]
    Chain {
        /// Whom the leaf names.
        identity: SpiffeId,
        /// What is wrong.
        #[source]
        source: webpki::Error,
    },
    /// The chain has more certificates than any real one.
    #[error("chain has {found} certificates, more than {MAX_CHAIN}")]
    ChainLength {
        /// How many it has.
        found: usize,
    },
    /// A valid peer, but not the one that was meant.
    #[error("peer is {got}, expected {want}")]
    IdentityMismatch {
        /// Whom the leaf names.
        got: SpiffeId,
        /// Who would have been accepted.
        want: PeerIdentities,
    },
    /// The leaf doesn't say who the peer is.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// A certificate of the chain is revoked.
    #[error("certificate {serial} of {identity} or of its issuers is revoked")]
    Revoked {
        /// Whom the leaf names.
        identity: SpiffeId,
        /// The number of the revoked certificate.
        serial: String,
    },
    /// No bundle is known for the peer's trust domain.
    #[error("trust domain {0} is not trusted")]
    UntrustedDomain(TrustDomain),
}

/// What a peer does with its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// Verifies peers' chains against one generation of bundles.
///
/// Remembers chains that verified: a peer that comes back costs a hash instead of two signature checks, which
/// also makes the check after a resumption cheap. A changed bundle means a fresh verifier, so what is remembered
/// never outlives the roots it rests on.
#[derive(Debug)]
pub(crate) struct ChainVerifier {
    bundles: Arc<Bundles>,
    verified: Mutex<HashMap<ChainDigest, Window>>,
}

type ChainDigest = [u8; digest::SHA256_OUTPUT_LEN];

/// When all certificates of a chain are valid.
#[derive(Debug, Clone, Copy)]
struct Window {
    not_before: UnixTime,
    not_after: UnixTime,
}

impl ChainVerifier {
    pub(crate) fn new(bundles: Arc<Bundles>) -> Self {
        Self { bundles, verified: Mutex::default() }
    }

    pub(crate) fn bundles(&self) -> &Arc<Bundles> {
        &self.bundles
    }

    /// Verifies a whole chain, leaf first, and returns what its leaf says, whose identity is given under the first name
    /// of its trust domain.
    pub(crate) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<Leaf, PeerError> {
        if chain.len() > MAX_CHAIN {
            return Err(PeerError::ChainLength { found: chain.len() });
        }
        let leaf = Leaf::of_chain(chain)?;
        let digest = chain_digest(chain, role);
        if !self.was_verified(&digest, now) {
            self.verify_path(&leaf, chain, role, now)?;
            self.bundles.check_revocation(chain)?;
            self.remember(digest, window(chain)?);
        }
        Ok(Leaf { identity: self.bundles.canonical(leaf.identity), ..leaf })
    }

    fn verify_path(
        &self,
        leaf: &Leaf,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<(), PeerError> {
        let domain = leaf.identity.trust_domain();
        let Some(bundle) = self.bundles.of(&domain) else {
            return Err(PeerError::UntrustedDomain(domain));
        };
        let usage = match role {
            Role::Client => KeyUsage::client_auth(),
            Role::Server => KeyUsage::server_auth(),
        };
        let (first, intermediates) = chain.split_first().ok_or(LeafError::Absent)?;
        EndEntityCert::try_from(first)
            .and_then(|end_entity| {
                let algorithms = signature_algorithms().all;
                let verify = |at| {
                    end_entity
                        .verify_for_usage(algorithms, bundle.anchors(), intermediates, at, usage, None, None)
                        .map(|_path| ())
                };
                match verify(now) {
                    // Made by a CA whose clock is a little ahead of ours.
                    Err(webpki::Error::CertNotValidYet { .. }) => verify(later(now, CLOCK_SKEW)),
                    result => result,
                }
            })
            .map_err(|source| PeerError::Chain { identity: leaf.identity.clone(), source })
    }

    fn was_verified(&self, digest: &ChainDigest, now: UnixTime) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let began = |window: &Window| window.not_before <= later(now, CLOCK_SKEW);
        verified.get(digest).is_some_and(|window| began(window) && now <= window.not_after)
    }

    fn remember(&self, digest: ChainDigest, window: Window) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= MAX_REMEMBERED {
            verified.clear();
        }
        verified.insert(digest, window);
    }
}

impl From<PeerError> for rustls::Error {
    fn from(error: PeerError) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }
}

impl PeerError {
    /// The cause, when rustls refused a handshake because one of our verifiers did.
    pub fn from_rustls(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
                cause.downcast_ref().cloned()
            }
            _ => None,
        }
    }
}

/// The validity that all certificates of a chain share, those that path building didn't use included.
fn window(chain: &[CertificateDer<'_>]) -> Result<Window, LeafError> {
    let all = Window { not_before: UnixTime::since_unix_epoch(Duration::ZERO), not_after: FOREVER };
    chain.iter().try_fold(all, |window, certificate| {
        let (not_before, not_after) = validity(certificate)?;
        Ok(Window {
            not_before: window.not_before.max(not_before),
            not_after: window.not_after.min(not_after),
        })
    })
}

fn later(now: UnixTime, by: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()).saturating_add(by))
}

fn chain_digest(chain: &[CertificateDer<'_>], role: Role) -> ChainDigest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[match role {
        Role::Client => 0,
        Role::Server => 1,
    }]);
    for certificate in chain {
        context.update(&certificate.len().to_be_bytes());
        context.update(certificate);
    }
    let mut bytes = ChainDigest::default();
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

const FOREVER: UnixTime = UnixTime::since_unix_epoch(Duration::MAX);

/// Most certificates in a peer's chain: a leaf, a node's and a cluster's intermediate, and a root are four.
const MAX_CHAIN: usize = 8;

/// Most chains remembered: the identities a node talks to, twice over for renewals. 48 bytes each.
const MAX_REMEMBERED: usize = 4096;
