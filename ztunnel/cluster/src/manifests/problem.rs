//! What a person has to put right in a manifest.

use std::fmt;
use std::path::PathBuf;

use crate::objects::ObjectRef;

/// Something in a manifest that cannot be read. What was last read of it stays in force; instead of a policy that never
/// could be read, the strictest of its kind is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 when it is about the file as a whole.
    pub line: u64,
    /// The object, where it can be told.
    pub object: Option<ObjectRef>,
    /// The field, as in `spec.containers[0].ports`; empty when it is about all of the document.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if let Some(object) = &self.object {
            write!(f, ": {object}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}
