//! The pods of this node, as those need them who capture their traffic, serve their DNS and admit their probes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use mesh::PodUid;

use super::egress::UdpMode;
use super::exclusions::{self, Exclusions};
use super::namespaces::truth;
use super::note::{Notes, Remark};
use super::{Scene, Scope, egress, enrolment, names, pods};
use crate::objects::{DnsConfig, DnsPolicy, Metadata, ObjectRef, Pod, PortRef};

/// A pod of this node that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LocalPod {
    /// Kubernetes' own uid; one of namespace and name where a manifest has none.
    pub uid: PodUid,
    /// Its name.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its service account.
    pub service_account: Arc<str>,
    /// Its addresses, primary first; empty while it has none.
    pub addresses: Vec<IpAddr>,
    /// Whether it is to be captured.
    pub enrolled: bool,
    /// How.
    pub capture: PodCapture,
    /// Ports that the kubelet probes.
    pub probe_ports: Vec<u16>,
    /// Its resolver configuration.
    pub dns: PodDns,
    /// It is being deleted.
    pub terminating: bool,
}

/// How a pod wants to be captured.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PodCapture {
    /// Whether its DNS queries are; none means as all of the mesh's.
    pub dns: Option<bool>,
    /// Whether inbound plaintext is.
    pub inbound: bool,
    /// Interfaces whose incoming connections are the pod's outbound ones.
    pub virtual_interfaces: Vec<Arc<str>>,
    /// Whether its datagrams pass.
    pub udp: UdpMode,
    /// Connections that stay untouched.
    pub exclusions: Exclusions,
}

/// Where a pod's resolver configuration comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PodDns {
    /// The configuration that it begins with.
    pub policy: DnsPolicy,
    /// What is added to it.
    pub config: DnsConfig,
    /// Its host name; empty stands for its name.
    pub hostname: Arc<str>,
    /// The headless Service under which its host name is found.
    pub subdomain: Arc<str>,
}

/// The pods of the settings' scope.
pub(super) fn pods(scene: &Scene<'_>, notes: &mut Notes) -> Vec<LocalPod> {
    let is_here = |pod: &Pod| match &scene.settings.scope {
        Scope::None => false,
        Scope::Node(node) => pod.spec.node_name == *node && !node.is_empty(),
        Scope::Pod(own) => *pod.metadata.namespace == *own.namespace && *pod.metadata.name == *own.name,
    };
    let here = scene.objects.pods.iter().filter(|pod| is_here(pod) && !pod.is_over());
    let mut pods: Vec<_> = here.map(|pod| local(scene, pod, notes.of(&pod.metadata.namespace))).collect();
    pods.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    if let (Scope::Pod(own), []) = (&scene.settings.scope, &*pods) {
        let (namespace, name) = (Arc::from(&*own.namespace), Arc::from(&*own.name));
        let why = "no manifest has a pod of that name that has not ended: see pod, and source.manifests";
        let object = ObjectRef { kind: names::POD.into(), namespace: Arc::clone(&namespace), name };
        notes.of(&namespace).add(object, Remark::OwnPodUnknown { why });
    }
    pods
}

fn local(scene: &Scene<'_>, pod: &Pod, notes: &mut Notes) -> LocalPod {
    let metadata = &pod.metadata;
    let enrolled = is_ours(scene, pod, notes);
    if enrolled {
        scene.guards.network.note_shut(pod, notes);
    }
    LocalPod {
        uid: pods::uid(pod),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        service_account: pods::service_account(pod),
        addresses: pod.addresses().collect(),
        enrolled,
        capture: capture(scene, pod, notes),
        probe_ports: probe_ports(pod),
        dns: PodDns {
            policy: pod.spec.template.dns_policy,
            config: pod.spec.template.dns_config.as_deref().cloned().unwrap_or_default(),
            hostname: pod.spec.template.hostname.clone(),
            subdomain: pod.spec.template.subdomain.clone(),
        },
        terminating: metadata.is_deleting(),
    }
}

/// Whether it is for us to capture: for its node's daemon, or for the proxy of its own that it asks for.
fn is_ours(scene: &Scene<'_>, pod: &Pod, notes: &mut Notes) -> bool {
    let (enrolled, apart) = (enrolment::is_enrolled(scene, pod), enrolment::has_own_proxy(&pod.metadata));
    let Scope::Pod(_) = scene.settings.scope else {
        if enrolled && apart && !scene.reported.captures(&pod.spec.node_name, &pods::uid(pod).0) {
            notes.add(ObjectRef::of(names::POD, &pod.metadata), Remark::OwnProxyMissing);
        }
        return enrolled && !apart;
    };
    let why = match (enrolled, apart) {
        (true, true) => return true,
        (true, false) => {
            "it lacks the annotation ambient.mesh/proxy: dedicated, and its node's daemon captures it"
        }
        (false, _) => "it is not in the mesh",
    };
    notes.add(ObjectRef::of(names::POD, &pod.metadata), Remark::ProxyIdle { why });
    false
}

fn capture(scene: &Scene<'_>, pod: &Pod, notes: &mut Notes) -> PodCapture {
    let metadata = &pod.metadata;
    let interfaces = metadata.annotation(names::VIRTUAL_INTERFACES).unwrap_or_default();
    let interfaces = interfaces.split(',').map(str::trim).filter(|name| !name.is_empty());
    PodCapture {
        dns: dns(scene, metadata, notes),
        inbound: !exclusions::bypasses_inbound(scene, pod, notes),
        virtual_interfaces: interfaces.map(Arc::from).collect(),
        // The namespace alone decides: who makes pods must not open what its operator shut.
        udp: scene.namespaces.of(&metadata.namespace).map(|it| egress::udp(it, notes)).unwrap_or_default(),
        exclusions: Exclusions::of(scene, pod, notes),
    }
}

/// Whether a pod's DNS queries are captured, where it or its namespace says so. Where the namespace bounds what its pods
/// reach, it alone may say that they are not: they would go anywhere.
fn dns(scene: &Scene<'_>, metadata: &Metadata, notes: &mut Notes) -> Option<bool> {
    let own = truth(metadata, names::POD, names::DNS_CAPTURE, notes);
    let namespace = scene.namespaces.of(&metadata.namespace);
    let of_namespace = namespace.and_then(|it| truth(it, names::NAMESPACE, names::DNS_CAPTURE, notes));
    let limit = namespace.filter(|_| own == Some(false)).and_then(egress::limit);
    let Some(limit) = limit else { return own.or(of_namespace) };
    if of_namespace != Some(false) {
        let namespace = metadata.namespace.clone();
        notes.add(ObjectRef::of(names::POD, metadata), Remark::DnsCaptureKept { namespace, limit });
    }
    of_namespace
}

fn probe_ports(pod: &Pod) -> Vec<u16> {
    let probes = pod.containers().flat_map(|container| container.probes());
    let number = |port: &PortRef| match port {
        PortRef::Number(number) => Some(*number),
        PortRef::Name(name) => pod.port(name),
    };
    let ports: BTreeSet<u16> = probes.flat_map(|probe| probe.ports()).filter_map(number).collect();
    ports.into_iter().collect()
}
