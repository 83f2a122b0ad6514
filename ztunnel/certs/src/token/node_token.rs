//! The tokens that a node's key signs: compact JWTs with ES256 (RFC 7515, RFC 7518 §3.4, RFC 7519).

use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::UnixTime;
use serde::{Deserialize, Serialize};

use super::node_key::NodePublicKey;
use super::{AUDIENCE, CLOCK_SKEW};

/// What a node's token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeClaims {
    /// The node.
    #[serde(rename = "sub")]
    pub node: String,
    /// Whom the token is for.
    #[serde(rename = "aud")]
    pub audience: String,
    /// When it was made, in seconds since 1970.
    #[serde(rename = "iat")]
    pub issued_at: u64,
    /// When it ends, in seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_at: u64,
    /// Never used twice.
    #[serde(rename = "jti")]
    pub id: String,
    /// SHA-256 of the certificate request that it goes with: a stolen token gets nobody another certificate. None in a
    /// bearer token, which goes with any.
    #[serde(rename = "csr_sha256", default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// A well-formed token of which nothing is believed yet.
#[derive(Debug)]
pub struct NodeToken<'t> {
    claims: NodeClaims,
    signed: &'t str,
    signature: Vec<u8>,
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeTokenError {
    /// It is signed in another way than ours, or not at all.
    #[error("token is not signed with ES256")]
    Algorithm,
    /// It is for somebody else.
    #[error("token is for audience {audience:?}")]
    Audience {
        /// Whom it is for.
        audience: String,
    },
    /// It has ended.
    #[error("token expired {ago:?} ago: is the clock of its node right?")]
    Expired {
        /// How long ago.
        ago: Duration,
    },
    /// It is made to last longer than such a token may.
    #[error("token lasts {lifetime:?}, longer than {longest:?}")]
    Lifetime {
        /// How long it lasts.
        lifetime: Duration,
        /// How long it may.
        longest: Duration,
    },
    /// It isn't a token.
    #[error("malformed token")]
    Malformed,
    /// It begins in the future.
    #[error("token begins in {after:?}: is the clock of its node right?")]
    NotYetValid {
        /// When.
        after: Duration,
    },
    /// It goes with another certificate request.
    #[error("token was made for another request")]
    OtherRequest,
    /// The node's key did not sign it.
    #[error("token is not signed by the key of node {node:?}")]
    Signature {
        /// Which node it names.
        node: String,
    },
    /// It is a bearer token.
    #[error("token is bound to no request, and bearer tokens are not accepted")]
    Unbound,
}

impl<'t> NodeToken<'t> {
    /// Reads a token.
    ///
    /// # Errors
    /// When it isn't an ES256 token with our claims.
    pub fn parse(token: &'t str) -> Result<Self, NodeTokenError> {
        if token.len() > MAX_LENGTH {
            return Err(NodeTokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(NodeTokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(NodeTokenError::Malformed)?;
        let header = decode(header)?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| NodeTokenError::Malformed)?;
        if header.algorithm != ALGORITHM || header.critical.is_some() {
            return Err(NodeTokenError::Algorithm);
        }
        let claims = serde_json::from_slice(&decode(claims)?).map_err(|_| NodeTokenError::Malformed)?;
        Ok(Self { claims, signed, signature: decode(signature)? })
    }

    /// The node that it claims to be of.
    pub fn claimed_node(&self) -> &str {
        &self.claims.node
    }

    /// Whether it goes with any request.
    pub const fn is_bearer(&self) -> bool {
        self.claims.request.is_none()
    }

    /// Checks that the node's `key` signed it, for us, for the certificate request `csr`, and lately.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify(self, key: &NodePublicKey, csr: &str, now: UnixTime) -> Result<NodeClaims, NodeTokenError> {
        let claims = self.signed_by(key, MAX_LIFETIME, now)?;
        match &claims.request {
            Some(request) if *request == digest_of(csr) => Ok(claims),
            Some(_) => Err(NodeTokenError::OtherRequest),
            None => Err(NodeTokenError::Unbound),
        }
    }

    /// Checks that the node's `key` signed it, for us, and that it lasts no longer than `longest`: who got hold of a
    /// bearer token can use it until it ends.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify_bearer(
        self,
        key: &NodePublicKey,
        longest: Duration,
        now: UnixTime,
    ) -> Result<NodeClaims, NodeTokenError> {
        self.signed_by(key, longest, now)
    }

