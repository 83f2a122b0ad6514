//! What a source tells the store, and what the store tells those who follow it.

use std::net::IpAddr;
use std::sync::Arc;

use authz::{Policy, PolicyName, Touched};

use crate::{
    HostNode, NamespaceSettings, NetworkGateway, NetworkPolicy, Service, ServiceKey, Workload, WorkloadUid,
};

/// One change of the mesh: applied as a whole, so that no reader sees half of it.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Workloads.
    pub workloads: Vec<Change<WorkloadUid, Workload>>,
    /// Services.
    pub services: Vec<Change<ServiceKey, Service>>,
    /// Authorization policies.
    pub policies: Vec<Change<PolicyName, Policy>>,
    /// NetworkPolicies, as `namespace/name`.
    pub network_policies: Vec<Change<Arc<str>, NetworkPolicy>>,
    /// Gateways of other networks, as `namespace/name`.
    pub gateways: Vec<Change<Arc<str>, NetworkGateway>>,
    /// Namespaces, by name.
    pub namespaces: Vec<Change<Arc<str>, NamespaceSettings>>,
    /// Nodes, by name.
    pub nodes: Vec<Change<Arc<str>, HostNode>>,
    /// The update lists everything there is: what it doesn't name goes.
    pub replace: bool,
}

/// What becomes of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<K, V> {
    /// It is gone.
    Remove(K),
    /// It is there and looks like this.
    Upsert(V),
}

/// What an [`Update`] changed. Objects that were named but are as before are not listed.
#[derive(Clone, Debug, Default)]
pub struct ChangeSet {
    /// Generation of the first snapshot that has the change.
    pub generation: u64,
    /// Workloads that came, went or changed.
    pub workloads: Vec<WorkloadUid>,
    /// Services that came, went or changed.
    pub services: Vec<ServiceKey>,
    /// Whom changed policies concern.
    pub policies: Vec<Touched>,
    /// NetworkPolicies that came, went or changed, as `namespace/name`.
    pub network_policies: Vec<Arc<str>>,
    /// Gateways of other networks that came, went or changed, as `namespace/name`.
    pub gateways: Vec<Arc<str>>,
    /// Namespaces whose settings changed.
    pub namespaces: Vec<Arc<str>>,
    /// Nodes that came, went or changed.
    pub nodes: Vec<Arc<str>>,
    /// Addresses that came to be a node's, or are no longer.
    pub node_addresses: Vec<IpAddr>,
    /// Changes are missing from this list: look at everything.
    pub resync: bool,
}

impl Update {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        !self.replace
            && self.workloads.is_empty()
            && self.services.is_empty()
            && self.policies.is_empty()
            && self.network_policies.is_empty()
            && self.gateways.is_empty()
            && self.namespaces.is_empty()
            && self.nodes.is_empty()
    }
}

impl ChangeSet {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        !self.resync
            && self.workloads.is_empty()
            && self.services.is_empty()
            && self.policies.is_empty()
            && self.network_policies.is_empty()
            && self.gateways.is_empty()
            && self.namespaces.is_empty()
            && self.nodes.is_empty()
    }

    /// Tells a reader that missed changes to look at everything.
    pub(crate) fn lost(generation: u64) -> Self {
        Self { generation, resync: true, ..Self::default() }
    }
}
