//! Names that mean nothing, and are most likely misspelt.

use std::sync::Arc;

use super::names;
use super::note::{Notes, Remark};
use crate::objects::{Metadata, ObjectRef, Objects, Unread};
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
    }
    for (kind, metadata) in pods.chain(services).chain(service_entries).chain(workload_entries) {
        names_of(kind, metadata, notes.of(&metadata.namespace));
    }
}

/// What a namespace says that looks like a limit of `key`, and its name, which is not known.
pub(super) fn limit<'a>(namespace: &'a Metadata, key: &'static str) -> Option<(&'a str, &'a str)> {
    let mut limits = own(namespace)
        .filter(|(name, value)| !OF_NAMESPACES.contains(name) && !matches!(*value, "" | "allow"));
    limits.find(|(name, _)| nearest(name) == Some(key))
}

fn names_of(kind: &str, metadata: &Metadata, notes: &mut Notes) {
    for (name, _) in own(metadata) {
        let is_known = OF_NAMESPACES.contains(&name);
        if is_known && kind == names::NAMESPACE {
            continue;
        }
        let field = name.into();
        let remark = match is_known {
            true => Remark::Unsupported { field },
            false => Remark::NotKnown { field, value: None, meant: nearest(name).map(Into::into) },
        };
        notes.add(ObjectRef::of(kind, metadata), remark);
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
fn nearest(name: &str) -> Option<&'static str> {
    let bare = |name: &'static str| name.strip_prefix(names::OURS).unwrap_or(name);
    let known = OF_NAMESPACES.map(bare);
    let meant = suggest::nearest(name.strip_prefix(names::OURS)?, &known)?;
    OF_NAMESPACES.into_iter().find(|name| bare(name) == meant)
}

/// What a namespace may say.
const OF_NAMESPACES: [&str; 5] =
    [names::ACCESS_LOG, names::ALLOW_EXCLUSIONS, names::EGRESS, names::EGRESS_ALLOW, names::UDP];

/// The label that enrols, without its domain.
const MODE: &str = "dataplane-mode";

/// What that label may say.
const MODES: [&str; 2] = ["ambient", "none"];
