//! The store of policies, and the sets of those who ask.

use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use smallvec::SmallVec;

use crate::PolicySet;
use crate::layer::Layer;
use crate::policy::{Policy, PolicyName, Scope};

/// All policies of the mesh. Persistent: a clone shares everything and costs nothing, a change copies a logarithmic
/// part and leaves clones alone. One writer changes it; readers ask for sets without a lock.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// By `<namespace>/<name>`.
    all: Map<Arc<str>, Arc<Policy>>,
    global: Arc<Layer>,
    namespaces: Map<Arc<str>, Arc<Layer>>,
    /// Sets that were asked for, by namespace and selecting policies. Shared by clones until one of them changes, so
    /// that what readers of a snapshot compiled is there for the next snapshot.
    sets: Arc<ArcSwap<Sets>>,
}

/// Whom a change of policies concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Touched {
    /// Every workload.
    Everything,
    /// Every workload of a namespace.
    Namespace(Arc<str>),
    /// The workloads that name this policy.
    Selected(PolicyName),
}

#[derive(Clone, Debug, Default)]
struct Sets {
    by_namespace: Map<Arc<str>, NamespaceSets>,
    /// The sets that name a policy, by its key: namespace and what else they name.
    naming: Map<Arc<str>, Arc<Vec<SetKey>>>,
    count: usize,
}

/// Names a set: a namespace, and the policies that its workload names.
#[derive(Clone, Debug)]
struct SetKey {
    namespace: Arc<str>,
    selected: Arc<[Arc<str>]>,
}

/// Sets of one namespace's workloads, by the policies that they name.
#[derive(Clone, Debug, Default)]
struct NamespaceSets(Map<Arc<[Arc<str>]>, Arc<PolicySet>>);

// A persistent map with a fast hash; keys come from manifests, which operators write.
type Map<K, V> = GenericHashMap<K, V, foldhash::fast::RandomState, DefaultSharedPtr>;

impl Policies {
    /// Adds a policy, or replaces the one of its name. Says whom that concerns; nobody, when it is there already.
    pub fn insert(&mut self, policy: Policy) -> SmallVec<[Touched; 2]> {
        let key = key(&policy.name);
        if self.all.get(&key).is_some_and(|known| **known == policy) {
            return SmallVec::new();
        }
        let mut touched = self.take_out(&key);
        let policy = Arc::new(policy);
        match policy.scope {
            Scope::Global => Arc::make_mut(&mut self.global).insert(&policy),
            Scope::Namespace => {
                let layer = self.namespaces.entry(policy.name.namespace.clone()).or_default();
                Arc::make_mut(layer).insert(&policy);
            }
            Scope::WorkloadSelector => {}
        }
        self.all.insert(key, policy.clone());
        self.touch(&policy, &mut touched);
        touched
    }

    /// Takes out a policy. Says whom that concerns; nobody, when there was none of that name.
    pub fn remove(&mut self, name: &PolicyName) -> SmallVec<[Touched; 2]> {
        self.take_out(&key(name))
    }

    /// The policy of that name.
    pub fn policy(&self, name: &PolicyName) -> Option<&Arc<Policy>> {
        self.all.get(key(name).as_ref())
    }

    /// All policies, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.all.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What applies to a workload of `namespace` that names the policies `selected` (`<namespace>/<name>`). One
    /// that is not known makes the set refuse everything.
    pub fn set(&self, namespace: &str, selected: &[Arc<str>]) -> Arc<PolicySet> {
        let sets = self.sets.load();
        if let Some(set) = sets.by_namespace.get(namespace).and_then(|sets| sets.0.get(selected)) {
            return set.clone();
        }
        let set = Arc::new(self.compile(namespace, selected));
        self.sets.rcu(|sets| sets.with(namespace, selected, &set));
        set
    }

    fn compile(&self, namespace: &str, selected: &[Arc<str>]) -> PolicySet {
        let mut layer = Layer::default();
        let mut missing = Vec::new();
        for key in selected {
            match self.all.get(key) {
                Some(policy) => layer.insert(policy),
                None => missing.push(PolicyName::parse(key)),
            }
        }
        let of_namespace = self.namespaces.get(namespace).cloned().unwrap_or_default();
        PolicySet::new(self.global.clone(), of_namespace, Arc::new(layer), missing.into())
    }

    fn take_out(&mut self, key: &Arc<str>) -> SmallVec<[Touched; 2]> {
        let mut touched = SmallVec::new();
        let Some(policy) = self.all.remove(key) else { return touched };
        match policy.scope {
            Scope::Global => Arc::make_mut(&mut self.global).remove(&policy),
            Scope::Namespace => {
                let layer = self.namespaces.entry(policy.name.namespace.clone()).or_default();
                Arc::make_mut(layer).remove(&policy);
                if layer.is_empty() {
                    self.namespaces.remove(&policy.name.namespace);
                }
            }
            Scope::WorkloadSelector => {}
        }
        self.touch(&policy, &mut touched);
        touched
    }

    /// Notes whom a change of `policy` concerns, and forgets their sets. Sets may name a policy of any scope.
    fn touch(&mut self, policy: &Policy, touched: &mut SmallVec<[Touched; 2]>) {
        let mut sets = Sets::clone(&self.sets.load());
        let namespace = &policy.name.namespace;
        let concerned = match policy.scope {
            Scope::Global => {
                sets = Sets::default();
                Touched::Everything
            }
            Scope::Namespace => {
                sets.forget_namespace(namespace);
                Touched::Namespace(namespace.clone())
            }
            Scope::WorkloadSelector => Touched::Selected(policy.name.clone()),
        };
        sets.forget_those_naming(&key(&policy.name));
        self.sets = Arc::new(ArcSwap::from_pointee(sets));
        if !touched.contains(&concerned) {
            touched.push(concerned);
        }
    }
}

