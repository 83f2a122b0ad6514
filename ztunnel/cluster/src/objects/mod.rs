//! Kubernetes objects, as far as the mesh depends on them.
//!
//! Fields that are not here are not read, and values that are not known are kept as such: a cluster that is newer than
//! this code is read nonetheless. Defaults are those of a field that a manifest doesn't have.

mod cluster;
mod endpoint_slice;
mod entry;
mod gateway;
mod meta;
mod network_policy;
mod pod;
mod reference;
mod security;
mod service;
mod share;
mod unread;
mod values;

use std::sync::Arc;

pub use cluster::{Namespace, Node, NodeAddress, NodeStatus, ServiceAccount};
pub use endpoint_slice::{
    AddressType, EndpointConditions, EndpointSlice, SliceEndpoint, SlicePort, TargetRef,
};
pub use entry::{
    AllocatedAddress, EntryResolution, ServiceEntry, ServiceEntryPort, ServiceEntrySpec, ServiceEntryStatus,
    WorkloadEntry, WorkloadEntrySpec, WorkloadSelector,
};
pub use gateway::{
    AllowedRoutes, FromNamespaces, Gateway, GatewayAddress, GatewaySpec, GatewayStatus, Listener,
    RouteNamespaces,
};
pub use meta::{Annotations, Expression, Labels, Metadata, Operator, OwnerReference, Selector};
pub use network_policy::{
    IpBlock, NetworkPolicy, NetworkPolicyEgress, NetworkPolicyIngress, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec, PolicyType,
};
pub use pod::{
    Conditions, Container, ContainerPort, DnsConfig, DnsOption, DnsPolicy, Phase, Pod, PodSpec, PodStatus,
    PodTemplate, Probe, ProbePort,
};
pub use reference::ObjectRef;
pub use security::{
    AuthorizationPolicy, AuthorizationPolicySpec, MtlsMode, MutualTls, PeerAuthentication,
    PeerAuthenticationSpec, PolicyAction,
};
/// The parts of an AuthorizationPolicy's rules.
pub mod rules {
    pub use super::security::{Condition, From, Operation, Rule, Source, To, Unknown};
}
pub use service::{
    ClientIpConfig, ClusterIp, InternalTrafficPolicy, IpFamily, IpMode, LoadBalancerIngress,
    LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus, ServiceType, SessionAffinity,
    SessionAffinityConfig, TrafficDistribution,
};
pub(crate) use share::{Shared, share};
pub use unread::Unread;
pub use values::{PortRef, Protocol, Time};

/// All objects of a cluster that the mesh depends on. No two of a kind have one namespace and name.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// AuthorizationPolicies.
    pub authorization_policies: Vec<Arc<AuthorizationPolicy>>,
    /// EndpointSlices.
    pub endpoint_slices: Vec<Arc<EndpointSlice>>,
    /// Gateways.
    pub gateways: Vec<Arc<Gateway>>,
    /// Namespaces.
    pub namespaces: Vec<Arc<Namespace>>,
    /// NetworkPolicies.
    pub network_policies: Vec<Arc<NetworkPolicy>>,
    /// Nodes.
    pub nodes: Vec<Arc<Node>>,
    /// PeerAuthentications.
    pub peer_authentications: Vec<Arc<PeerAuthentication>>,
    /// Pods.
    pub pods: Vec<Arc<Pod>>,
    /// ServiceAccounts.
    pub service_accounts: Vec<Arc<ServiceAccount>>,
    /// ServiceEntries.
    pub service_entries: Vec<Arc<ServiceEntry>>,
    /// Services.
    pub services: Vec<Arc<Service>>,
    /// WorkloadEntries.
    pub workload_entries: Vec<Arc<WorkloadEntry>>,
    /// Objects that would mean something to Istio, and mean nothing here.
    pub ignored: Vec<ObjectRef>,
    /// What seems misspelt.
    pub unread: Vec<(ObjectRef, Unread)>,
    /// How many objects of other kinds there are.
    pub skipped: usize,
}

/// One object.
#[derive(Clone, Debug)]
pub enum Object {
    /// An AuthorizationPolicy.
    AuthorizationPolicy(Arc<AuthorizationPolicy>),
    /// An EndpointSlice.
    EndpointSlice(Arc<EndpointSlice>),
    /// A Gateway.
    Gateway(Arc<Gateway>),
    /// An object that would mean something to Istio, and means nothing here.
    Ignored,
    /// A Namespace.
    Namespace(Arc<Namespace>),
    /// A NetworkPolicy.
    NetworkPolicy(Arc<NetworkPolicy>),
    /// A Node.
    Node(Arc<Node>),
    /// A PeerAuthentication.
    PeerAuthentication(Arc<PeerAuthentication>),
    /// A Pod.
    Pod(Arc<Pod>),
    /// A Service.
    Service(Arc<Service>),
    /// A ServiceAccount.
    ServiceAccount(Arc<ServiceAccount>),
    /// A ServiceEntry.
    ServiceEntry(Arc<ServiceEntry>),
    /// An object of another kind.
    Skipped,
    /// A WorkloadEntry.
    WorkloadEntry(Arc<WorkloadEntry>),
}

impl Objects {
    /// Adds one that is not there yet.
    pub fn insert(&mut self, reference: &ObjectRef, object: &Object) {
        match object.clone() {
            Object::AuthorizationPolicy(it) => self.authorization_policies.push(it),
            Object::EndpointSlice(it) => self.endpoint_slices.push(it),
            Object::Gateway(it) => self.gateways.push(it),
            Object::Ignored => self.ignored.push(reference.clone()),
            Object::Namespace(it) => self.namespaces.push(it),
            Object::NetworkPolicy(it) => self.network_policies.push(it),
            Object::Node(it) => self.nodes.push(it),
            Object::PeerAuthentication(it) => self.peer_authentications.push(it),
            Object::Pod(it) => self.pods.push(it),
            Object::Service(it) => self.services.push(it),
            Object::ServiceAccount(it) => self.service_accounts.push(it),
            Object::ServiceEntry(it) => self.service_entries.push(it),
            Object::Skipped => self.skipped += 1,
            Object::WorkloadEntry(it) => self.workload_entries.push(it),
        }
    }
}
