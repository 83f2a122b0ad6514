//! The name of a root of trust.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A trust domain's name: lower-case letters, digits, dots, dashes and underscores (`SPIFFE-ID §2.1`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

/// Why a text is not a trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTrustDomainError {
    /// The text has a character outside of `[a-z0-9._-]`.
    #[error("trust domain {text:?} has the character {found:?}; allowed are a-z, 0-9, '.', '-' and '_'")]
    Character {
        /// The offending text.
        text: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// The text is empty.
    #[error("trust domain is empty")]
    Empty,
    /// The text is longer than 255 bytes.
    #[error("trust domain has {length} bytes, more than {MAX_LENGTH}")]
    Length {
        /// Its length in bytes.
        length: usize,
    },
}

impl TrustDomain {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = ParseTrustDomainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for TrustDomain {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for TrustDomain {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Checks a trust domain's text without building one.
pub(crate) fn check(text: &str) -> Result<(), ParseTrustDomainError> {
    if text.is_empty() {
        return Err(ParseTrustDomainError::Empty);
    }
    if text.len() > MAX_LENGTH {
        return Err(ParseTrustDomainError::Length { length: text.len() });
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    match text.chars().find(|&c| !allowed(c)) {
        Some(found) => Err(ParseTrustDomainError::Character { text: text.to_owned(), found }),
        None => Ok(()),
    }
}

/// `SPIFFE-ID §2.3`: implementations must support names of up to 255 bytes.
const MAX_LENGTH: usize = 255;
