//! The four forms in which policies name principals and namespaces.

use std::fmt;
use std::sync::Arc;

/// A text to compare with (`AuthorizationPolicy`: exact, prefix, suffix and presence match).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// The very text.
    Exact(Arc<str>),
    /// `*`: any text that is not empty.
    Presence,
    /// `text*`.
    Prefix(Arc<str>),
    /// `*text`.
    Suffix(Arc<str>),
}

impl Pattern {
    /// Reads the form in which manifests write it. A star at the start wins over one at the end, as in Istio;
    /// a star anywhere else stands for itself.
    pub fn parse(text: &str) -> Self {
        if text == "*" {
            return Self::Presence;
        }
        if let Some(suffix) = text.strip_prefix('*') {
            return Self::Suffix(suffix.into());
        }
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(text.into()),
        }
    }

    /// Whether `text` has this form. An empty text never does.
    pub fn matches(&self, text: &str) -> bool {
        !text.is_empty()
            && match self {
                Self::Exact(exact) => text == exact.as_ref(),
                Self::Presence => true,
                Self::Prefix(prefix) => text.starts_with(prefix.as_ref()),
                Self::Suffix(suffix) => text.ends_with(suffix.as_ref()),
            }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Presence => f.write_str("*"),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
        }
    }
}

impl serde::Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_forms_are_read_as_istio_reads_them() {
        for (text, want) in [
            ("*", Pattern::Presence),
            ("team-*", Pattern::Prefix("team-".into())),
            ("*-prod", Pattern::Suffix("-prod".into())),
            ("*mid*", Pattern::Suffix("mid*".into())),
            ("a*b", Pattern::Exact("a*b".into())),
            ("", Pattern::Exact("".into())),
        ] {
            assert_eq!(Pattern::parse(text), want);
            assert_eq!(want.to_string(), text);
        }
    }

    #[test]
    fn nothing_matches_the_empty_text() {
        for text in ["", "*", "a*", "*a"] {
            assert!(!Pattern::parse(text).matches(""), "{text}");
        }
    }
}