    fn signed_by(
        self,
        key: &NodePublicKey,
        longest: Duration,
        now: UnixTime,
    ) -> Result<NodeClaims, NodeTokenError> {
        let Self { claims, signed, signature } = self;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point);
        if key.verify(signed.as_bytes(), &signature).is_err() {
            return Err(NodeTokenError::Signature { node: claims.node });
        }
        if claims.audience != AUDIENCE {
            return Err(NodeTokenError::Audience { audience: claims.audience });
        }
        claims.check_time(longest, now.as_secs())?;
        Ok(claims)
    }
}

impl NodeClaims {
    fn check_time(&self, longest: Duration, now: u64) -> Result<(), NodeTokenError> {
        let skew = CLOCK_SKEW.as_secs();
        let lifetime = Duration::from_secs(self.expires_at.saturating_sub(self.issued_at));
        if lifetime > longest {
            return Err(NodeTokenError::Lifetime { lifetime, longest });
        }
        if self.issued_at > now.saturating_add(skew) {
            return Err(NodeTokenError::NotYetValid { after: Duration::from_secs(self.issued_at - now) });
        }
        if self.expires_at.saturating_add(skew) <= now {
            return Err(NodeTokenError::Expired { ago: Duration::from_secs(now - self.expires_at) });
        }
        Ok(())
    }

    /// The last second at which the token could be accepted: how long its id must be remembered.
    pub fn acceptable_until(&self) -> UnixTime {
        let end = Duration::from_secs(self.expires_at).saturating_add(CLOCK_SKEW);
        UnixTime::since_unix_epoch(end)
    }
}

/// How a token is signed.
#[derive(Serialize, Deserialize)]
struct Header<'h> {
    #[serde(rename = "alg")]
    algorithm: &'h str,
    /// RFC 7515 §4.1.11: who doesn't know what is listed here must refuse, and we know nothing.
    #[serde(rename = "crit", skip_serializing_if = "Option::is_none")]
    critical: Option<serde_json::Value>,
}

/// Header and claims, as they are signed.
pub(super) fn unsigned(claims: &NodeClaims) -> String {
    let header = Header { algorithm: ALGORITHM, critical: None };
    let part = |json: serde_json::Result<Vec<u8>>| {
        URL_SAFE_NO_PAD.encode(json.expect("texts and numbers are always JSON"))
    };
    format!("{}.{}", part(serde_json::to_vec(&header)), part(serde_json::to_vec(claims)))
}

/// A certificate request, as tokens name it.
pub(super) fn digest_of(csr: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, csr.as_bytes()))
}

fn decode(part: &str) -> Result<Vec<u8>, NodeTokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_malformed| NodeTokenError::Malformed)
}

const ALGORITHM: &str = "ES256";

/// Our own tokens have about 400 bytes.
const MAX_LENGTH: usize = 4096;