impl Sets {
    fn with(&self, namespace: &str, selected: &[Arc<str>], set: &Arc<PolicySet>) -> Self {
        let mut sets = if self.count < MAX_SETS { self.clone() } else { Self::default() };
        let key = SetKey { namespace: namespace.into(), selected: selected.into() };
        let of_namespace = sets.by_namespace.entry(key.namespace.clone()).or_default();
        if of_namespace.0.insert(key.selected.clone(), set.clone()).is_none() {
            sets.count += 1;
            for name in key.selected.iter() {
                Arc::make_mut(sets.naming.entry(name.clone()).or_default()).push(key.clone());
            }
        }
        sets
    }

    fn forget_namespace(&mut self, namespace: &str) {
        let Some(forgotten) = self.by_namespace.remove(namespace) else { return };
        self.count -= forgotten.0.len();
        for name in forgotten.0.keys().flat_map(|selected| selected.iter()) {
            let Some(mut naming) = self.naming.remove(name) else { continue };
            Arc::make_mut(&mut naming).retain(|key| key.namespace.as_ref() != namespace);
            if !naming.is_empty() {
                self.naming.insert(name.clone(), naming);
            }
        }
    }

    fn forget_those_naming(&mut self, policy: &Arc<str>) {
        let Some(naming) = self.naming.remove(policy) else { return };
        for key in naming.iter() {
            let of_namespace = self.by_namespace.get_mut(&key.namespace);
            let forgotten = of_namespace.and_then(|sets| sets.0.remove(&key.selected));
            self.count -= usize::from(forgotten.is_some());
            for other in key.selected.iter().filter(|other| *other != policy) {
                if let Some(naming) = self.naming.get_mut(other) {
                    Arc::make_mut(naming).retain(|other| !other.is(key));
                }
            }
        }
    }
}

impl SetKey {
    fn is(&self, other: &Self) -> bool {
        self.namespace == other.namespace && self.selected == other.selected
    }
}

fn key(name: &PolicyName) -> Arc<str> {
    name.to_string().into()
}

/// Sets kept for those who ask again. More than the distinct sets of a large node's workloads and their peers; when
/// it is full, it is emptied and fills again with what is in use.
const MAX_SETS: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Attributes, DenyReason, Rule};

    #[test]
    fn a_named_policy_that_is_unknown_refuses_everything_until_it_is_known() {
        let mut policies = Policies::default();
        let named = ["shop/guard".into()];
        let denied = policies.set("shop", &named).evaluate(&anyone()).unwrap_err();
        assert_eq!(denied.reason, DenyReason::UnknownPolicy);
        assert_eq!(denied.to_string(), "policy shop/guard applies but is not known");

        let touched = policies.insert(everyone("shop", "guard", Scope::WorkloadSelector, Action::Allow));
        assert_eq!(touched.as_slice(), [Touched::Selected(PolicyName::new("shop", "guard"))]);
        let permit = policies.set("shop", &named).evaluate(&anyone()).unwrap();
        let by = permit.by().map(|by| (&by.policy, by.rule));
        assert_eq!(by, Some((&PolicyName::new("shop", "guard"), 0)));
    }

    #[test]
    fn a_set_is_kept_until_a_change_touches_it() {
        let mut policies = Policies::default();
        policies.insert(everyone("shop", "one", Scope::WorkloadSelector, Action::Allow));
        let (shop, other) = (policies.set("shop", &["shop/one".into()]), policies.set("other", &[]));
        assert!(Arc::ptr_eq(&shop, &policies.set("shop", &["shop/one".into()])));

        policies.insert(everyone("shop", "two", Scope::Namespace, Action::Allow));
        assert!(!Arc::ptr_eq(&shop, &policies.set("shop", &["shop/one".into()])));
        assert!(Arc::ptr_eq(&other, &policies.set("other", &[])));
        policies.insert(everyone("root", "all", Scope::Global, Action::Allow));
        assert!(!Arc::ptr_eq(&other, &policies.set("other", &[])));
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut policies = Policies::default();
        let before = policies.clone();
        policies.insert(everyone("shop", "wall", Scope::Namespace, Action::Deny));
        assert!(before.set("shop", &[]).evaluate(&anyone()).is_ok());
        assert!(policies.set("shop", &[]).evaluate(&anyone()).is_err());
    }

    #[test]
    fn changing_a_scope_concerns_the_old_and_the_new_ones() {
        let mut policies = Policies::default();
        policies.insert(everyone("shop", "wall", Scope::Namespace, Action::Deny));
        let touched = policies.insert(everyone("shop", "wall", Scope::Global, Action::Deny));
        assert_eq!(touched.as_slice(), [Touched::Namespace("shop".into()), Touched::Everything]);
        assert_eq!(policies.len(), 1);
    }

    #[test]
    fn inserting_what_is_there_concerns_nobody() {
        let mut policies = Policies::default();
        policies.insert(everyone("shop", "wall", Scope::Namespace, Action::Deny));
        assert!(policies.insert(everyone("shop", "wall", Scope::Namespace, Action::Deny)).is_empty());
        assert!(policies.remove(&PolicyName::new("shop", "hedge")).is_empty());
    }

    fn everyone(namespace: &str, name: &str, scope: Scope, action: Action) -> Policy {
        let name = PolicyName::new(namespace, name);
        Policy { name, scope, action, dry_run: false, rules: vec![Rule::default()] }
    }

    fn anyone() -> Attributes<'static> {
        let source_ip = "10.0.0.1".parse().unwrap();
        Attributes { source: None, class: None, source_ip, destination: "10.0.0.2:80".parse().unwrap() }
    }
}
