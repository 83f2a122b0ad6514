//! How an object is named to people.

use std::fmt;
use std::sync::Arc;

use super::Metadata;

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Arc<str>,
    /// Its namespace; empty for objects of the cluster.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// The object of that kind with this metadata.
    pub fn of(kind: &str, metadata: &Metadata) -> Self {
        Self { kind: kind.into(), namespace: metadata.namespace.clone(), name: metadata.name.clone() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        match &**namespace {
            "" => write!(f, "{kind} {name}"),
            namespace => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}
