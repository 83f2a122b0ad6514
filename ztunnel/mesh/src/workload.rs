//! What runs: pods, workload entries and other addressable things.

use std::net::IpAddr;
use std::sync::Arc;

use identity::{SpiffeId, TrustDomain};
use smallvec::SmallVec;

use crate::{Network, NetworkMembership, ServiceKey, WaypointRef};

/// Istio's workload uid, `<cluster>/<group>/<kind>/<namespace>/<name>`: names an object, and is reused with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct WorkloadUid(pub Arc<str>);

/// Kubernetes' own `metadata.uid`: never reused, so it tells a pod from its successor at the same address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct PodUid(pub Arc<str>);

/// The id of the cluster that a workload belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ClusterId(pub Arc<str>);

/// One addressable workload. Kept small: a node holds one for every pod of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Workload {
    /// Names the object.
    pub uid: WorkloadUid,
    /// Names this incarnation of it.
    pub pod_uid: Option<PodUid>,
    /// The object's name.
    pub name: Arc<str>,
    /// Addresses in `profile.network`; primary first. Empty for workloads addressed by `hostname`.
    pub addresses: SmallVec<[IpAddr; 1]>,
    /// A DNS name to resolve instead of addresses.
    pub hostname: Option<Arc<str>>,
    /// Where it runs.
    pub node: Arc<HostNode>,
    /// Everything that the pods of one deployment have in common.
    pub profile: Arc<Profile>,
    /// Whether its node captures its traffic.
    pub capture: Capture,
    /// Ready, and not being deleted.
    pub healthy: bool,
    /// `metadata.deletionTimestamp` is set: live connections drain, new ones go elsewhere.
    pub terminating: bool,
    /// Relative share of traffic among its service's endpoints. Default 1.
    pub weight: u32,
    /// The services that it is an endpoint of.
    pub services: Arc<[ServiceKey]>,
}

/// What many workloads share: interned, one per deployment rather than one per pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Profile {
    /// Kubernetes namespace.
    pub namespace: Arc<str>,
    /// Service account name; `default` when the pod names none.
    pub service_account: Arc<str>,
    /// Trust domain of its identity.
    pub trust_domain: TrustDomain,
    /// Network of its addresses.
    pub network: Network,
    /// Cluster it belongs to.
    pub cluster: ClusterId,
    /// What it is.
    pub kind: WorkloadKind,
    /// Name of its controller (deployment, job, ...); empty stands for the workload's own name, so that pods that
    /// nobody made share a profile too. [`Workload::telemetry_name`] has either.
    pub workload_name: Arc<str>,
    /// `service.istio.io/canonical-name`, or what stands for it.
    pub canonical_name: Arc<str>,
    /// `service.istio.io/canonical-revision`, or what stands for it; `latest` when nothing says.
    pub canonical_revision: Arc<str>,
    /// Label `app.kubernetes.io/name` or `app`, or empty.
    pub app: Arc<str>,
    /// Label `app.kubernetes.io/version` or `version`, or empty.
    pub version: Arc<str>,
    /// Whether connections to it are tunnelled.
    pub protocol: TunnelProtocol,
    /// Runs in its node's network namespace: not addressable as itself, but for `native_ports`.
    pub host_network: bool,
    /// Ports of its node's addresses at which a workload in its node's network is reached, since it speaks HBONE itself;
    /// in order. Those of other workloads are not listed.
    pub native_ports: Arc<[u16]>,
    /// Waypoint that traffic to the workload itself goes through.
    pub waypoint: Option<WaypointRef>,
    /// Policies that select it, as `namespace/name`; namespace-wide and mesh-wide ones are not listed.
    pub policies: Arc<[Arc<str>]>,
    /// A NetworkPolicy selects it, so that its bytes must cross the node's network as the CNI sees it.
    pub network_policy_selected: bool,
    /// It is a gateway of its own network: what comes from it may be of workloads on others.
    pub network_gateway: bool,
    /// What the NetworkPolicies that are enforced here have to do with it.
    pub network_membership: NetworkMembership,
}

/// What kind of object the workload comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum WorkloadKind {
    /// A pod owned by a CronJob.
    CronJob,
    /// A pod owned by a Deployment (or another kind that is not listed).
    Deployment,
    /// A WorkloadEntry or an inline endpoint of a ServiceEntry.
    Entry,
    /// A pod owned by a Job.
    Job,
    /// A pod of its own.
    Pod,
}

/// How connections reach the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum TunnelProtocol {
    /// Plain TCP.
    Tcp,
    /// HBONE to port 15008 once captured (enrolled pods), or natively (label `networking.istio.io/tunnel`).
    Hbone,
}

/// Whether the workload's traffic is captured by its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Capture {
    /// Not part of the mesh.
    Off,
    /// Labelled, but its node has not reported that capture works.
    Pending,
    /// Its node reported that capture works, or the workload speaks HBONE natively.
    Enabled,
}

/// A node: its name and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct HostNode {
    /// Node name; empty when unknown.
    pub name: Arc<str>,
    /// Where it stands.
    pub locality: Locality,
    /// The node's own addresses (`status.addresses` of type InternalIP and ExternalIP).
    pub addresses: SmallVec<[IpAddr; 1]>,
}

/// `topology.kubernetes.io/region`, `topology.kubernetes.io/zone`, `topology.istio.io/subzone`; empty when unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Locality {
    /// Region.
    pub region: Arc<str>,
    /// Zone.
    pub zone: Arc<str>,
    /// Subzone.
    pub subzone: Arc<str>,
}

impl Workload {
    /// The workload's SPIFFE id, or none where its namespace or service account cannot be one.
    pub fn identity(&self) -> Option<SpiffeId> {
        self.profile.identity()
    }

    /// The name by which telemetry knows it: its controller's, else its own. Metric label `source_workload`.
    pub fn telemetry_name(&self) -> &Arc<str> {
        match &self.profile.workload_name {
            name if name.is_empty() => &self.name,
            name => name,
        }
    }

    /// Whether what goes to that port of its address goes to it, and not to whoever else is at its node's.
    pub fn answers_at(&self, port: u16) -> bool {
        !self.profile.host_network || self.profile.native_ports.binary_search(&port).is_ok()
    }

    /// Whether that is its identity; nothing is built to compare them.
    pub fn is(&self, identity: &SpiffeId) -> bool {
        let Profile { namespace, service_account, trust_domain, .. } = &*self.profile;
        identity.namespace() == &**namespace
            && identity.service_account() == &**service_account
            && identity.trust_domain_str() == trust_domain.as_str()
    }
}

impl Profile {
    /// The SPIFFE id that workloads of this profile have.
    pub fn identity(&self) -> Option<SpiffeId> {
        SpiffeId::new(&self.trust_domain, &self.namespace, &self.service_account).ok()
    }
}
