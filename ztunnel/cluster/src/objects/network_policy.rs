//! NetworkPolicies.

use std::sync::Arc;

use serde::Deserialize;

use super::{Metadata, PortRef, Protocol, Selector};

/// A NetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NetworkPolicy {
    /// `metadata`.
    pub metadata: Metadata,
    /// `spec`.
    pub spec: NetworkPolicySpec,
}

/// `spec` of a NetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkPolicySpec {
    /// The pods; all of the namespace where it says nothing.
    pub pod_selector: Selector,
    /// What it is about; without any, Ingress, and Egress where there are rules for it.
    pub policy_types: Vec<PolicyType>,
    /// Who may connect to the pods.
    pub ingress: Vec<NetworkPolicyIngress>,
    /// Where the pods may connect to: how many rules there are is all that is read.
    pub egress: Vec<NetworkPolicyEgress>,
}

/// One of `policyTypes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum PolicyType {
    /// Where the pods may connect to.
    Egress,
    /// Who may connect to the pods.
    Ingress,
    /// A type that is not known.
    #[serde(other)]
    Unknown,
}

/// One of `ingress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NetworkPolicyIngress {
    /// From where; everywhere without any.
    pub from: Vec<NetworkPolicyPeer>,
    /// To which ports; to all without any.
    pub ports: Vec<NetworkPolicyPort>,
}

/// One of `egress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct NetworkPolicyEgress {}

/// One of `from`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkPolicyPeer {
    /// Pods; of the policy's namespace unless namespaces are named.
    pub pod_selector: Option<Selector>,
    /// Namespaces.
    pub namespace_selector: Option<Selector>,
    /// Addresses.
    pub ip_block: Option<IpBlock>,
}

/// `ipBlock`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IpBlock {
    /// A range.
    pub cidr: Arc<str>,
    /// What of it is not meant.
    pub except: Vec<Arc<str>>,
}

/// One of `ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkPolicyPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The port, or its name; all without one.
    pub port: Option<PortRef>,
    /// The last of a range that begins at `port`.
    pub end_port: Option<u16>,
}

impl NetworkPolicySpec {
    /// Whether it says who may connect to the pods.
    pub fn is_about_ingress(&self) -> bool {
        self.policy_types.is_empty() || self.policy_types.contains(&PolicyType::Ingress)
    }

    /// Whether it says where the pods may connect to.
    pub fn is_about_egress(&self) -> bool {
        match self.policy_types.is_empty() {
            true => !self.egress.is_empty(),
            false => self.policy_types.contains(&PolicyType::Egress),
        }
    }
}
