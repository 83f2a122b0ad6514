//! Names that mean nothing, and are most likely misspelt.

use std::sync::Arc;

use super::note::{Notes, Remark};
use super::{names, network_gateways};
use crate::objects::{Gateway, Metadata, ObjectRef, Objects, Unread};
use crate::suggest;

/// Notes what was not read of the objects, and labels and annotations of ours that mean nothing where they are.
pub(super) fn note(objects: &Objects, notes: &mut Notes) {
    let wide = notes.wide();
    for (object, Unread { field, value, meant }) in &objects.unread {
        let (field, value, meant) = (field.clone(), value.clone(), meant.clone());
        wide.add(object.clone(), Remark::NotKnown { field, value, meant });
    }
    for namespace in &objects.namespaces {
        names_of(names::NAMESPACE, &namespace.metadata, wide);
        enrolment(names::NAMESPACE, &namespace.metadata, wide);
    }
    for pod in &objects.pods {
        enrolment(names::POD, &pod.metadata, notes.of(&pod.metadata.namespace));
    }
    let pods = objects.pods.iter().map(|it| (names::POD, &it.metadata));
    let services = objects.services.iter().map(|it| (names::SERVICE, &it.metadata));
    let service_entries = objects.service_entries.iter().map(|it| (names::SERVICE_ENTRY, &it.metadata));
    let workload_entries = objects.workload_entries.iter().map(|it| (names::WORKLOAD_ENTRY, &it.metadata));
    for gateway in &objects.gateways {
        names_of(names::GATEWAY, &gateway.metadata, notes.wide());
        of_istio(names::GATEWAY, &gateway.metadata, &OF_GATEWAYS, notes.wide());
        class(gateway, notes.wide());
    }
    for entry in &objects.workload_entries {
        let metadata = &entry.metadata;
        let notes = notes.of(&metadata.namespace);
        of_istio(names::WORKLOAD_ENTRY, metadata, &OF_WORKLOADS, notes);
    }
    for pod in &objects.pods {
        of_istio(names::POD, &pod.metadata, &OF_WORKLOADS, notes.of(&pod.metadata.namespace));
    }
    for (kind, metadata) in pods.chain(services).chain(service_entries).chain(workload_entries) {
        names_of(kind, metadata, notes.of(&metadata.namespace));
    }
}

/// What a namespace says that looks like a limit of `key`, and its name, which is not known.
pub(super) fn limit<'a>(namespace: &'a Metadata, key: &'static str) -> Option<(&'a str, &'a str)> {
    let mut limits = own(namespace)
        .filter(|(name, value)| !OF_NAMESPACES.contains(name) && !matches!(*value, "" | "allow"));
    limits.find(|(name, _)| nearest(name, names::NAMESPACE) == Some(key))
}

fn names_of(kind: &str, metadata: &Metadata, notes: &mut Notes) {
    for (name, value) in own(metadata) {
        let field = name.into();
        let remark = match (name, kind) {
            (names::PROXY, names::POD) if value == names::DEDICATED => continue,
            (names::PROXY, names::POD) => {
                let meant = suggest::nearest(value, &[names::DEDICATED]).map(Into::into);
                Remark::NotKnown { field, value: Some(value.into()), meant }
            }
            (names::PROXY, _) => Remark::Unsupported { field },
            (name, names::NAMESPACE) if OF_NAMESPACES.contains(&name) => continue,
            (name, _) if OF_NAMESPACES.contains(&name) => Remark::Unsupported { field },
            _ => Remark::NotKnown { field, value: None, meant: nearest(name, kind).map(Into::into) },
        };
        notes.add(ObjectRef::of(kind, metadata), remark);
    }
}

