//! What is in force instead of a policy that nobody could read so far.
//!
//! Whoever writes a policy wants less than everything. One that cannot be read, and never could, forbids all that its
//! kind can forbid: to the workloads that it selects, or where that cannot be told either, to all of its scope.

use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};

use super::decode::decode;
use super::strangers::Strangers;
use super::tree::{Tree, Value};
use crate::objects::{
    AuthorizationPolicy, AuthorizationPolicySpec, Metadata, MtlsMode, MutualTls, NetworkPolicy,
    NetworkPolicySpec, Object, PeerAuthentication, PeerAuthenticationSpec, PolicyAction, PolicyType, rules,
};

/// An object in the place of one that is broken, and what that means.
#[derive(Clone, Debug)]
pub(super) struct StandIn {
    pub(super) object: Object,
    pub(super) meaning: &'static str,
}

impl StandIn {
    /// The strictest reading of a broken AuthorizationPolicy: it denies everything. One for a waypoint is the
    /// waypoint's to close.
    pub(super) fn authorization_policy(document: &Tree, metadata: Metadata) -> Self {
        let targets = part::<IgnoredAny>(document, "targetRef").is_some()
            || part::<IgnoredAny>(document, "targetRefs").is_some();
        let spec = AuthorizationPolicySpec {
            selector: part(document, "selector"),
            target_ref: targets.then_some(IgnoredAny),
            action: PolicyAction::Deny,
            rules: vec![rules::Rule::default()],
            ..AuthorizationPolicySpec::default()
        };
        let object = Object::AuthorizationPolicy(Arc::new(AuthorizationPolicy { metadata, spec }));
        Self { object, meaning: "meanwhile all that it may be about is denied" }
    }

    /// The strictest reading of a broken NetworkPolicy: it lets nothing in.
    pub(super) fn network_policy(document: &Tree, metadata: Metadata) -> Self {
        let spec = NetworkPolicySpec {
            pod_selector: part(document, "podSelector").unwrap_or_default(),
            policy_types: part(document, "policyTypes").unwrap_or_else(|| vec![PolicyType::Ingress]),
            ..NetworkPolicySpec::default()
        };
        let object = Object::NetworkPolicy(Arc::new(NetworkPolicy { metadata, spec }));
        Self { object, meaning: "meanwhile it lets nothing in" }
    }

    /// The strictest reading of a broken PeerAuthentication: no plaintext.
    pub(super) fn peer_authentication(document: &Tree, metadata: Metadata) -> Self {
        let spec = PeerAuthenticationSpec {
            selector: part(document, "selector"),
            mtls: MutualTls { mode: MtlsMode::Strict },
            ..PeerAuthenticationSpec::default()
        };
        let object = Object::PeerAuthentication(Arc::new(PeerAuthentication { metadata, spec }));
        Self { object, meaning: "meanwhile it is STRICT" }
    }
}

/// A part of `spec`, as far as it can be read by itself.
fn part<T: DeserializeOwned>(document: &Tree, key: &str) -> Option<T> {
    let part = document.get("spec")?.get(key)?;
    match part.value {
        Value::Null => None,
        _ => decode(part, Strangers::Refused).ok(),
    }
}
