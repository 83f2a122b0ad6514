//! Which of many selectors select an object, without asking every one.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::objects::{Labels, Selector};

/// Selectors of one namespace, each with what it stands for. One that asks for a label is found under that label.
#[derive(Debug)]
pub(super) struct Selectors<T> {
    by_key: HashMap<Arc<str>, ByValue<T>, RandomState>,
    others: Vec<(Selector, T)>,
}

/// Selectors that ask for a label, by the value that they want.
#[derive(Debug)]
struct ByValue<T>(HashMap<Arc<str>, Vec<(Selector, T)>, RandomState>);

/// Selectors by namespace.
#[derive(Debug)]
pub(super) struct Namespaced<T>(HashMap<Arc<str>, Selectors<T>, RandomState>);

impl<T> Selectors<T> {
    pub(super) fn insert(&mut self, selector: Selector, value: T) {
        let first = selector.match_labels.iter().next().map(|(key, value)| (key.clone(), value.clone()));
        let found = match first {
            Some((key, value)) => self.by_key.entry(key).or_default().0.entry(value).or_default(),
            None => &mut self.others,
        };
        found.push((selector, value));
    }

    /// What stands for the selectors that select an object with these labels.
    pub(super) fn selecting<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = &'a T> {
        let listed = labels.iter().filter_map(|(key, value)| self.by_key.get(key)?.0.get(value));
        let candidates = listed.flatten().chain(&self.others);
        candidates.filter(|(selector, _)| selector.selects(labels)).map(|(_, value)| value)
    }
}

impl<T> Namespaced<T> {
    pub(super) fn insert(&mut self, namespace: &Arc<str>, selector: Selector, value: T) {
        self.0.entry(namespace.clone()).or_default().insert(selector, value);
    }

    /// What stands for the namespace's selectors that select an object with these labels.
    pub(super) fn selecting<'a>(
        &'a self,
        namespace: &str,
        labels: &'a Labels,
    ) -> impl Iterator<Item = &'a T> {
        self.0.get(namespace).into_iter().flat_map(|selectors| selectors.selecting(labels))
    }
}

impl<T> Default for Selectors<T> {
    fn default() -> Self {
        Self { by_key: HashMap::default(), others: Vec::new() }
    }
}

impl<T> Default for ByValue<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<T> Default for Namespaced<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl From<Labels> for Selector {
    fn from(match_labels: Labels) -> Self {
        Self { match_labels, match_expressions: Vec::new() }
    }
}
