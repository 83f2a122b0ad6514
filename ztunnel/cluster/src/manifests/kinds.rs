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

/// What kind of object a document says it is.
#[derive(Clone, Copy)]
struct Kind<'a> {
    group: &'a str,
    name: &'a str,
}

/// Reads one object as a type.
#[derive(Clone, Copy)]
struct Typed<'a> {
    document: &'a Tree,
    kind: Kind<'a>,
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
    let kind = Kind { group: version.split_once('/').map_or("", |(group, _)| group), name: kind };
    let line = document.line;
    match object(document, kind) {
        Ok((reference, object)) => Read { line, reference: Some(reference), object: Ok(object) },
        // Whose fault it is can be told as long as the metadata is sound.
        Err(fault) => Read { line, reference: named(document, kind).ok(), object: Err(fault) },
    }
}

/// The object's name, whatever it is.
fn named(document: &Tree, kind: Kind<'_>) -> Result<ObjectRef, Fault> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Document {
        metadata: Metadata,
    }
    let mut metadata = decode::<Document>(document)?.metadata;
    complete(&mut metadata, document, kind)
}

/// Checks the metadata, and puts the object where a manifest that names no namespace means it to be.
fn complete(metadata: &mut Metadata, document: &Tree, kind: Kind<'_>) -> Result<ObjectRef, Fault> {
    if metadata.name.is_empty() {
        let line = document.get("metadata").map_or(document.line, |metadata| metadata.line);
        return Err(Fault { line, field: "metadata.name".into(), message: "is missing".into() });
    }
    match kind.extent() {
        Extent::Cluster => metadata.namespace = "".into(),
        Extent::Namespace if metadata.namespace.is_empty() => metadata.namespace = "default".into(),
        Extent::Namespace => {}
    }
    Ok(ObjectRef::of(kind.name, metadata))
}

fn object(document: &Tree, kind: Kind<'_>) -> Result<(ObjectRef, Object), Fault> {
    let read = Typed { document, kind };
    match (kind.group, kind.name) {
        ("", "Namespace") => read.typed(|it| &mut it.metadata, Object::Namespace),
        ("", "Node") => read.typed(|it| &mut it.metadata, Object::Node),
        ("", "Pod") => read.typed(|it| &mut it.metadata, Object::Pod),
        ("", "Service") => read.typed(|it| &mut it.metadata, Object::Service),
        ("", "ServiceAccount") => read.typed(|it| &mut it.metadata, Object::ServiceAccount),
        ("discovery.k8s.io", "EndpointSlice") => read.typed(|it| &mut it.metadata, Object::EndpointSlice),
        ("networking.k8s.io", "NetworkPolicy") => read.typed(|it| &mut it.metadata, Object::NetworkPolicy),
        ("gateway.networking.k8s.io", "Gateway") => read.typed(|it| &mut it.metadata, Object::Gateway),
        ("networking.istio.io", "ServiceEntry") => read.typed(|it| &mut it.metadata, Object::ServiceEntry),
        ("networking.istio.io", "WorkloadEntry") => read.typed(|it| &mut it.metadata, Object::WorkloadEntry),
        ("security.istio.io", "AuthorizationPolicy") => {
            read.typed(|it| &mut it.metadata, Object::AuthorizationPolicy)
        }
        ("security.istio.io", "PeerAuthentication") => {
            read.typed(|it| &mut it.metadata, Object::PeerAuthentication)
        }
        _ if kind.is_of_a_mesh() => Ok((named(document, kind)?, Object::Ignored)),
        _ => Ok((named(document, kind)?, Object::Skipped)),
    }
}

impl Typed<'_> {
    fn typed<T: DeserializeOwned>(
        self,
        own: impl Fn(&mut T) -> &mut Metadata,
        wrap: impl Fn(Arc<T>) -> Object,
    ) -> Result<(ObjectRef, Object), Fault> {
        let mut object: T = decode(self.document)?;
        let reference = complete(own(&mut object), self.document, self.kind)?;
        Ok((reference, wrap(Arc::new(object))))
    }
}

impl Kind<'_> {
    /// Whether somebody may believe that it is in force: what Istio reads, routes, and policies for whole clusters.
    fn is_of_a_mesh(self) -> bool {
        match (self.group, self.name) {
            ("gateway.networking.k8s.io", name) => name.ends_with("Route"),
            ("policy.networking.k8s.io", _) => true,
            (group, _) => group == "istio.io" || group.ends_with(".istio.io"),
        }
    }

    fn extent(self) -> Extent {
        match (self.group, self.name) {
            ("", "Namespace" | "Node" | "PersistentVolume")
            | ("gateway.networking.k8s.io", "GatewayClass")
            | ("rbac.authorization.k8s.io", "ClusterRole" | "ClusterRoleBinding")
            | ("apiextensions.k8s.io" | "policy.networking.k8s.io", _) => Extent::Cluster,
            _ => Extent::Namespace,
        }
    }
}

fn text<'a>(document: &'a Tree, key: &str) -> Option<&'a str> {
    document.get(key).and_then(Tree::text).filter(|text| !text.is_empty())
}
