//! The model of the mesh: workloads, services, endpoints and waypoints, as immutable snapshots.
//!
//! One [`Store`] takes [`Update`]s from a source; every reader loads a [`Snapshot`], decides, and lets go of it.

mod access;
mod address;
mod apply;
mod egress;
mod index;
mod map;
mod namespace;
mod network_gateway;
mod network_policy;
mod ranges;
mod select;
mod service;
mod snapshot;
mod store;
mod update;
mod workload;

pub use access::{AccessLogging, ParseAccessLoggingError};
pub use address::{Network, NetworkAddress};
pub use egress::{EgressEntry, EgressList, EgressTarget, InvalidEgressEntry};
pub use namespace::{EgressMode, NamespaceSettings};
pub use network_gateway::{GatewayHost, NetworkGateway};
pub use network_policy::{IngressRule, Isolated, NetworkMembership, NetworkPeer, NetworkPolicy, NetworkPort};
pub use select::{
    Affinities, AffinityKey, Chosen, Draws, Family, NoEndpoint, Place, Remembered, Request, select,
};
pub use service::{
    Affinity, AppProtocol, DestinationHealth, Endpoint, EndpointTarget, Hostname, LoadBalancing, Resolution,
    Scope, Service, ServiceKey, ServicePort, TargetPort, TrafficPolicy, WaypointRef,
};
pub use snapshot::Snapshot;
pub use store::{Changes, Snapshots, Store};
pub use update::{Change, ChangeSet, Update};
pub use workload::{
    Capture, ClusterId, HostNode, Locality, PodUid, Profile, TunnelProtocol, Workload, WorkloadKind,
    WorkloadUid,
};
