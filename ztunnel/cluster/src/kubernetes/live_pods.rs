//! The pods that run, narrowed to what tells which accounts run on which nodes.

use std::sync::{Arc, PoisonError, RwLock};

use foldhash::HashMap;

/// A pod that has a node and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePod {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its uid: a pod that is made anew has another one.
    pub uid: Box<str>,
    /// The ServiceAccount that it runs under.
    pub service_account: Box<str>,
    /// The node that it runs on.
    pub node: Arc<str>,
}

/// The live pods of a cluster, as last heard. Clones see the same.
#[derive(Clone, Debug, Default)]
pub struct LivePods(Arc<RwLock<State>>);

/// Where the pods of an account run, seen from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// One at least on that node.
    Here,
    /// All of them elsewhere.
    Elsewhere,
    /// There are none.
    Nowhere,
}

#[derive(Debug, Default)]
struct State {
    /// Whether what is heard is all there is.
    current: bool,
    known: Pods,
    /// A new list that is not complete yet.
    listing: Option<Pods>,
}

#[derive(Debug, Default)]
struct Pods {
    by_name: HashMap<Name, LivePod>,
    /// How many pods of an account run on each node.
    accounts: HashMap<Name, HashMap<Arc<str>, u32>>,
    /// Each node's name once.
    nodes: HashMap<Arc<str>, u32>,
}

/// Namespace and name.
type Name = (Box<str>, Box<str>);

