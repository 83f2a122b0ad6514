//! Authorization policies, compiled into sets that decide about one connection or request.
//!
//! A [`Permit`] can only be made here: whoever connects upstream must have one, so no path around policy compiles.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use identity::SpiffeId;

/// What is known of a connection when policy decides.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    /// The peer's verified identity; none for plaintext.
    pub source: Option<&'a SpiffeId>,
    /// The original source address.
    pub source_ip: IpAddr,
    /// The real destination: the pod's address and the port that the application listens on.
    pub destination: SocketAddr,
}

/// Proof that policy allowed a connection. Not `Clone`: one connection, one permit.
#[derive(Debug)]
pub struct Permit {
    by: Option<PolicyName>,
}

/// Names a policy: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct PolicyName {
    /// Namespace of the policy.
    pub namespace: Arc<str>,
    /// Name of the policy.
    pub name: Arc<str>,
}

impl Permit {
    /// The policy that allowed; none when no ALLOW policy applied.
    pub const fn by(&self) -> Option<&PolicyName> {
        self.by.as_ref()
    }
}
