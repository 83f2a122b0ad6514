//! Equal parts of objects, kept once.
//!
//! A cluster has many pods and few kinds of them: their labels, containers and the names in them are the same. Where
//! they are one allocation, 100,000 pods take a fraction of the memory, and are compared by a pointer.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{Labels, Metadata, Object, ObjectRef, OwnerReference, Pod, PodTemplate};

/// Parts that were seen.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    texts: HashSet<Arc<str>, RandomState>,
    labels: HashSet<Labels, RandomState>,
    templates: HashSet<Arc<PodTemplate>, RandomState>,
    owners: HashSet<Arc<[OwnerReference]>, RandomState>,
    /// Parts after the last look for those that nobody has any more.
    swept: usize,
}

impl Shared {
    /// Makes an object and its name use what is known.
    pub(crate) fn object(&mut self, reference: &mut ObjectRef, object: &mut Object) {
        share(&mut self.texts, &mut reference.kind);
        share(&mut self.texts, &mut reference.namespace);
        match object {
            Object::Pod(pod) => {
                let pod = Arc::make_mut(pod);
                self.pod(pod);
                reference.name = pod.metadata.name.clone();
            }
            Object::Service(service) => {
                let service = Arc::make_mut(service);
                self.metadata(&mut service.metadata);
                self.labels(&mut service.spec.selector);
                reference.name = service.metadata.name.clone();
            }
            Object::EndpointSlice(slice) => self.metadata(&mut Arc::make_mut(slice).metadata),
            Object::WorkloadEntry(entry) => self.metadata(&mut Arc::make_mut(entry).metadata),
            _ => {}
        }
    }

    /// Forgets what nobody has any more, once that may be half of it.
    pub(crate) fn sweep(&mut self) {
        let count = self.texts.len() + self.labels.len() + self.templates.len() + self.owners.len();
        if count < 2 * self.swept.max(SMALL) {
            return;
        }
        self.labels.retain(|labels| Arc::strong_count(&labels.0) > 1);
        self.templates.retain(|template| Arc::strong_count(template) > 1);
        self.owners.retain(|owners| Arc::strong_count(owners) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.swept = self.texts.len() + self.labels.len() + self.templates.len() + self.owners.len();
    }

    fn pod(&mut self, pod: &mut Pod) {
        self.metadata(&mut pod.metadata);
        share(&mut self.texts, &mut pod.spec.node_name);
        share(&mut self.templates, &mut pod.spec.template);
    }

    fn metadata(&mut self, metadata: &mut Metadata) {
        share(&mut self.texts, &mut metadata.namespace);
        self.labels(&mut metadata.labels);
        self.labels(&mut metadata.annotations.0);
        share(&mut self.owners, &mut metadata.owner_references);
    }

    fn labels(&mut self, labels: &mut Labels) {
        if let Some(known) = self.labels.get(labels) {
            *labels = known.clone();
            return;
        }
        let pair = |(key, value): (&Arc<str>, &Arc<str>)| (self.text(key), self.text(value));
        let shared = labels.iter().map(pair).collect::<Vec<_>>().into();
        *labels = Labels(shared);
        self.labels.insert(labels.clone());
    }

    fn text(&mut self, text: &Arc<str>) -> Arc<str> {
        let mut text = text.clone();
        share(&mut self.texts, &mut text);
        text
    }
}

/// Makes a value be the one that is known, or known.
pub(crate) fn share<T: Clone + Eq + Hash>(known: &mut HashSet<T, RandomState>, value: &mut T) {
    match known.get(value) {
        Some(known) => *value = known.clone(),
        None => {
            known.insert(value.clone());
        }
    }
}

/// Fewer parts than this are not worth a look.
const SMALL: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_of_pods_are_one() {
        let mut shared = Shared::default();
        let labels = || [(Arc::from("app"), Arc::from("cart"))].into_iter().collect::<Labels>();
        let mut pod = |name: &str| {
            let metadata = Metadata { name: name.into(), labels: labels(), ..Metadata::default() };
            let mut object = Object::Pod(Arc::new(Pod { metadata, ..Pod::default() }));
            shared.object(
                &mut ObjectRef { kind: "Pod".into(), namespace: "".into(), name: name.into() },
                &mut object,
            );
            let Object::Pod(pod) = object else { unreachable!() };
            pod
        };
        let (one, other) = (pod("one"), pod("other"));
        assert!(Arc::ptr_eq(&one.metadata.labels.0, &other.metadata.labels.0));
        assert!(Arc::ptr_eq(&one.metadata.namespace, &other.metadata.namespace));
        assert!(Arc::ptr_eq(&one.spec.template, &other.spec.template));
        assert_ne!(one, other);
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten() {
        let mut shared = Shared::default();
        let kept = shared.text(&"kept".into());
        for number in 0..2 * SMALL {
            shared.text(&number.to_string().into());
        }
        shared.sweep();
        assert_eq!(shared.texts.len(), 1);
        assert!(Arc::ptr_eq(&kept, &shared.text(&"kept".into())));
    }
}