impl LivePods {
    /// Whether all changes are heard of. What is known may be of the past otherwise, and is to be asked anew.
    pub fn is_current(&self) -> bool {
        self.read(|state| state.current)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.read(|state| state.known.by_name.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pod of that name.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<LivePod> {
        self.read(|state| state.known.by_name.get(&(namespace.into(), name.into())).cloned())
    }

    /// Where pods of an account run, seen from `node`.
    pub fn placement(&self, node: &str, namespace: &str, service_account: &str) -> Placement {
        let account = (namespace.into(), service_account.into());
        self.read(|state| match state.known.accounts.get(&account) {
            Some(nodes) if nodes.contains_key(node) => Placement::Here,
            Some(_) => Placement::Elsewhere,
            None => Placement::Nowhere,
        })
    }

    /// A list of all pods begins; what is known stays until it is complete.
    pub(super) fn list_begins(&self) {
        self.change(|state| state.listing = Some(Pods::default()));
    }

    /// One of the list.
    pub(super) fn listed(&self, pod: LivePod) {
        self.change(|state| state.listing.get_or_insert_default().insert(pod));
    }

    /// The list is complete: what is not in it is gone.
    pub(super) fn list_ends(&self) {
        self.change(|state| {
            state.known = state.listing.take().unwrap_or_default();
            state.current = true;
        });
    }

    /// A pod is as given.
    pub(super) fn changed(&self, pod: LivePod) {
        self.change(|state| {
            state.known.insert(pod);
            state.current = true;
        });
    }

    /// The pod of that name is gone, or has ended, or has no node yet.
    pub(super) fn gone(&self, namespace: &str, name: &str) {
        self.change(|state| {
            state.known.remove(&(namespace.into(), name.into()));
            state.current = true;
        });
    }

    /// Changes may go unheard from now on.
    pub(super) fn lost(&self) {
        self.change(|state| state.current = false);
    }

    fn read<T>(&self, of: impl FnOnce(&State) -> T) -> T {
        // Every change leaves the state whole, or the process ends.
        of(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, by: impl FnOnce(&mut State)) {
        by(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Pods {
    fn insert(&mut self, mut pod: LivePod) {
        let name = (pod.namespace.clone(), pod.name.clone());
        self.remove(&name);
        if self.by_name.len() >= MAX_PODS {
            tracing::warn!(limit = MAX_PODS, "too many pods: one is not kept, and is asked for when needed");
            return;
        }
        if let Some((node, _)) = self.nodes.get_key_value(&pod.node) {
            pod.node = node.clone();
        }
        *self.nodes.entry(pod.node.clone()).or_default() += 1;
        let account = (pod.namespace.clone(), pod.service_account.clone());
        *self.accounts.entry(account).or_default().entry(pod.node.clone()).or_default() += 1;
        self.by_name.insert(name, pod);
    }

    fn remove(&mut self, name: &Name) {
        let Some(pod) = self.by_name.remove(name) else { return };
        take_one(&mut self.nodes, &pod.node);
        let account = (pod.namespace, pod.service_account);
        if let Some(nodes) = self.accounts.get_mut(&account) {
            take_one(nodes, &pod.node);
            if nodes.is_empty() {
                self.accounts.remove(&account);
            }
        }
    }
}

fn take_one(counts: &mut HashMap<Arc<str>, u32>, node: &Arc<str>) {
    if let Some(count) = counts.get_mut(node) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(node);
        }
    }
}

/// Twice the pods that Kubernetes is made for.
const MAX_PODS: usize = 300_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_where_its_pods_are() {
        let pods = listed([pod("a", "cart", "n1"), pod("b", "cart", "n2"), pod("c", "till", "n2")]);
        assert_eq!(pods.placement("n1", "shop", "cart"), Placement::Here);
        assert_eq!(pods.placement("n1", "shop", "till"), Placement::Elsewhere);
        assert_eq!(pods.placement("n1", "bank", "till"), Placement::Nowhere);
        pods.gone("shop", "a");
        assert_eq!(pods.placement("n1", "shop", "cart"), Placement::Elsewhere);
        pods.gone("shop", "b");
        pods.gone("shop", "b");
        assert_eq!(pods.placement("n1", "shop", "cart"), Placement::Nowhere);
        assert_eq!(pods.len(), 1);
    }

    #[test]
    fn a_pod_that_is_made_anew_elsewhere_is_no_more_where_it_was() {
        let pods = listed([pod("a", "cart", "n1")]);
        pods.changed(pod("a", "cart", "n2"));
        assert_eq!(pods.placement("n1", "shop", "cart"), Placement::Elsewhere);
        assert_eq!(&*pods.pod("shop", "a").unwrap().node, "n2");
    }

    #[test]
    fn a_list_replaces_what_was_known_when_it_is_complete() {
        let pods = listed([pod("a", "cart", "n1")]);
        pods.list_begins();
        pods.listed(pod("b", "till", "n1"));
        assert_eq!(pods.placement("n1", "shop", "cart"), Placement::Here);
        pods.list_ends();
        assert_eq!(pods.placement("n1", "shop", "cart"), Placement::Nowhere);
        assert_eq!(pods.placement("n1", "shop", "till"), Placement::Here);
    }

    #[test]
    fn what_is_known_is_current_while_changes_are_heard() {
        let pods = LivePods::default();
        assert!(!pods.is_current());
        pods.list_begins();
        assert!(!pods.is_current());
        pods.list_ends();
        assert!(pods.is_current());
        pods.lost();
        assert!(!pods.is_current());
        pods.changed(pod("a", "cart", "n1"));
        assert!(pods.is_current());
    }

    #[test]
    fn what_is_gone_takes_no_room() {
        let pods = listed((0..100).map(|at| pod(&at.to_string(), "cart", &format!("n{at}"))));
        (0..100).for_each(|at| pods.gone("shop", &at.to_string()));
        pods.read(|State { known, .. }| {
            assert_eq!((known.by_name.len(), known.accounts.len(), known.nodes.len()), (0, 0, 0));
        });
    }

    fn listed(all: impl IntoIterator<Item = LivePod>) -> LivePods {
        let pods = LivePods::default();
        pods.list_begins();
        all.into_iter().for_each(|pod| pods.listed(pod));
        pods.list_ends();
        pods
    }

    fn pod(name: &str, service_account: &str, node: &str) -> LivePod {
        LivePod {
            namespace: "shop".into(),
            name: name.into(),
            uid: format!("uid-{name}").into(),
            service_account: service_account.into(),
            node: node.into(),
        }
    }
}
