//! The forms in which policies name principals and namespaces.

use std::fmt;
use std::sync::Arc;

use crate::SourceClass;

/// A text to compare with (`AuthorizationPolicy`: exact, prefix, suffix and presence match).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// A class of sources without an identity, among principals only: no text has this form.
    Class(SourceClass),
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

    /// Reads a principal as manifests write it. None for what begins like a reserved name and is none: it would never
    /// match anything, and whoever wrote it means something.
    pub fn parse_principal(text: &str) -> Option<Self> {
        let text = text.strip_prefix("spiffe://").unwrap_or(text);
        match (SourceClass::parse(text), text.strip_prefix(RESERVED)) {
            (Some(class), _) => Some(Self::Class(class)),
            (None, Some(rest)) if !rest.starts_with("ns/") => None,
            (None, _) => Some(Self::parse(text)),
        }
    }

    /// Whether `text` has this form. An empty text never does.
    pub fn matches(&self, text: &str) -> bool {
        !text.is_empty()
            && match self {
                Self::Class(_) => false,
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
            Self::Class(class) => class.fmt(f),
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

/// What names of classes begin with.
const RESERVED: &str = "ambient.mesh/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_classes_and_nothing_like_them_is_anything() {
        let node = Some(Pattern::Class(SourceClass::Node));
        assert_eq!(Pattern::parse_principal("ambient.mesh/node"), node);
        assert_eq!(Pattern::parse_principal("ambient.mesh/probe"), Some(Pattern::Class(SourceClass::Probe)));
        for near in ["ambient.mesh/nodes", "ambient.mesh/*", "spiffe://ambient.mesh/kubelet"] {
            assert_eq!(Pattern::parse_principal(near), None, "{near}");
        }
        let id = "ambient.mesh/ns/shop/sa/cart";
        assert_eq!(Pattern::parse_principal(&format!("spiffe://{id}")), Some(Pattern::parse(id)));
    }

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
