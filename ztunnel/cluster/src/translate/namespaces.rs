//! Namespaces and nodes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use mesh::{HostNode, Locality, NamespaceSettings};

use super::kept::Kept;
use super::note::{Notes, Remark};
use super::{egress, names};
use crate::objects::{Labels, Metadata, ObjectRef, Objects, Selector};

/// Namespaces by name.
#[derive(Debug)]
pub(super) struct Namespaces<'a> {
    described: HashMap<&'a str, &'a Metadata, RandomState>,
    /// Those that pods are in and nobody describes. Looked for where there are NetworkPolicies, which alone select them.
    others: HashSet<Arc<str>, RandomState>,
}

/// Nodes by name.
#[derive(Debug)]
pub(super) struct Nodes(HashMap<Arc<str>, Arc<HostNode>, RandomState>);

impl<'a> Namespaces<'a> {
    pub(super) fn new(objects: &'a Objects) -> Self {
        let named = |metadata: &'a Metadata| (&*metadata.name, metadata);
        let described: HashMap<_, _, _> =
            objects.namespaces.iter().map(|namespace| named(&namespace.metadata)).collect();
        let selected = if objects.network_policies.is_empty() { &[] } else { &*objects.pods };
        let of_pods = selected.iter().map(|pod| &pod.metadata.namespace);
        let others = of_pods.filter(|name| !described.contains_key(&***name)).cloned().collect();
        Self { described, others }
    }

    pub(super) fn of(&self, name: &str) -> Option<&'a Metadata> {
        self.described.get(name).copied()
    }

    /// The names of those that a selector of NetworkPolicies selects. All have their name as a label, whether or not a
    /// manifest says so.
    pub(super) fn selected(&self, selector: &Selector) -> Vec<Arc<str>> {
        let name = |name: &Arc<str>| Labels::from_iter([(names::METADATA_NAME.into(), name.clone())]);
        let described = self.described.values().map(|it| (&it.name, it.labels.with(&name(&it.name))));
        let others = self.others.iter().map(|it| (it, name(it)));
        let selected = described.chain(others).filter(|(_, labels)| selector.selects(labels));
        selected.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn settings(&self, notes: &mut Notes) -> Vec<NamespaceSettings> {
        self.described.values().map(|metadata| settings(metadata, notes)).collect()
    }
}

fn settings(metadata: &Metadata, notes: &mut Notes) -> NamespaceSettings {
    let mut settings = NamespaceSettings::new(&metadata.name);
    settings.dns_capture = truth(metadata, names::NAMESPACE, names::DNS_CAPTURE, notes);
    settings.access_log = metadata.setting(names::ACCESS_LOG).and_then(|text| match text.parse() {
        Ok(access_log) => Some(access_log),
        Err(_) => {
            notes.add(ObjectRef::of(names::NAMESPACE, metadata), invalid(names::ACCESS_LOG, text));
            None
        }
    });
    // Read where pods ask for exclusions; whatever else it says, they get none.
    let _ = truth(metadata, names::NAMESPACE, names::ALLOW_EXCLUSIONS, notes);
    (settings.egress, settings.egress_allow) = egress::settings(metadata, notes);
    settings
}

/// A label or annotation that is `true` or `false`.
pub(super) fn truth(metadata: &Metadata, kind: &str, key: &str, notes: &mut Notes) -> Option<bool> {
    match metadata.setting(key)? {
        "true" => Some(true),
        "false" => Some(false),
        other => {
            notes.add(ObjectRef::of(kind, metadata), invalid(key, other));
            None
        }
    }
}

/// A value that says nothing that is understood.
pub(super) fn invalid(field: &str, value: &str) -> Remark {
    Remark::InvalidValue { field: field.into(), value: value.into() }
}

impl Nodes {
    pub(super) fn new(objects: &Objects, kept: &mut Kept) -> Self {
        let node = |metadata: &Metadata| {
            let label = |key| metadata.labels.get(key).cloned().unwrap_or_default();
            let locality = Locality {
                region: label(names::REGION),
                zone: label(names::ZONE),
                subzone: label(names::SUBZONE),
            };
            HostNode { name: metadata.name.clone(), locality, ..HostNode::default() }
        };
        let nodes = objects.nodes.iter().map(|object| {
            let node = HostNode { addresses: object.addresses().collect(), ..node(&object.metadata) };
            (node.name.clone(), kept.node(node))
        });
        let mut nodes: HashMap<_, _, _> = nodes.collect();
        // Nodes that pods name and nobody describes: one object for all their pods.
        for pod in &objects.pods {
            let name = &pod.spec.node_name;
            if !nodes.contains_key(name) {
                let node = HostNode { name: name.clone(), ..HostNode::default() };
                nodes.insert(name.clone(), kept.node(node));
            }
        }
        Self(nodes)
    }

    pub(super) fn of(&self, name: &str) -> Arc<HostNode> {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// All that have a name.
    pub(super) fn all(&self) -> impl Iterator<Item = HostNode> {
        self.0.values().filter(|node| !node.name.is_empty()).map(|node| HostNode::clone(node))
    }
}
