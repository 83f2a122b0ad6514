//! Kubernetes objects -> the mesh's model. Pure: the same objects give the same mesh, on every node.

mod app_protocol;
mod authorization;
mod balancing;
mod egress;
mod endpoints;
mod enrolment;
mod entries;
mod exclusions;
mod extent;
mod guards;
mod hash;
mod host_ports;
mod ignored;
mod kept;
mod local;
mod misspelt;
mod names;
mod namespaces;
mod network_gateways;
mod network_policies;
mod note;
mod owners;
mod peer_authentication;
mod pods;
mod scene;
mod selectors;
mod service_entries;
mod services;
mod translator;
mod trust_domains;
mod vips;
mod waypoints;
mod workloads;

use std::sync::Arc;

use identity::TrustDomain;
use mesh::{ClusterId, Network, Update};

pub use egress::UdpMode;
pub use exclusions::Exclusions;
pub use ignored::why_ignored;
pub use local::{LocalPod, PodCapture, PodDns};
pub use note::{Note, Remark};
pub use translator::Translator;

use crate::kubernetes::NamespacedName;
use crate::manifests::Problem;
use crate::objects::{ObjectRef, Objects};
use crate::status::Reported;
use scene::Scene;

/// Names of the mesh, and where it is looked at from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whose pods are [`Translation::local_pods`].
    pub scope: Scope,
    /// Trust domain of the workloads.
    pub trust_domain: TrustDomain,
    /// Other names of it: principals in policies that name one mean all of them.
    pub trust_domain_aliases: Vec<TrustDomain>,
    /// DNS suffix of Services.
    pub cluster_domain: Arc<str>,
    /// The cluster that the objects come from.
    pub cluster_id: ClusterId,
    /// The network that pods' addresses belong to.
    pub network: Network,
    /// Namespace whose policies apply to the whole mesh.
    pub root_namespace: Arc<str>,
    /// Namespaces whose pods are never enrolled.
    pub excluded_namespaces: Vec<Arc<str>>,
    /// Whether the ingress rules of NetworkPolicies are enforced on the ports that tunnels lead to.
    pub network_policies: bool,
}

/// Where the mesh is looked at from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Nowhere.
    None,
    /// A node, whose daemon captures all of its pods that have no proxy of their own.
    Node(Arc<str>),
    /// Inside of a pod, by its own proxy.
    Pod(NamespacedName),
}

/// What Kubernetes objects mean to the mesh.
#[derive(Clone, Debug, Default)]
pub struct Translation {
    /// The mesh: all of it, or what is different.
    pub update: Update,
    /// The pods of this node, or the one that has this proxy for itself, in order of namespace and name.
    pub local_pods: Vec<LocalPod>,
    /// Manifests that cannot be read. What was last read of them is part of the mesh.
    pub problems: Vec<Problem>,
    /// What is not, or not in all, as an object says.
    pub notes: Vec<Note>,
    /// Objects that would mean something to Istio, and mean nothing here.
    pub ignored: Vec<ObjectRef>,
    /// How many objects there are of kinds that mean nothing to any mesh.
    pub skipped: usize,
}

/// What the objects mean to the mesh: all of it. `reported` says which pods are captured.
pub fn translate(objects: &Objects, reported: &Reported, settings: &Settings) -> Translation {
    Translator::new(settings.clone()).translate(objects.clone(), reported.clone())
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scope: Scope::None,
            trust_domain: "cluster.local".parse().expect("a valid trust domain"),
            trust_domain_aliases: Vec::new(),
            cluster_domain: "cluster.local".into(),
            cluster_id: ClusterId("Kubernetes".into()),
            network: Network::default(),
            root_namespace: "istio-system".into(),
            excluded_namespaces: vec!["kube-system".into()],
            network_policies: false,
        }
    }
}
