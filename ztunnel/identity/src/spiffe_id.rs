//! A workload's identity.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::trust_domain::{self, ParseTrustDomainError, TrustDomain};

/// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. Cheap to clone.
#[derive(Clone)]
pub struct SpiffeId {
    uri: Arc<str>,
    /// Where the trust domain ends in `uri`.
    trust_domain_end: u16,
    /// Where the namespace ends in `uri`.
    namespace_end: u16,
}

/// Why a text is not a workload's SPIFFE id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSpiffeIdError {
    /// The namespace or service account is empty, too long, or has a character a Kubernetes name cannot have.
    #[error("{part} {text:?} of a SPIFFE id is not a Kubernetes name")]
    Name {
        /// `namespace` or `service account`.
        part: &'static str,
        /// The offending text.
        text: String,
    },
    /// The path is not `/ns/<namespace>/sa/<service account>`.
    #[error(
        "SPIFFE id {text:?} is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>"
    )]
    Path {
        /// The whole text.
        text: String,
    },
    /// The text does not start with `spiffe://`.
    #[error("{text:?} does not start with spiffe://")]
    Scheme {
        /// The whole text.
        text: String,
    },
    /// The trust domain is malformed.
    #[error("SPIFFE id has a malformed trust domain")]
    TrustDomain(#[from] ParseTrustDomainError),
}

impl SpiffeId {
    /// The identity of a service account.
    ///
    /// # Errors
    /// When `namespace` or `service_account` is not a Kubernetes name.
    pub fn new(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, ParseSpiffeIdError> {
        check_name("namespace", namespace)?;
        check_name("service account", service_account)?;
        let uri = format!("{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}");
        let trust_domain_end = SCHEME.len() + trust_domain.as_str().len();
        let namespace_end = trust_domain_end + "/ns/".len() + namespace.len();
        Ok(Self::from_parts(uri.into(), trust_domain_end, namespace_end))
    }

    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The whole URI, shared rather than copied: for records that outlive the decision.
    pub fn shared(&self) -> Arc<str> {
        self.uri.clone()
    }

    /// The URI without `spiffe://`: the form in which Istio's policies name principals.
    pub fn principal(&self) -> &str {
        &self.uri[SCHEME.len()..]
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> TrustDomain {
        self.trust_domain_str().parse().expect("checked when the id was made")
    }

    /// The trust domain as text.
    pub fn trust_domain_str(&self) -> &str {
        &self.uri[SCHEME.len()..usize::from(self.trust_domain_end)]
    }

    /// The same service account in another trust domain.
    #[must_use]
    pub fn in_domain(&self, trust_domain: &TrustDomain) -> Self {
        Self::new(trust_domain, self.namespace(), self.service_account()).expect("names of an id are valid")
    }

    /// The Kubernetes namespace.
    pub fn namespace(&self) -> &str {
        &self.uri[usize::from(self.trust_domain_end) + "/ns/".len()..usize::from(self.namespace_end)]
    }

    /// The Kubernetes service account.
    pub fn service_account(&self) -> &str {
        &self.uri[usize::from(self.namespace_end) + "/sa/".len()..]
    }

    fn from_parts(uri: Arc<str>, trust_domain_end: usize, namespace_end: usize) -> Self {
        let narrow = |at| u16::try_from(at).expect("parts of a SPIFFE id are at most 255 bytes each");
        Self { uri, trust_domain_end: narrow(trust_domain_end), namespace_end: narrow(namespace_end) }
    }
}

impl FromStr for SpiffeId {
    type Err = ParseSpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest =
            text.strip_prefix(SCHEME).ok_or_else(|| ParseSpiffeIdError::Scheme { text: text.to_owned() })?;
        let path_error = || ParseSpiffeIdError::Path { text: text.to_owned() };
        let (trust_domain, path) = rest.split_once("/ns/").ok_or_else(path_error)?;
        let (namespace, service_account) = path.split_once("/sa/").ok_or_else(path_error)?;
        trust_domain::check(trust_domain)?;
        check_name("namespace", namespace)?;
        check_name("service account", service_account)?;
        let trust_domain_end = SCHEME.len() + trust_domain.len();
        let namespace_end = trust_domain_end + "/ns/".len() + namespace.len();
        Ok(Self::from_parts(text.into(), trust_domain_end, namespace_end))
    }
}

impl PartialEq for SpiffeId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.uri, &other.uri) || self.uri == other.uri
    }
}

impl Eq for SpiffeId {}

impl std::hash::Hash for SpiffeId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.uri.hash(state);
    }
}

impl PartialOrd for SpiffeId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SpiffeId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uri.cmp(&other.uri)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl serde::Serialize for SpiffeId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.uri)
    }
}

impl<'de> serde::Deserialize<'de> for SpiffeId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Kubernetes names: RFC 1123 subdomains, which covers namespaces (labels) and service accounts.
fn check_name(part: &'static str, text: &str) -> Result<(), ParseSpiffeIdError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    if bytes.len() <= MAX_NAME
        && bytes.iter().all(|&b| allowed(b))
        && edge(bytes.first())
        && edge(bytes.last())
    {
        return Ok(());
    }
    Err(ParseSpiffeIdError::Name { part, text: text.to_owned() })
}

const SCHEME: &str = "spiffe://";

/// Longest Kubernetes object name (RFC 1123 subdomain).
const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_and_building_agree() {
        let domain: TrustDomain = "cluster.local".parse().unwrap();
        let built = SpiffeId::new(&domain, "shop", "cart").unwrap();
        let parsed: SpiffeId = "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap();
        assert_eq!(built, parsed);
        assert_eq!(parsed.principal(), "cluster.local/ns/shop/sa/cart");
        assert_eq!(parsed.trust_domain(), domain);
        assert_eq!((parsed.namespace(), parsed.service_account()), ("shop", "cart"));
    }

    #[test]
    fn anything_but_the_exact_shape_is_refused() {
        for text in [
            "",
            "https://cluster.local/ns/a/sa/b",
            "spiffe://cluster.local",
            "spiffe://cluster.local/ns/a",
            "spiffe:///ns/a/sa/b",
            "spiffe://Cluster.local/ns/a/sa/b",
            "spiffe://cluster.local/ns//sa/b",
            "spiffe://cluster.local/ns/a/sa/",
            "spiffe://cluster.local/ns/a/sa/b/c",
            "spiffe://cluster.local/ns/a/b/sa/c",
            "spiffe://cluster.local/ns/a*/sa/b",
            "spiffe://cluster.local/ns/a/sa/b?x=1",
            "spiffe://cluster.local:80/ns/a/sa/b",
            "spiffe://cluster.local/x/ns/a/sa/b",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }
}
