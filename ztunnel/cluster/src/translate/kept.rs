//! Parts that workloads share, kept from one translation to the next: else each change would leave copies of them.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use mesh::{HostNode, Profile, ServiceKey};

use crate::objects::share;

/// Parts, each once.
#[derive(Debug, Default)]
pub(super) struct Kept {
    profiles: HashSet<Arc<Profile>, RandomState>,
    nodes: HashSet<Arc<HostNode>, RandomState>,
    /// Services that workloads are endpoints of.
    services: HashSet<Arc<[ServiceKey]>, RandomState>,
    /// Parts after the last look for those that nobody has any more.
    swept: usize,
}

impl Kept {
    /// The one object of all equal profiles.
    pub(super) fn profile(&mut self, profile: Profile) -> Arc<Profile> {
        intern(&mut self.profiles, Arc::new(profile))
    }

    /// The one object of all equal nodes.
    pub(super) fn node(&mut self, node: HostNode) -> Arc<HostNode> {
        intern(&mut self.nodes, Arc::new(node))
    }

    /// The one object of all equal lists.
    pub(super) fn services(&mut self, list: &[ServiceKey]) -> Arc<[ServiceKey]> {
        match self.services.get(list) {
            Some(known) => known.clone(),
            None => intern(&mut self.services, list.into()),
        }
    }

    /// Forgets what nobody has any more, once that may be half of it.
    pub(super) fn sweep(&mut self) {
        if self.len() < 2 * self.swept.max(SMALL) {
            return;
        }
        self.profiles.retain(|it| Arc::strong_count(it) > 1);
        self.nodes.retain(|it| Arc::strong_count(it) > 1);
        self.services.retain(|it| Arc::strong_count(it) > 1);
        self.swept = self.len();
    }

    fn len(&self) -> usize {
        self.profiles.len() + self.nodes.len() + self.services.len()
    }
}

fn intern<T: ?Sized + Eq + Hash>(known: &mut HashSet<Arc<T>, RandomState>, mut value: Arc<T>) -> Arc<T> {
    share(known, &mut value);
    value
}

/// Fewer parts than this are not worth a look.
const SMALL: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> HostNode {
        HostNode { name: number.to_string().into(), ..HostNode::default() }
    }

    #[test]
    fn equal_parts_are_one_and_go_with_who_had_them() {
        let mut kept = Kept::default();
        let one = kept.node(node(1));
        for number in 2..2 * SMALL + 2 {
            kept.node(node(number));
            kept.sweep();
        }
        assert_eq!(kept.len(), 2);
        assert!(Arc::ptr_eq(&one, &kept.node(node(1))));
    }
}
