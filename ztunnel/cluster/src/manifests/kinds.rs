//! Which objects are read, and as what.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::decode::{Fault, decode};
use super::tree::Tree;
use crate::objects::{Metadata, Object, ObjectRef};

/// An object with its name, or why it has none.
pub(super) struct Read {
    /// Line on which it starts.
    pub(super) line: u64,
    pub(super) reference: Option<ObjectRef>,
    pub(super) object: Result<Object, Fault>,
}

/// Whether objects of a kind belong to a namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Cluster,
    Namespace,
}

/// Reads a document: one object, or several in a list.
pub(super) fn read(document: &Tree, into: &mut Vec<Read>) {
    let (Some(version), Some(kind)) = (text(document, "apiVersion"), text(document, "kind")) else {
        let missing = if text(document, "kind").is_none() { "kind" } else { "apiVersion" };
        let fault = Fault { line: document.line, field: missing.into(), message: "is missing".into() };
        into.push(Read { line: document.line, reference: None, object: Err(fault) });
        return;
    };
    if let Some(items) = document.get("items").filter(|_| version == "v1" && kind == "List") {
        let super::tree::Value::List(items) = &items.value else {
            let fault = Fault { line: items.line, field: "items".into(), message: "is not a list".into() };
            into.push(Read { line: document.line, reference: None, object: Err(fault) });
            return;
        };
        for item in items {
            read(item, into);
        }
        return;
    }
    into.push(one(document, version, kind));
}

fn one(document: &Tree, version: &str, kind: &str) -> Read {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let line = document.line;
    let metadata = match metadata(document, group, kind) {
        Ok(metadata) => metadata,
        Err(fault) => return Read { line, reference: None, object: Err(fault) },
    };
    let reference = Some(ObjectRef::of(kind, &metadata));
    Read { line, reference, object: object(document, group, kind, metadata) }
}

fn metadata(document: &Tree, group: &str, kind: &str) -> Result<Metadata, Fault> {
    /// A document of any kind.
    #[derive(serde::Deserialize)]
    struct Document {
        metadata: Metadata,
    }
    let mut metadata = decode::<Document>(document)?.metadata;
    if metadata.name.is_empty() {
        let line = document.get("metadata").map_or(document.line, |metadata| metadata.line);
        return Err(Fault { line, field: "metadata.name".into(), message: "is missing".into() });
    }
    match extent(group, kind) {
        Extent::Cluster => metadata.namespace = "".into(),
        Extent::Namespace if metadata.namespace.is_empty() => metadata.namespace = "default".into(),
        Extent::Namespace => {}
    }
    Ok(metadata)
}

fn extent(group: &str, kind: &str) -> Extent {
    match (group, kind) {
        ("", "Namespace" | "Node" | "PersistentVolume")
        | ("gateway.networking.k8s.io", "GatewayClass")
        | ("rbac.authorization.k8s.io", "ClusterRole" | "ClusterRoleBinding")
        | ("apiextensions.k8s.io", _) => Extent::Cluster,
        _ => Extent::Namespace,
    }
}

fn object(document: &Tree, group: &str, kind: &str, metadata: Metadata) -> Result<Object, Fault> {
    match (group, kind) {
        ("", "Namespace") => typed(document, metadata, |it| &mut it.metadata, Object::Namespace),
        ("", "Node") => typed(document, metadata, |it| &mut it.metadata, Object::Node),
        ("", "Pod") => typed(document, metadata, |it| &mut it.metadata, Object::Pod),
        ("", "Service") => typed(document, metadata, |it| &mut it.metadata, Object::Service),
        ("", "ServiceAccount") => typed(document, metadata, |it| &mut it.metadata, Object::ServiceAccount),
        ("discovery.k8s.io", "EndpointSlice") => {
            typed(document, metadata, |it| &mut it.metadata, Object::EndpointSlice)
        }
        ("networking.k8s.io", "NetworkPolicy") => {
            typed(document, metadata, |it| &mut it.metadata, Object::NetworkPolicy)
        }
        ("gateway.networking.k8s.io", "Gateway") => {
            typed(document, metadata, |it| &mut it.metadata, Object::Gateway)
        }
        ("networking.istio.io", "ServiceEntry") => {
            typed(document, metadata, |it| &mut it.metadata, Object::ServiceEntry)
        }
        ("networking.istio.io", "WorkloadEntry") => {
            typed(document, metadata, |it| &mut it.metadata, Object::WorkloadEntry)
        }
        ("security.istio.io", "AuthorizationPolicy") => {
            typed(document, metadata, |it| &mut it.metadata, Object::AuthorizationPolicy)
        }
        ("security.istio.io", "PeerAuthentication") => {
            typed(document, metadata, |it| &mut it.metadata, Object::PeerAuthentication)
        }
        _ if group == "istio.io" || group.ends_with(".istio.io") => Ok(Object::Ignored),
        _ => Ok(Object::Skipped),
    }
}

fn typed<T: DeserializeOwned>(
    document: &Tree,
    metadata: Metadata,
    own: impl Fn(&mut T) -> &mut Metadata,
    wrap: impl Fn(Arc<T>) -> Object,
) -> Result<Object, Fault> {
    let mut object: T = decode(document)?;
    *own(&mut object) = metadata;
    Ok(wrap(Arc::new(object)))
}

fn text<'a>(document: &'a Tree, key: &str) -> Option<&'a str> {
    document.get(key).and_then(Tree::text).filter(|text| !text.is_empty())
}
