//! Which roots speak for which trust domain.

use std::collections::{BTreeMap, BTreeSet};

use identity::{SpiffeId, TrustDomain};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::leaf::Leaf;
use crate::revocation::RevocationLists;
use crate::verify::PeerError;

/// The roots of one trust domain, and what it has revoked.
#[derive(Debug, Clone)]
pub struct TrustBundle {
    roots: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    revocations: RevocationLists,
}

/// Why a text holds no usable roots.
#[derive(Debug, thiserror::Error)]
pub enum ParseRootsError {
    /// It holds no certificate at all.
    #[error("no certificate in the bundle")]
    Empty,
    /// It is not PEM.
    #[error("bundle is not PEM")]
    Pem(#[source] pem::Error),
    /// One of its certificates cannot be a root.
    #[error("certificate {index} of the bundle is no usable root")]
    Root {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: webpki::Error,
    },
}

impl TrustBundle {
    /// Makes a bundle of root certificates.
    ///
    /// # Errors
    /// When there is none, or one cannot be a root.
    pub fn new(roots: Vec<CertificateDer<'static>>) -> Result<Self, ParseRootsError> {
        if roots.is_empty() {
            return Err(ParseRootsError::Empty);
        }
        let anchor = |(index, root)| match webpki::anchor_from_trusted_cert(root) {
            Ok(anchor) => Ok(anchor.to_owned()),
            Err(source) => Err(ParseRootsError::Root { index, source }),
        };
        let anchors = roots.iter().enumerate().map(anchor).collect::<Result<_, _>>()?;
        Ok(Self { roots, anchors, revocations: RevocationLists::default() })
    }

    /// Reads concatenated PEM certificates.
    ///
    /// # Errors
    /// When it isn't PEM, or as [`TrustBundle::new`].
    pub fn from_pem(text: &[u8]) -> Result<Self, ParseRootsError> {
        let roots = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>();
        Self::new(roots.map_err(ParseRootsError::Pem)?)
    }

    /// The same roots, with these revocation lists.
    #[must_use]
    pub fn with_revocations(self, revocations: RevocationLists) -> Self {
        Self { revocations, ..self }
    }

    /// The revocation lists.
    pub fn revocations(&self) -> &RevocationLists {
        &self.revocations
    }

    /// The root certificates.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    pub(crate) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }
}

impl PartialEq for TrustBundle {
    fn eq(&self, other: &Self) -> bool {
        self.roots == other.roots && self.revocations == other.revocations
    }
}

impl Eq for TrustBundle {}

/// The bundles of every trust domain that we accept peers of.
///
/// A chain is verified only against the bundle of the trust domain that its leaf names: one domain's root never
/// vouches for another's identities. A domain may have other names: they are verified by bundles of their
/// own as well, and whom they name is then the same as under the first name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundles {
    domains: BTreeMap<TrustDomain, TrustBundle>,
    aliases: Option<Aliases>,
}

/// Other names of a trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Aliases {
    of: TrustDomain,
    names: BTreeSet<TrustDomain>,
}

impl Bundles {
    /// The same bundles, where `names` are other names of the domain `of`.
    #[must_use]
    pub fn with_aliases(self, of: TrustDomain, names: impl IntoIterator<Item = TrustDomain>) -> Self {
        Self { aliases: Some(Aliases { of, names: names.into_iter().collect() }), ..self }
    }

    /// The bundle of `domain`, if its peers are accepted.
    pub fn of(&self, domain: &TrustDomain) -> Option<&TrustBundle> {
        self.domains.get(domain)
    }

    /// The identity under the first name of its trust domain: the one by which all else knows it.
    pub(crate) fn canonical(&self, identity: SpiffeId) -> SpiffeId {
        match &self.aliases {
            Some(Aliases { of, names }) if names.contains(&identity.trust_domain()) => identity.in_domain(of),
            _ => identity,
        }
    }

    /// Checks that nothing of a chain that verified is revoked.
    ///
    /// # Errors
    /// When it is, or it is not a peer's chain at all.
    pub fn check_revocation(&self, chain: &[CertificateDer<'_>]) -> Result<(), PeerError> {
        if self.domains.values().all(|bundle| bundle.revocations.is_empty()) {
            return Ok(());
        }
        let identity = Leaf::of_chain(chain)?.identity;
        let Some(bundle) = self.of(&identity.trust_domain()) else { return Ok(()) };
        match bundle.revocations.revoked(chain, &bundle.anchors) {
            Some(serial) => Err(PeerError::Revoked { identity, serial }),
            None => Ok(()),
        }
    }

    /// Tells the number of each certificate that a list names, whoever issued it: only chains that have one of these
    /// can be revoked.
    pub fn each_revoked_number(&self, mut tell: impl FnMut(&[u8])) {
        self.domains.values().for_each(|bundle| bundle.revocations.each_number(&mut tell));
    }

    /// All domains and their bundles, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&TrustDomain, &TrustBundle)> {
        self.domains.iter()
    }
}

impl FromIterator<(TrustDomain, TrustBundle)> for Bundles {
    fn from_iter<I: IntoIterator<Item = (TrustDomain, TrustBundle)>>(bundles: I) -> Self {
        Self { domains: bundles.into_iter().collect(), aliases: None }
    }
}