/// Notes what looks like one of these names of Istio's, and is none.
fn of_istio(kind: &str, metadata: &Metadata, known: &[&'static str], notes: &mut Notes) {
    let all = metadata.labels.iter().chain(metadata.annotations.0.iter());
    // All labels of all pods come by here: few are of these domains.
    let near = all.map(|(name, _)| name).filter(|name| DOMAINS.iter().any(|domain| name.starts_with(domain)));
    for name in near.filter(|name| !known.contains(&&***name) && !OTHERS.contains(&&***name)) {
        if let Some(meant) = suggest::nearest(name, known) {
            let remark = Remark::NotKnown { field: name.clone(), value: None, meant: Some(meant.into()) };
            notes.add(ObjectRef::of(kind, metadata), remark);
        }
    }
    if let Some(value) = metadata.setting(names::TUNNEL).filter(|it| !TUNNELS.contains(it)) {
        let meant = suggest::nearest(value, &TUNNELS).map(Into::into);
        let (field, value) = (names::TUNNEL.into(), Some(value.into()));
        notes.add(ObjectRef::of(kind, metadata), Remark::NotKnown { field, value, meant });
    }
}

/// Notes a class that is nearly one of those that lead between networks.
fn class(gateway: &Gateway, notes: &mut Notes) {
    let class = &gateway.spec.gateway_class_name;
    if let Some(meant) = suggest::nearest(class, &CLASSES).filter(|meant| *meant != &**class) {
        let (field, value) = ("spec.gatewayClassName".into(), Some(class.clone()));
        let remark = Remark::NotKnown { field, value, meant: Some(meant.into()) };
        notes.add(ObjectRef::of(names::GATEWAY, &gateway.metadata), remark);
    }
}

/// Notes what looks like the label that enrols pods, and enrols none.
fn enrolment(kind: &str, metadata: &Metadata, notes: &mut Notes) {
    let mut note = |remark| notes.add(ObjectRef::of(kind, metadata), remark);
    let misspelt = |name: &&Arc<str>| {
        let bare = name.rsplit_once('/').map_or(&***name, |(_, bare)| bare);
        // All labels of all pods come by here: few are that long.
        bare.len().abs_diff(MODE.len()) <= 2
            && &***name != names::DATAPLANE_MODE
            && suggest::nearest(bare, &[MODE]).is_some()
    };
    for field in metadata.labels.iter().map(|(name, _)| name).filter(misspelt) {
        let meant = Some(names::DATAPLANE_MODE.into());
        note(Remark::NotKnown { field: field.clone(), value: None, meant });
    }
    if let Some(value) = metadata.label(names::DATAPLANE_MODE).filter(|it| !MODES.contains(it)) {
        let meant = suggest::nearest(value, &MODES).map(Into::into);
        let (field, value) = (names::DATAPLANE_MODE.into(), Some(value.into()));
        note(Remark::NotKnown { field, value, meant });
    }
    if metadata.annotation(names::DATAPLANE_MODE).is_some() {
        note(Remark::Unsupported { field: format!("annotation {}", names::DATAPLANE_MODE).into() });
    }
}

/// Labels and annotations of ours.
fn own(metadata: &Metadata) -> impl Iterator<Item = (&str, &str)> {
    let all = metadata.labels.iter().chain(metadata.annotations.0.iter());
    all.map(|(key, value)| (&**key, &**value)).filter(|(key, _)| key.starts_with(names::OURS))
}

/// The name that was meant. What they begin with is no part of what may be misspelt.
fn nearest(name: &str, kind: &str) -> Option<&'static str> {
    let bare = |name: &'static str| name.strip_prefix(names::OURS).unwrap_or(name);
    let of_pods: &[&'static str] = if kind == names::POD { &[names::PROXY] } else { &[] };
    let known: Vec<_> = OF_NAMESPACES.iter().chain(of_pods).copied().map(bare).collect();
    let meant = suggest::nearest(name.strip_prefix(names::OURS)?, &known)?;
    OF_NAMESPACES.iter().chain(of_pods).copied().find(|name| bare(name) == meant)
}

/// What a namespace may say.
const OF_NAMESPACES: [&str; 5] =
    [names::ACCESS_LOG, names::ALLOW_EXCLUSIONS, names::EGRESS, names::EGRESS_ALLOW, names::UDP];

/// What a Gateway may say about other networks.
const OF_GATEWAYS: [&str; 3] = [names::GATEWAY_SERVICE_ACCOUNT, names::GATEWAY_TRUST_DOMAIN, names::NETWORK];

/// What a workload may say about how it is reached.
const OF_WORKLOADS: [&str; 2] = [names::NETWORK, names::TUNNEL];

/// What those begin with.
const DOMAINS: [&str; 3] = ["gateway.istio.io/", "networking.istio.io/", "topology.istio.io/"];

/// Names of Istio's that are near to one of those, and mean something else.
const OTHERS: [&str; 1] = [names::SUBZONE];

/// Classes of Gateways that lead between networks.
const CLASSES: [&str; 2] = [network_gateways::REMOTE, network_gateways::EAST_WEST];

/// What the label of workloads that speak HBONE themselves may say.
const TUNNELS: [&str; 2] = ["http", "none"];

/// The label that enrols, without its domain.
const MODE: &str = "dataplane-mode";

/// What that label may say.
const MODES: [&str; 2] = ["ambient", "none"];
