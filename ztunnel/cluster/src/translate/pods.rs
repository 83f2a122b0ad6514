//! Pods -> workloads.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh::{Network, PodUid, Profile, TunnelProtocol, Workload, WorkloadUid};

use super::network_policies::TUNNEL_PORT;
use super::note::Notes;
use super::owners::Names;
use super::waypoints::Traffic;
use super::workloads::{Kin, Profiles};
use super::{Scene, enrolment, hash, names};
use crate::objects::{ObjectRef, Pod, Protocol};

/// The workload that a pod is; none while it has no address, and once it has ended.
pub(super) fn workload<'a>(
    scene: &Scene<'a>,
    pod: &'a Pod,
    profiles: &mut Profiles<'a>,
    notes: &mut Notes,
) -> Option<Workload> {
    if pod.is_over() {
        return None;
    }
    let metadata = &pod.metadata;
    let node = scene.nodes.of(&pod.spec.node_name);
    let mut addresses: smallvec::SmallVec<[_; 1]> = pod.addresses().collect();
    if addresses.is_empty() && pod.spec.template.host_network {
        addresses.extend(node.addresses.iter().copied());
    }
    if addresses.is_empty() {
        return None;
    }
    let uid = uid(pod);
    if let Some(remark) = metadata.label(names::NETWORK).and_then(|it| scene.networks.remark(it)) {
        notes.add(ObjectRef::of(names::POD, metadata), remark);
    }
    let (protocol, capture) = enrolment::reach(scene, pod, &uid.0);
    let cluster = &scene.settings.cluster_id.0;
    Some(Workload {
        uid: WorkloadUid(format!("{cluster}//Pod/{}/{}", metadata.namespace, metadata.name).into()),
        pod_uid: Some(uid),
        name: metadata.name.clone(),
        addresses,
        hostname: None,
        node,
        profile: profile(scene, pod, protocol, profiles, notes),
        capture,
        healthy: pod.is_ready() && !metadata.is_deleting(),
        terminating: metadata.is_deleting(),
        weight: 1,
        services: Arc::from([]),
    })
}

fn profile<'a>(
    scene: &Scene<'a>,
    pod: &'a Pod,
    protocol: TunnelProtocol,
    profiles: &mut Profiles<'a>,
    notes: &mut Notes,
) -> Arc<Profile> {
    let metadata = &pod.metadata;
    let mut make = || {
        let Names { kind, workload, canonical, revision, app, version } = Names::of_pod(metadata);
        let network = metadata.label(names::NETWORK);
        Profile {
            namespace: metadata.namespace.clone(),
            service_account: service_account(pod),
            trust_domain: scene.settings.trust_domain.clone(),
            network: network.map_or_else(|| scene.settings.network.clone(), Network::new),
            cluster: scene.settings.cluster_id.clone(),
            kind,
            workload_name: if workload == metadata.name { Arc::default() } else { workload },
            canonical_name: canonical,
            canonical_revision: revision,
            app,
            version,
            protocol,
            host_network: pod.spec.template.host_network,
            native_ports: native_ports(pod).into_iter().collect(),
            waypoint: scene.waypoint(metadata, Traffic::Workload, notes),
            policies: scene.guards.of(&metadata.namespace, &metadata.labels),
            network_policy_selected: scene.guards.network.select(&metadata.namespace, &metadata.labels),
            network_gateway: scene.own_gateways.has(&metadata.namespace, &metadata.labels),
            network_membership: scene.guards.network.membership(pod),
        }
    };
    // A pod that nobody made is called by its own name: it has no kin.
    if metadata.controller().is_none_or(|owner| &*owner.kind == "Node") {
        return profiles.kept.profile(make());
    }
    let kin = Kin {
        namespace: &metadata.namespace,
        labels: metadata.labels.place(),
        template: Arc::as_ptr(&pod.spec.template).addr(),
        owners: metadata.owner_references.as_ptr().addr(),
        protocol,
    };
    profiles.of_kin(kin, make)
}

/// The ports at which a pod in its node's network that speaks HBONE itself is reached at its node's addresses: those that
/// its containers declare. The one that tunnels come to is none of them.
fn native_ports(pod: &Pod) -> BTreeSet<u16> {
    if !pod.spec.template.host_network || !enrolment::speaks_natively(&pod.metadata) {
        return BTreeSet::new();
    }
    let declared = pod.containers().flat_map(|container| &container.ports);
    let declared = declared.filter(|port| port.protocol == Protocol::Tcp).map(|port| port.container_port);
    declared.filter(|port| *port != TUNNEL_PORT).collect()
}

/// Kubernetes' own uid. A manifest that a person wrote has none, or one that cannot name a file: then one is made of
/// namespace and name.
pub(super) fn uid(pod: &Pod) -> PodUid {
    let is_sound = |uid: &&Arc<str>| {
        let allowed = |it: char| it.is_ascii_alphanumeric() || it == '-';
        (1..=64).contains(&uid.len()) && uid.chars().all(allowed)
    };
    let metadata = &pod.metadata;
    let own = metadata.uid.as_ref().filter(is_sound).cloned();
    PodUid(own.unwrap_or_else(|| hash::uid(&metadata.namespace, &metadata.name).into()))
}

/// Its service account's name.
pub(super) fn service_account(pod: &Pod) -> Arc<str> {
    match &pod.spec.template.service_account_name {
        name if name.is_empty() => "default".into(),
        name => name.clone(),
    }
}
