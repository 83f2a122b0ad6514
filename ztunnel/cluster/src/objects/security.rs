//! Istio's AuthorizationPolicy and PeerAuthentication.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Metadata, WorkloadSelector};

/// An AuthorizationPolicy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AuthorizationPolicy {
    /// `metadata`.
    pub metadata: Metadata,
    /// `spec`.
    pub spec: AuthorizationPolicySpec,
}

/// `spec` of an AuthorizationPolicy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AuthorizationPolicySpec {
    /// The workloads; all of the namespace where it says nothing.
    pub selector: Option<WorkloadSelector>,
    /// The waypoint that enforces it.
    pub target_ref: Option<IgnoredAny>,
    /// The waypoints that enforce it.
    pub target_refs: Vec<IgnoredAny>,
    /// Rules.
    pub rules: Vec<Rule>,
    /// What a match means.
    pub action: PolicyAction,
    /// Whom `CUSTOM` asks.
    pub provider: Option<IgnoredAny>,
}

/// `action` of an AuthorizationPolicy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PolicyAction {
    /// What matches is allowed, and nothing else.
    #[default]
    Allow,
    /// What matches is reported.
    Audit,
    /// Somebody else is asked.
    Custom,
    /// What matches is denied.
    Deny,
    /// An action that is not known.
    #[serde(other)]
    Unknown,
}

/// One of an AuthorizationPolicy's `rules`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Sources, of which one must match.
    pub from: Vec<From>,
    /// Operations, of which one must match.
    pub to: Vec<To>,
    /// Conditions, which must all hold.
    pub when: Vec<Condition>,
    /// Fields that are not known.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Fields that are not known, by name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Unknown(BTreeMap<Arc<str>, Value>);

/// What a field that is not known holds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    /// Null, or a list of nothing.
    Nothing(Option<[IgnoredAny; 0]>),
    /// Anything else.
    Something(IgnoredAny),
}

/// One of `from`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct From {
    /// The source.
    pub source: Source,
    /// Fields that are not known.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// One of `to`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct To {
    /// The operation.
    pub operation: Operation,
    /// Fields that are not known.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// `source` of a rule, as far as a connection has it; request attributes count as unknown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Source {
    /// Peers' identities.
    pub principals: Vec<Arc<str>>,
    /// Peers that don't match.
    pub not_principals: Vec<Arc<str>>,
    /// Peers' namespaces.
    pub namespaces: Vec<Arc<str>>,
    /// Namespaces that don't match.
    pub not_namespaces: Vec<Arc<str>>,
    /// Peers' service accounts, `name` or `namespace/name`.
    pub service_accounts: Vec<Arc<str>>,
    /// Service accounts that don't match.
    pub not_service_accounts: Vec<Arc<str>>,
    /// Source addresses and ranges.
    pub ip_blocks: Vec<Arc<str>>,
    /// Addresses and ranges that don't match.
    pub not_ip_blocks: Vec<Arc<str>>,
    /// Fields that only requests have, and those that are not known.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// `operation` of a rule, as far as a connection has it; request attributes count as unknown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Operation {
    /// Ports.
    pub ports: Vec<Arc<str>>,
    /// Ports that don't match.
    pub not_ports: Vec<Arc<str>>,
    /// Fields that only requests have, and those that are not known.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// One of `when`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// The attribute.
    pub key: Arc<str>,
    /// Its values.
    pub values: Vec<Arc<str>>,
    /// Values that don't match.
    pub not_values: Vec<Arc<str>>,
}

/// A PeerAuthentication.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PeerAuthentication {
    /// `metadata`.
    pub metadata: Metadata,
    /// `spec`.
    pub spec: PeerAuthenticationSpec,
}

/// `spec` of a PeerAuthentication.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PeerAuthenticationSpec {
    /// The workloads; all of the namespace where it says nothing.
    pub selector: Option<WorkloadSelector>,
    /// For all ports.
    pub mtls: MutualTls,
    /// For single ports of the workload.
    pub port_level_mtls: BTreeMap<Arc<str>, MutualTls>,
}

/// `mtls` of a PeerAuthentication.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MutualTls {
    /// What is accepted.
    pub mode: MtlsMode,
}

/// `mode` of `mtls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MtlsMode {
    /// Plaintext; the same as `Permissive` in an ambient mesh.
    Disable,
    /// Plaintext and mutual TLS.
    Permissive,
    /// Mutual TLS only.
    Strict,
    /// As the next wider policy says.
    #[default]
    Unset,
    /// A mode that is not known: nothing weaker than the strictest.
    #[serde(other)]
    Unknown,
}

impl WorkloadSelector {
    /// The labels that must be there, whichever way they are written.
    pub fn labels(&self) -> super::Labels {
        self.match_labels.with(&self.labels)
    }
}

impl Unknown {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    /// The names of those that ask for something: templates leave lists of requests' attributes with nothing in them.
    pub fn asked(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().filter(|(_, value)| value.asks()).map(|(name, _)| name)
    }
}

impl Value {
    const fn asks(&self) -> bool {
        match self {
            Self::Nothing(None | Some([])) => false,
            Self::Something(IgnoredAny) => true,
        }
    }
}
