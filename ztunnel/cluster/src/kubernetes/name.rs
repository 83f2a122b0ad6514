//! What an object is called.

use std::fmt;
use std::str::FromStr;

/// Namespace and name of an object: `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamespacedName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A text is not `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not NAMESPACE/NAME")]
pub struct ParseNameError {
    text: String,
}

impl FromStr for NamespacedName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let parts = text.split_once('/').filter(|(_, name)| !name.contains('/'));
        let parts = parts.filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
        let (namespace, name) = parts.ok_or_else(|| ParseNameError { text: text.to_owned() })?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_namespace_and_nothing_more() {
        let name: NamespacedName = "ambient-system/root".parse().unwrap();
        assert_eq!((&*name.namespace, &*name.name), ("ambient-system", "root"));
        assert_eq!(name.to_string(), "ambient-system/root");
        for text in ["root", "/root", "a/", "a/b/c", ""] {
            assert!(text.parse::<NamespacedName>().is_err(), "{text}");
        }
    }
}
