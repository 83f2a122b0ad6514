//! What a manifest says and nobody reads.

use std::sync::Arc;

/// A field that is not known, or one whose value is none of its words: most likely misspelt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The field, as in `spec.ports[0].targetPort`.
    pub field: Arc<str>,
    /// Its value, where the field is known.
    pub value: Option<Arc<str>>,
    /// What was probably meant.
    pub meant: Option<Arc<str>>,
}
