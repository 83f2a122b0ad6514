//! The identities that a peer may have.

use std::fmt;
use std::sync::Arc;

use identity::SpiffeId;

/// A set of identities, any of which is accepted of a peer: a destination's own, and those that its service
/// names (`subjectAltNames`). Cheap to clone, and part of a tunnel's key. An empty set accepts nobody.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerIdentities(Arc<[SpiffeId]>);

impl PeerIdentities {
    /// Whether `identity` is accepted.
    pub fn contains(&self, identity: &SpiffeId) -> bool {
        self.0.binary_search(identity).is_ok()
    }

    /// Whether nobody is accepted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The identities in order.
    pub fn iter(&self) -> impl Iterator<Item = &SpiffeId> {
        self.0.iter()
    }
}

impl FromIterator<SpiffeId> for PeerIdentities {
    fn from_iter<I: IntoIterator<Item = SpiffeId>>(identities: I) -> Self {
        let mut identities: Vec<_> = identities.into_iter().collect();
        identities.sort_unstable();
        identities.dedup();
        Self(identities.into())
    }
}

impl From<SpiffeId> for PeerIdentities {
    fn from(identity: SpiffeId) -> Self {
        Self([identity].into())
    }
}

impl fmt::Display for PeerIdentities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            [] => f.write_str("nobody"),
            [one] => one.fmt(f),
            [first, rest @ ..] => write!(f, "{first} or {} more", rest.len()),
        }
    }
}

impl fmt::Debug for PeerIdentities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
