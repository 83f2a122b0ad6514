//! Sources that have no identity, and are known all the same.

use std::fmt;

/// What a source without an identity is known to be. Never authenticated: it follows from addresses and sockets, so
/// policies name it by a reserved name only, and no wildcard, presence, namespace or service account ever means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceClass {
    /// `ambient.mesh/node`: the connection comes from an address of a node. That is the node itself, its pods with
    /// `hostNetwork` (an API server, mostly), and whoever the node masquerades.
    Node,
    /// `ambient.mesh/probe`: the node's own probe, to a probe port of the pod's spec. Permitted unless a DENY rule
    /// matches because it is one.
    Probe,
}

impl SourceClass {
    /// Reads a reserved name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Node, Self::Probe].into_iter().find(|class| class.name() == text)
    }

    /// The reserved name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "ambient.mesh/node",
            Self::Probe => "ambient.mesh/probe",
        }
    }
}

impl fmt::Display for SourceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
