//! All policies that apply to one workload, and what they decide.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::attributes::{Attributes, Facts};
use crate::index::Index;
use crate::layer::Layer;
use crate::policy::PolicyName;
use crate::rule::CompiledRule;

/// The policies that apply to a workload, compiled. The cost of an evaluation does not grow with rules whose
/// principal, namespace, service account, network or port is not the connection's.
#[derive(Clone, Debug)]
pub struct PolicySet {
    global: Arc<Layer>,
    namespace: Arc<Layer>,
    selected: Arc<Layer>,
    /// Policies that the workload names and nobody knows: nothing is permitted until they are.
    missing: Box<[PolicyName]>,
}

/// Proof that policy allowed a connection. Not `Clone`: one connection, one permit.
#[derive(Debug)]
#[must_use = "connecting upstream takes a permit"]
pub struct Permit {
    by: Option<MatchedRule>,
}

/// Policy refused a connection.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
pub struct Denied {
    /// The policy that denied, or that is missing; none when no ALLOW policy matched.
    pub policy: Option<PolicyName>,
    /// Index of the rule that matched.
    pub rule: Option<usize>,
    /// Why.
    pub reason: DenyReason,
}

/// Why policy refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum DenyReason {
    /// A rule of a DENY policy matched.
    DenyMatched,
    /// ALLOW policies apply, and none of them matched.
    NoAllowMatched,
    /// The workload names a policy that is not known (yet): it might deny.
    UnknownPolicy,
}

impl DenyReason {
    /// The reason as the label of a metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::DenyMatched => "deny_matched",
            Self::NoAllowMatched => "no_allow_matched",
            Self::UnknownPolicy => "unknown_policy",
        }
    }
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MatchedRule {
    /// The policy.
    pub policy: PolicyName,
    /// Index among its rules.
    pub rule: usize,
}

/// What policies that are not enforced say of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Observed {
    /// The first rule of an AUDIT policy that matched.
    pub audit: Option<MatchedRule>,
    /// How the connection would have been refused, were dry-run policies in force.
    pub dry_run: Option<Denied>,
}

impl PolicySet {
    /// The set of a workload that no policy applies to: it permits everything.
    pub fn allow_all() -> Self {
        let empty = Arc::new(Layer::default());
        Self::new(empty.clone(), empty.clone(), empty, Box::default())
    }

    pub(crate) fn new(
        global: Arc<Layer>,
        namespace: Arc<Layer>,
        selected: Arc<Layer>,
        missing: Box<[PolicyName]>,
    ) -> Self {
        Self { global, namespace, selected, missing }
    }

    /// Decides about one connection (Istio's order: any DENY match denies; without ALLOW policies all is allowed;
    /// any ALLOW match allows; else denied). A probe is allowed unless a DENY rule matches because it is one: a pod
    /// that its node cannot look after is restarted, whatever its policies say.
    ///
    /// # Errors
    /// [`Denied`] says which policy refused, and why.
    pub fn evaluate(&self, attributes: &Attributes<'_>) -> Result<Permit, Denied> {
        let facts = Facts::of(attributes);
        if let Some(missing) = self.missing.first()
            && !facts.is_probe()
        {
            return Err(Denied {
                policy: Some(missing.clone()),
                rule: None,
                reason: DenyReason::UnknownPolicy,
            });
        }
        if let Some(rule) = self.first_match(&facts, |layer| &layer.deny) {
            return Err(Denied::by(rule));
        }
        if facts.is_probe() || self.layers().iter().all(|layer| layer.allow_policies == 0) {
            return Ok(Permit { by: None });
        }
        match self.first_match(&facts, |layer| &layer.allow) {
            Some(rule) => Ok(Permit { by: Some(MatchedRule::from(rule)) }),
            None => Err(Denied::NO_ALLOW_MATCHED),
        }
    }

    /// Whether a connection without an identity would be permitted; the error says which policy demands one (or
    /// refuses for another reason). A destination that is refused here is never dialled in plaintext.
    ///
    /// # Errors
    /// [`Denied`], as for [`PolicySet::evaluate`].
    pub fn admits_plaintext(&self, source_ip: IpAddr, destination: SocketAddr) -> Result<(), Denied> {
        self.evaluate(&Attributes { source: None, class: None, source_ip, destination }).map(|_| ())
    }

    /// Whether a DENY policy may concern this port (STRICT mode is one): such a port is never excluded from capture.
    /// Looks at every DENY policy that applies.
    pub fn guards_port(&self, port: u16) -> bool {
        let mut denials = self.layers().into_iter().flat_map(|layer| layer.denials.values());
        !self.missing.is_empty() || denials.any(|rules| rules.iter().any(|rule| rule.can_match_port(port)))
    }

    /// Whether [`PolicySet::observe`] can ever say anything.
    pub fn has_observers(&self) -> bool {
        let quiet = |layer: &&Arc<Layer>| {
            layer.audit.is_empty() && layer.dry_deny.is_empty() && layer.dry_allow_policies == 0
        };
        !self.layers().iter().all(quiet)
    }

    /// What AUDIT and dry-run policies say of a connection. Never changes a decision.
    pub fn observe(&self, attributes: &Attributes<'_>) -> Observed {
        let facts = Facts::of(attributes);
        let audit = self.first_match(&facts, |layer| &layer.audit);
        Observed { audit: audit.map(MatchedRule::from), dry_run: self.dry_run(&facts) }
    }

    /// The policies that the workload names and nobody knows.
    pub fn missing(&self) -> &[PolicyName] {
        &self.missing
    }

    fn dry_run(&self, facts: &Facts<'_>) -> Option<Denied> {
        if let Some(rule) = self.first_match(facts, |layer| &layer.dry_deny) {
            return Some(Denied::by(rule));
        }
        // Whom no ALLOW policy can keep out, none would in a dry run.
        let any = !facts.is_probe() && self.layers().iter().any(|layer| layer.dry_allow_policies > 0);
        let allowed = self.first_match(facts, |layer| &layer.dry_allow).is_some()
            || self.first_match(facts, |layer| &layer.allow).is_some();
        (any && !allowed).then_some(Denied::NO_ALLOW_MATCHED)
    }

    fn layers(&self) -> [&Arc<Layer>; 3] {
        [&self.global, &self.namespace, &self.selected]
    }

    fn first_match(&self, facts: &Facts<'_>, index: fn(&Layer) -> &Index) -> Option<&CompiledRule> {
        self.layers().into_iter().find_map(|layer| index(layer).first_match(facts))
    }
}

impl Permit {
    /// The rule that allowed; none when no ALLOW policy applied.
    pub const fn by(&self) -> Option<&MatchedRule> {
        self.by.as_ref()
    }
}

impl From<&CompiledRule> for MatchedRule {
    fn from(rule: &CompiledRule) -> Self {
        Self { policy: rule.policy.clone(), rule: rule.place }
    }
}

impl Denied {
    const NO_ALLOW_MATCHED: Self = Self { policy: None, rule: None, reason: DenyReason::NoAllowMatched };

    fn by(rule: &CompiledRule) -> Self {
        Self { policy: Some(rule.policy.clone()), rule: Some(rule.place), reason: DenyReason::DenyMatched }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.reason, &self.policy) {
            (DenyReason::DenyMatched, Some(policy)) => match self.rule {
                Some(rule) => write!(f, "denied by rule {rule} of policy {policy}"),
                None => write!(f, "denied by policy {policy}"),
            },
            (DenyReason::UnknownPolicy, Some(policy)) => {
                write!(f, "policy {policy} applies but is not known")
            }
            _ => f.write_str("ALLOW policies apply and none of them matches"),
        }
    }
}