/// Longest life of a token: ids must be remembered that long.
const MAX_LIFETIME: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::super::{NodeKey, TokenSource};
    use super::*;

    #[test]
    fn a_token_is_accepted_by_the_holder_of_the_public_half() {
        let (key, public) = key("node-1");
        let token = key.token("csr", at(1000)).unwrap();
        let token = NodeToken::parse(&token).unwrap();
        assert_eq!(token.claimed_node(), "node-1");
        let claims = token.verify(&public, "csr", at(1000)).unwrap();
        assert_eq!((claims.node.as_str(), claims.expires_at), ("node-1", 1060));
    }

    #[test]
    fn two_tokens_never_have_one_id() {
        let (key, public) = key("node-1");
        let id = || {
            let token = key.token("csr", at(1000)).unwrap();
            NodeToken::parse(&token).unwrap().verify(&public, "csr", at(1000)).unwrap().id
        };
        assert_ne!(id(), id());
    }

    #[test]
    fn a_bearer_token_goes_with_any_request_where_such_tokens_are_accepted() {
        let (key, public) = key("node-1");
        let token = key.bearer(Duration::from_hours(12), at(1000)).unwrap();
        let token = || NodeToken::parse(&token).unwrap();
        assert!(token().is_bearer());
        let verified = |longest| token().verify_bearer(&public, longest, at(2000)).map(|claims| claims.node);
        assert_eq!(verified(Duration::from_hours(12)), Ok("node-1".to_owned()));
        let (lifetime, longest) = (Duration::from_hours(12), Duration::from_hours(1));
        assert_eq!(verified(longest), Err(NodeTokenError::Lifetime { lifetime, longest }));
        let short = key.bearer(Duration::from_mins(1), at(1000)).unwrap();
        let refused = NodeToken::parse(&short).unwrap().verify(&public, "csr", at(1000)).unwrap_err();
        assert_eq!(refused, NodeTokenError::Unbound);
    }

    #[test]
    fn clocks_may_be_five_minutes_apart_either_way() {
        let (key, public) = key("node-1");
        let verified = |now| {
            let token = key.token("csr", at(10_000)).unwrap();
            NodeToken::parse(&token).unwrap().verify(&public, "csr", at(now)).map(|_claims| ())
        };
        for now in [9700, 10_000, 10_359] {
            assert_eq!(verified(now), Ok(()), "{now}");
        }
        assert_eq!(verified(9699), Err(NodeTokenError::NotYetValid { after: Duration::from_secs(301) }));
        assert_eq!(verified(10_360), Err(NodeTokenError::Expired { ago: Duration::from_mins(5) }));
        assert!(verified(0).is_err());
    }

    #[test]
    fn another_nodes_key_is_refused() {
        let (key, _) = key("node-1");
        let (_, other) = self::key("node-1");
        let token = key.token("csr", at(1000)).unwrap();
        let refused = NodeToken::parse(&token).unwrap().verify(&other, "csr", at(1000)).unwrap_err();
        assert_eq!(refused, NodeTokenError::Signature { node: "node-1".to_owned() });
    }

    #[test]
    fn a_token_goes_with_one_request() {
        let (key, public) = key("node-1");
        let token = key.token("csr", at(1000)).unwrap();
        let refused = NodeToken::parse(&token).unwrap().verify(&public, "other", at(1000)).unwrap_err();
        assert_eq!(refused, NodeTokenError::OtherRequest);
    }

    #[test]
    fn what_is_for_others_or_lasts_too_long_is_refused_though_well_signed() {
        let (key, public) = key("node-1");
        let verified = |claims: &NodeClaims| {
            let token = key.sign(claims).unwrap();
            NodeToken::parse(&token).unwrap().verify(&public, "csr", at(1000)).unwrap_err()
        };
        let audience = NodeClaims { audience: "vault".to_owned(), ..claims() };
        assert_eq!(verified(&audience), NodeTokenError::Audience { audience: "vault".to_owned() });
        let eternal = NodeClaims { expires_at: u64::MAX, ..claims() };
        assert!(matches!(verified(&eternal), NodeTokenError::Lifetime { .. }));
        let backwards = NodeClaims { issued_at: 1000, expires_at: 0, ..claims() };
        assert!(matches!(verified(&backwards), NodeTokenError::Expired { .. }));
    }

    #[test]
    fn a_token_without_our_signature_is_refused() {
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let claims = serde_json::to_string(&claims()).unwrap();
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS256"}"#, r#"{"alg":"ES256","crit":["b64"]}"#] {
            let token = format!("{}.{}.", part(header), part(&claims));
            assert_eq!(NodeToken::parse(&token).unwrap_err(), NodeTokenError::Algorithm, "{header}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for token in ["", ".", "..", "a.b.c", "eyJhbGciOiJFUzI1NiJ9.e30.AA", "\u{e9}.\u{e9}.\u{e9}"] {
            assert_eq!(NodeToken::parse(token).unwrap_err(), NodeTokenError::Malformed, "{token}");
        }
    }

    fn claims() -> NodeClaims {
        NodeClaims {
            node: "node-1".to_owned(),
            audience: AUDIENCE.to_owned(),
            issued_at: 1000,
            expires_at: 1060,
            id: "id".to_owned(),
            request: Some(digest_of("csr")),
        }
    }

    fn key(node: &str) -> (NodeKey, NodePublicKey) {
        let pair = NodeKey::generate().unwrap();
        (NodeKey::from_pem(node, &pair.private).unwrap(), NodePublicKey::from_pem(&pair.public).unwrap())
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }
}
