//! Which objects are read, and as what.

use std::cell::RefCell;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::decode::{Fault, decode};
use super::stand_in::StandIn;
use super::strangers::Strangers;
use super::tree::Tree;
use crate::objects::{Metadata, Object, ObjectRef, Unread};
use crate::suggest;

/// An object with its name, or why it has none.
pub(super) struct Read {
    /// Line on which it starts.
    pub(super) line: u64,
    pub(super) reference: Option<ObjectRef>,
    pub(super) object: Result<Object, Fault>,
    /// What seems misspelt in it, and is not read.
    pub(super) unread: Vec<Unread>,
    /// What is in force instead, if it is broken and nothing is known of it.
    pub(super) stand_in: Option<StandIn>,
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
    strangers: Strangers<'a>,
}

/// Reads a document: one object, or several in a list.
pub(super) fn read(document: &Tree, into: &mut Vec<Read>) {
    let (Some(version), Some(kind)) = (text(document, "apiVersion"), text(document, "kind")) else {
        let missing = if text(document, "kind").is_none() { "kind" } else { "apiVersion" };
        let fault = Fault { line: document.line, field: missing.into(), message: "is missing".into() };
        into.push(Read::nameless(document, fault));
        return;
    };
    if let Some(items) = document.get("items").filter(|_| version == "v1" && kind == "List") {
        let super::tree::Value::List(items) = &items.value else {
            let fault = Fault { line: items.line, field: "items".into(), message: "is not a list".into() };
            into.push(Read::nameless(document, fault));
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
    let collected = RefCell::default();
    let read = object(document, kind, &collected);
    let mut unread = collected.into_inner();
    match read {
        Ok((reference, object)) => {
            unread.extend(kind.misspelt());
            Read { line, reference: Some(reference), object: Ok(object), unread, stand_in: None }
        }
        // Whose fault it is can be told as long as the metadata is sound.
        Err(fault) => {
            let (metadata, reference) = named(document, kind).ok().unzip();
            let stand_in = metadata.and_then(|metadata| kind.stand_in(document, metadata));
            Read { line, reference, object: Err(fault), unread: Vec::new(), stand_in }
        }
    }
}

impl Read {
    fn nameless(document: &Tree, fault: Fault) -> Self {
        let (unread, stand_in) = (Vec::new(), None);
        Self { line: document.line, reference: None, object: Err(fault), unread, stand_in }
    }
}

/// The object's metadata and name, whatever it is.
fn named(document: &Tree, kind: Kind<'_>) -> Result<(Metadata, ObjectRef), Fault> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Document {
        metadata: Metadata,
    }
    let mut metadata = decode::<Document>(document, Strangers::Tolerated)?.metadata;
    let reference = complete(&mut metadata, document, kind)?;
    Ok((metadata, reference))
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

fn object(
    document: &Tree,
    kind: Kind<'_>,
    unread: &RefCell<Vec<Unread>>,
) -> Result<(ObjectRef, Object), Fault> {
    let read = Typed { document, kind, strangers: kind.strangers(unread) };
    match (kind.group, kind.name) {
        ("", "Namespace") => read.typed(|it| &mut it.metadata, Object::Namespace),
        ("", "Node") => read.typed(|it| &mut it.metadata, Object::Node),
        ("", "Pod") => read.typed(|it| &mut it.metadata, Object::Pod),
        ("", "Service") => read.typed(|it| &mut it.metadata, Object::Service),
        ("", "ServiceAccount") => read.typed(|it| &mut it.metadata, Object::ServiceAccount),
        ("discovery.k8s.io", "EndpointSlice") => read.typed(|it| &mut it.metadata, Object::EndpointSlice),
        (NETWORKING, "NetworkPolicy") => read.typed(|it| &mut it.metadata, Object::NetworkPolicy),
        (GATEWAY, "Gateway") => read.typed(|it| &mut it.metadata, Object::Gateway),
        (ISTIO_NETWORKING, "ServiceEntry") => read.typed(|it| &mut it.metadata, Object::ServiceEntry),
        (ISTIO_NETWORKING, "WorkloadEntry") => read.typed(|it| &mut it.metadata, Object::WorkloadEntry),
        (ISTIO_SECURITY, "AuthorizationPolicy") => {
            read.typed(|it| &mut it.metadata, Object::AuthorizationPolicy)
        }
        (ISTIO_SECURITY, "PeerAuthentication") => {
            read.typed(|it| &mut it.metadata, Object::PeerAuthentication)
        }
        _ => match kind.meant() {
            // Nobody has such a kind, and the policy that is meant must not be missing without a word.
            Some(meant) if meant.is_policy() => {
                let line = document.get("kind").map_or(document.line, |kind| kind.line);
                let message = format!("{:?} is not known, did you mean {:?}?", kind.name, meant.name);
                Err(Fault { line, field: "kind".into(), message })
            }
            _ if kind.is_of_a_mesh() => Ok((named(document, kind)?.1, Object::Ignored)),
            _ => Ok((named(document, kind)?.1, Object::Skipped)),
        },
    }
}

impl Typed<'_> {
    fn typed<T: DeserializeOwned>(
        self,
        own: impl Fn(&mut T) -> &mut Metadata,
        wrap: impl Fn(Arc<T>) -> Object,
    ) -> Result<(ObjectRef, Object), Fault> {
        let mut object: T = decode(self.document, self.strangers)?;
        let reference = complete(own(&mut object), self.document, self.kind)?;
        Ok((reference, wrap(Arc::new(object))))
    }
}

impl<'a> Kind<'a> {
    /// What becomes of fields and words that are not known. A policy is all or nothing: what is not understood may be
    /// what makes it one. Kubernetes' own kinds get fields with every release, and lose nothing when those are not read.
    fn strangers(self, unread: &'a RefCell<Vec<Unread>>) -> Strangers<'a> {
        match (self.group, self.name) {
            _ if self.is_policy() => Strangers::Refused,
            ("", "Service") | (GATEWAY | ISTIO_NETWORKING, _) => Strangers::Collected(unread),
            _ => Strangers::Tolerated,
        }
    }

    fn is_policy(self) -> bool {
        matches!(
            (self.group, self.name),
            (ISTIO_SECURITY, "AuthorizationPolicy" | "PeerAuthentication") | (NETWORKING, "NetworkPolicy")
        )
    }

    /// The strictest reading of a broken policy.
    fn stand_in(self, document: &Tree, metadata: Metadata) -> Option<StandIn> {
        match self.meant().unwrap_or(self).name {
            "AuthorizationPolicy" => Some(StandIn::authorization_policy(document, metadata)),
            "NetworkPolicy" => Some(StandIn::network_policy(document, metadata)),
            "PeerAuthentication" => Some(StandIn::peer_authentication(document, metadata)),
            _ => None,
        }
    }

    /// The kind that is read, where this is none but looks like one.
    fn meant(self) -> Option<Kind<'static>> {
        let (group, names) = READ.iter().find(|(group, _)| *group == self.group)?;
        let name = suggest::nearest(self.name, names).filter(|name| *name != self.name)?;
        Some(Kind { group, name })
    }

    fn misspelt(self) -> Option<Unread> {
        let meant = self.meant()?;
        Some(Unread { field: "kind".into(), value: Some(self.name.into()), meant: Some(meant.name.into()) })
    }

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

/// The kinds that are read, by group.
const READ: &[(&str, &[&str])] = &[
    ("", &["Namespace", "Node", "Pod", "Service", "ServiceAccount"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    (NETWORKING, &["NetworkPolicy"]),
    (GATEWAY, &["Gateway"]),
    (ISTIO_NETWORKING, &["ServiceEntry", "WorkloadEntry"]),
    (ISTIO_SECURITY, &["AuthorizationPolicy", "PeerAuthentication"]),
];

const GATEWAY: &str = "gateway.networking.k8s.io";
const ISTIO_NETWORKING: &str = "networking.istio.io";
const ISTIO_SECURITY: &str = "security.istio.io";
const NETWORKING: &str = "networking.k8s.io";

#[cfg(test)]
mod tests {
    use super::super::tree::Lines;
    use super::*;

    #[test]
    fn the_kinds_that_are_listed_are_those_that_are_read() {
        for (group, names) in READ {
            for name in *names {
                let text = format!("apiVersion: {group}/v1\nkind: {name}\nmetadata: {{name: a}}\n");
                let tree = Tree::parse(&text, Lines::Unknown).unwrap().unwrap();
                let object = one(&tree, &format!("{group}/v1"), name).object.unwrap();
                assert!(!matches!(object, Object::Ignored | Object::Skipped), "{name}");
            }
        }
    }
}
