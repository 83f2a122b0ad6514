//! How much of the mesh a change of its objects is about.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{network_gateways, pods};
use crate::objects::{EndpointSlice, Gateway, Objects, Pod};
use crate::status::Reported;

/// What may mean something else than before.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Extent<'a> {
    /// Anything.
    All,
    /// The workloads and services of some namespaces, and nodes that nobody describes.
    Some(Changed<'a>),
}

/// What changed, where it means nothing to the rest of the mesh.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed<'a> {
    pub(super) namespaces: BTreeSet<&'a str>,
    /// Nodes that pods name which came, went or changed.
    pub(super) nodes: BTreeSet<&'a Arc<str>>,
}

/// Objects, and what nodes report of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct State<'a> {
    pub(super) objects: &'a Objects,
    pub(super) reported: &'a Reported,
}

impl<'a> Extent<'a> {
    /// What may be different after a change. Objects that stay are told by where they are.
    pub(super) fn between(before: State<'a>, after: State<'a>) -> Self {
        let (old, new) = (before.objects, after.objects);
        if is_mesh_wide(old, new) {
            return Self::All;
        }
        let mut changed = Changed::default();
        let moved: Vec<_> = different(&old.pods, &new.pods).collect();
        for pod in &moved {
            changed.namespaces.insert(&pod.metadata.namespace);
            changed.nodes.insert(&pod.spec.node_name);
        }
        let slices: Vec<_> = different(&old.endpoint_slices, &new.endpoint_slices).collect();
        let of_slices = slices.iter().map(|it| &it.metadata);
        let of_services = different(&old.services, &new.services).map(|it| &it.metadata);
        let of_entries = different(&old.workload_entries, &new.workload_entries).map(|it| &it.metadata);
        let namespaces = of_slices.chain(of_services).chain(of_entries).map(|it| &*it.namespace);
        changed.namespaces.extend(namespaces);
        changed.namespaces.extend(recaptured(before.reported, after));
        if reaches_further(&changed, &moved, &slices, new) { Self::All } else { Self::Some(changed) }
    }
}

impl Changed<'_> {
    /// The objects that translating the namespaces takes: all of the kinds that are about more than one, and of the
    /// others those that are there.
    pub(super) fn objects(&self, all: &Objects) -> Objects {
        let here = |namespace: &Arc<str>| self.namespaces.contains(&**namespace);
        Objects {
            pods: kept(&all.pods, |it| here(&it.metadata.namespace)),
            endpoint_slices: kept(&all.endpoint_slices, |it| here(&it.metadata.namespace)),
            services: kept(&all.services, |it| here(&it.metadata.namespace)),
            workload_entries: kept(&all.workload_entries, |it| here(&it.metadata.namespace)),
            service_entries: kept(&all.service_entries, |it| here(&it.metadata.namespace)),
            namespaces: all.namespaces.clone(),
            nodes: all.nodes.clone(),
            ..Objects::default()
        }
    }
}

/// Whether what changed is of a kind that is about many namespaces.
fn is_mesh_wide(old: &Objects, new: &Objects) -> bool {
    let differ = is_different(&old.authorization_policies, &new.authorization_policies)
        || is_different(&old.gateways, &new.gateways)
        || is_different(&old.namespaces, &new.namespaces)
        || is_different(&old.network_policies, &new.network_policies)
        || is_different(&old.nodes, &new.nodes)
        || is_different(&old.peer_authentications, &new.peer_authentications)
        || is_different(&old.service_entries, &new.service_entries)
        || old.unread != new.unread
        // Policies of the cluster's network may be among them.
        || old.ignored != new.ignored;
    // A waypoint may answer at a Service of any namespace.
    let may_be_waypoint = |gateway: &Arc<Gateway>| !network_gateways::is_remote(gateway);
    differ || new.gateways.iter().any(may_be_waypoint) && is_different(&old.services, &new.services)
}

/// Whether what changed in some namespaces means something to others.
fn reaches_further(
    changed: &Changed<'_>,
    pods: &[&Arc<Pod>],
    slices: &[&Arc<EndpointSlice>],
    all: &Objects,
) -> bool {
    // Selectors of NetworkPolicies select namespaces that nobody describes by their names.
    let is_described = |name: &&str| all.namespaces.iter().any(|it| *it.metadata.name == **name);
    if !all.network_policies.is_empty() && !changed.namespaces.iter().all(is_described) {
        return true;
    }
    // An address in a slice that names no pod may be that of a pod in another namespace.
    let loose = |slice: &&Arc<EndpointSlice>| slice.endpoints.iter().any(|it| it.pod().is_none());
    let mut found = all.endpoint_slices.iter().filter(loose).peekable();
    if found.peek().is_none() && !slices.iter().any(loose) {
        return false;
    }
    let here = all.pods.iter().filter(|pod| changed.namespaces.contains(&*pod.metadata.namespace));
    let touched = pods.iter().copied().chain(here).flat_map(|pod| pod.addresses());
    let touched: HashSet<_, RandomState> = touched.collect();
    let meant = |slice: &Arc<EndpointSlice>| {
        let addresses = slice.endpoints.iter().flat_map(|it| &it.addresses);
        changed.namespaces.contains(&*slice.metadata.namespace)
            || addresses.filter_map(|it| it.parse().ok()).any(|it| touched.contains(&it))
    };
    slices.iter().any(loose) || found.any(meant)
}

/// Namespaces with pods whose capture is reported differently.
fn recaptured<'a>(before: &Reported, after: State<'a>) -> BTreeSet<&'a str> {
    let different = before.different(after.reported);
    if different.is_empty() {
        return BTreeSet::new();
    }
    let pods = after.objects.pods.iter().filter(|pod| different.contains(&*pods::uid(pod).0));
    pods.map(|pod| &*pod.metadata.namespace).collect()
}

/// Objects that are in one list and not in the other.
fn different<'a, T>(old: &'a [Arc<T>], new: &'a [Arc<T>]) -> impl Iterator<Item = &'a Arc<T>> {
    let (old, new) = without_common_ends(old, new);
    let places = |list: &[Arc<T>]| list.iter().map(Arc::as_ptr).collect::<HashSet<_, RandomState>>();
    let (before, after) = (places(old), places(new));
    let gone = old.iter().filter(move |it| !after.contains(&Arc::as_ptr(it)));
    gone.chain(new.iter().filter(move |it| !before.contains(&Arc::as_ptr(it))))
}

fn is_different<T>(old: &[Arc<T>], new: &[Arc<T>]) -> bool {
    different(old, new).next().is_some()
}

/// Objects are in the order of their files, and few files change at a time.
fn without_common_ends<'a, T>(old: &'a [Arc<T>], new: &'a [Arc<T>]) -> (&'a [Arc<T>], &'a [Arc<T>]) {
    let same = |(one, other): &(&Arc<T>, &Arc<T>)| Arc::ptr_eq(one, other);
    let head = old.iter().zip(new).take_while(same).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    (&old[..old.len() - tail], &new[..new.len() - tail])
}

fn kept<T>(all: &[Arc<T>], keep: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
    all.iter().filter(|it| keep(it)).cloned().collect()
}
