//! A policy as data: what translation makes of an AuthorizationPolicy or a PeerAuthentication.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;

use crate::Pattern;

/// Names a policy: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct PolicyName {
    /// Namespace of the policy.
    pub namespace: Arc<str>,
    /// Name of the policy.
    pub name: Arc<str>,
}

/// One authorization policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// Which workloads it is about.
    pub scope: Scope,
    /// What a match means.
    pub action: Action,
    /// Only reported, never enforced.
    pub dry_run: bool,
    /// The policy matches when any of its rules does; without rules it never matches.
    pub rules: Vec<Rule>,
}

/// Which workloads a policy is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Scope {
    /// All of the mesh.
    Global,
    /// All of its namespace.
    Namespace,
    /// Those that name it among their policies.
    WorkloadSelector,
}

/// What a match means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Action {
    /// The connection is allowed; and once any ALLOW policy applies, what none of them matches is denied.
    Allow,
    /// Nothing but a report.
    Audit,
    /// The connection is denied, whatever else allows it.
    Deny,
}

/// Matches when all of its clauses do; without clauses it always matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Rule {
    /// Usually one each for `from`, `to` and every `when`.
    pub clauses: Vec<Clause>,
}

/// Matches when any of its matches does; without matches it always matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Clause {
    /// The alternatives. Those without any field are ignored: a clause of only such ones never matches.
    pub matches: Vec<Match>,
}

/// Matches when every field does. A field holds when any of its positive values does (or there is none), and none
/// of its negative ones. Who has no identity matches no value of the identity's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Match {
    /// `<trust domain>/ns/<namespace>/sa/<service account>` of the peer, without `spiffe://`.
    pub principals: Vec<Pattern>,
    /// Principals that must not be the peer's.
    pub not_principals: Vec<Pattern>,
    /// Namespace of the peer's identity.
    pub namespaces: Vec<Pattern>,
    /// Namespaces that must not be the peer's.
    pub not_namespaces: Vec<Pattern>,
    /// Service account of the peer's identity, in any trust domain.
    pub service_accounts: Vec<ServiceAccount>,
    /// Service accounts that must not be the peer's.
    pub not_service_accounts: Vec<ServiceAccount>,
    /// Source address of the connection.
    pub source_ips: Vec<IpNet>,
    /// Addresses that must not be the source's.
    pub not_source_ips: Vec<IpNet>,
    /// Destination address of the connection.
    pub destination_ips: Vec<IpNet>,
    /// Addresses that must not be the destination's.
    pub not_destination_ips: Vec<IpNet>,
    /// Port that the application listens on.
    pub destination_ports: Vec<u16>,
    /// Ports that must not be the destination's.
    pub not_destination_ports: Vec<u16>,
}

/// A Kubernetes service account, whatever the trust domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl PolicyName {
    /// The policy `name` of `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Reads `<namespace>/<name>`; a text without a slash is a name in no namespace, which no policy has.
    pub fn parse(key: &str) -> Self {
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        Self::new(namespace, name)
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Rule {
    /// A rule of these clauses.
    pub fn of(clauses: impl IntoIterator<Item = Clause>) -> Self {
        Self { clauses: clauses.into_iter().collect() }
    }
}

impl Clause {
    /// A clause of these matches.
    pub fn of(matches: impl IntoIterator<Item = Match>) -> Self {
        Self { matches: matches.into_iter().collect() }
    }
}

impl Match {
    /// Whether no field says anything.
    pub fn is_empty(&self) -> bool {
        self.principals.is_empty()
            && self.not_principals.is_empty()
            && self.namespaces.is_empty()
            && self.not_namespaces.is_empty()
            && self.service_accounts.is_empty()
            && self.not_service_accounts.is_empty()
            && self.source_ips.is_empty()
            && self.not_source_ips.is_empty()
            && self.destination_ips.is_empty()
            && self.not_destination_ips.is_empty()
            && self.destination_ports.is_empty()
            && self.not_destination_ports.is_empty()
    }
}

impl ServiceAccount {
    /// The service account `name` of `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}
