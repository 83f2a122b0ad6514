//! A persistent hash map: clones share all that neither of them changed since.
//!
//! The trie goes by the bits of the keys' hashes. Its leaves are slices of just the size of what is in them, some tens of
//! values, so that a value costs little more than itself and its hash: nodes hold every workload of a mesh, and
//! several such maps. Values know their keys; a key is not kept beside them. A change copies one leaf and the
//! branches above it, whatever the size of the map.

use std::hash::{BuildHasher, Hash};
use std::slice;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// A value that knows its key.
pub(crate) trait Keyed: Clone {
    /// What it is found by.
    type Key: Hash + ?Sized;

    /// Whether that is its key.
    fn is(&self, key: &Self::Key) -> bool;
}

/// Values by their keys.
#[derive(Clone, Debug)]
pub(crate) struct Map<T> {
    root: Node<T>,
    hasher: RandomState,
}

/// Values in no order.
#[derive(Debug)]
pub(crate) struct Iter<'a, T> {
    branches: Vec<slice::Iter<'a, Node<T>>>,
    leaf: slice::Iter<'a, Slot<T>>,
}

#[derive(Clone, Debug)]
enum Node<T> {
    Branch(Arc<[Self; FAN]>),
    Leaf(Arc<[Slot<T>]>),
}

#[derive(Clone, Debug)]
struct Slot<T> {
    hash: u64,
    value: T,
}

/// Where a value is, or belongs: the hash, how much of it led here, and the key.
#[derive(Clone, Copy)]
struct Place<'a, K: ?Sized> {
    hash: u64,
    level: u32,
    key: &'a K,
}

impl<T: Keyed> Map<T> {
    pub(crate) fn get(&self, key: &T::Key) -> Option<&T> {
        let mut place = self.place(key);
        let mut node = &self.root;
        loop {
            match node {
                Node::Branch(children) => node = &children[place.turn()],
                Node::Leaf(slots) => return Some(&slots[place.find(slots)?].value),
            }
        }
    }

    /// Puts a value in; the one that had its key before, if any did.
    pub(crate) fn insert(&mut self, key: &T::Key, value: T) -> Option<T> {
        debug_assert!(value.is(key), "a value goes by its own key");
        let place = self.place(key);
        self.root.insert(place, value)
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, key: &T::Key) -> Option<T> {
        // What is not there must not cost a copy of the way to it.
        self.get(key)?;
        let place = self.place(key);
        self.root.remove(place)
    }

    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter { branches: vec![slice::from_ref(&self.root).iter()], leaf: [].iter() }
    }

    fn place<'a>(&self, key: &'a T::Key) -> Place<'a, T::Key> {
        Place { hash: self.hasher.hash_one(key), level: 0, key }
    }
}

impl<T: Keyed> Node<T> {
    fn insert(&mut self, mut place: Place<'_, T::Key>, value: T) -> Option<T> {
        match self {
            Self::Branch(children) => Arc::make_mut(children)[place.turn()].insert(place, value),
            Self::Leaf(slots) => {
                let slot = Slot { hash: place.hash, value };
                if let Some(at) = place.find(slots) {
                    let before = std::mem::replace(&mut Arc::make_mut(slots)[at], slot);
                    return Some(before.value);
                }
                *slots = slots.iter().cloned().chain([slot]).collect();
                if slots.len() > MAX_LEAF && place.level < LEVELS {
                    let children = split(slots, place.level);
                    *self = Self::Branch(Arc::new(children));
                }
                None
            }
        }
    }

    fn remove(&mut self, mut place: Place<'_, T::Key>) -> Option<T> {
        match self {
            Self::Branch(children) => {
                let removed = Arc::make_mut(children)[place.turn()].remove(place);
                if let Some(slots) = joined(children) {
                    *self = Self::Leaf(slots);
                }
                removed
            }
            Self::Leaf(slots) => {
                let at = place.find(slots)?;
                let removed = slots[at].value.clone();
                *slots = slots[..at].iter().chain(&slots[at + 1..]).cloned().collect();
                Some(removed)
            }
        }
    }
}

impl<K: ?Sized> Place<'_, K> {
    /// The branch's child that it is in; further down, the next bits count.
    fn turn(&mut self) -> usize {
        let turn = turn(self.hash, self.level);
        self.level += 1;
        turn
    }

    fn find<T: Keyed<Key = K>>(&self, slots: &[Slot<T>]) -> Option<usize> {
        slots.iter().position(|slot| slot.hash == self.hash && slot.value.is(self.key))
    }
}

/// The children that a leaf with too much in it becomes.
fn split<T: Clone>(slots: &[Slot<T>], level: u32) -> [Node<T>; FAN] {
    std::array::from_fn(|child| {
        let own = slots.iter().filter(|slot| turn(slot.hash, level) == child).cloned();
        Node::Leaf(own.collect::<Vec<_>>().into())
    })
}

/// The leaf that a branch becomes, once all of it fits into one with room to spare.
fn joined<T: Clone>(children: &[Node<T>; FAN]) -> Option<Arc<[Slot<T>]>> {
    let mut count = 0;
    for child in children {
        match child {
            Node::Branch(_) => return None,
            Node::Leaf(slots) => count += slots.len(),
        }
    }
    let slots = children.iter().flat_map(|child| match child {
        Node::Branch(_) => &[],
        Node::Leaf(slots) => &**slots,
    });
    (count <= MAX_LEAF / 2).then(|| slots.cloned().collect())
}

/// The bits of a hash that count at a level.
fn turn(hash: u64, level: u32) -> usize {
    usize::from((hash >> (level * FAN.ilog2())).to_le_bytes()[0]) % FAN
}

impl<T> Default for Map<T> {
    fn default() -> Self {
        Self { root: Node::Leaf([].into()), hasher: RandomState::default() }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(slot) = self.leaf.next() {
                return Some(&slot.value);
            }
            match self.branches.last_mut()?.next() {
                Some(Node::Branch(children)) => self.branches.push(children.iter()),
                Some(Node::Leaf(slots)) => self.leaf = slots.iter(),
                None => _ = self.branches.pop(),
            }
        }
    }
}

/// Children of a branch. Few, so that leaves are never nearly empty when one has been split.
const FAN: usize = 8;

/// Values in a leaf. More make changes dearer, fewer make memory dearer.
const MAX_LEAF: usize = 32;

/// Levels of branches: as far as the hash goes. Leaves below hold whatever has nearly the same hash.
const LEVELS: u32 = u64::BITS / FAN.ilog2();

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::Hasher;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Value<K>(K, u32);

    impl<K: Hash + Eq + Clone> Keyed for Value<K> {
        type Key = K;

        fn is(&self, key: &K) -> bool {
            self.0 == *key
        }
    }

    /// Numbers of which many have one hash.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Alike(u32);

    impl Hash for Alike {
        fn hash<H: Hasher>(&self, state: &mut H) {
            (self.0 % 3).hash(state);
        }
    }

    /// Numbers that look random.
    fn numbers() -> impl Iterator<Item = u32> {
        let mut state = 1_u32;
        std::iter::from_fn(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some(state >> 8)
        })
    }

    fn sorted<K: Hash + Eq + Clone + Ord>(map: &Map<Value<K>>) -> Vec<(K, u32)> {
        let mut all: Vec<_> = map.iter().map(|value| (value.0.clone(), value.1)).collect();
        all.sort();
        all
    }

    #[test]
    fn it_holds_what_any_map_holds_and_its_clones_what_they_held() {
        let (mut map, mut reference) = (Map::default(), HashMap::new());
        let mut clones = Vec::new();
        let mut numbers = numbers();
        for step in 0..60_000 {
            let (kind, key) = (numbers.next().unwrap(), numbers.next().unwrap() % 3000);
            // It grows first and shrinks later.
            let grows = kind % 10 < if step < 30_000 { 7 } else { 2 };
            let before = if grows {
                assert_eq!(map.insert(&key, Value(key, step)).map(|it| it.1), reference.insert(key, step));
                key
            } else {
                assert_eq!(map.remove(&key).map(|it| it.1), reference.remove(&key));
                key
            };
            assert_eq!(map.get(&before).map(|it| it.1), reference.get(&before).copied());
            if step % 6000 == 0 {
                clones.push((map.clone(), reference.clone()));
            }
        }
        clones.push((map, reference));
        for (map, reference) in clones {
            let mut expected: Vec<_> = reference.into_iter().collect();
            expected.sort_unstable();
            assert_eq!(sorted(&map), expected);
        }
    }

    #[test]
    fn keys_of_one_hash_are_told_apart() {
        let mut map = Map::default();
        for number in 0..500 {
            assert_eq!(map.insert(&Alike(number), Value(Alike(number), number)), None);
        }
        assert!((0..500).all(|number| map.get(&Alike(number)).is_some_and(|value| value.1 == number)));
        assert!((0..500).all(|number| map.remove(&Alike(number)).is_some_and(|value| value.1 == number)));
        assert!(map.iter().next().is_none());
    }

    #[test]
    fn what_is_emptied_is_as_small_as_it_was() {
        let mut map = Map::default();
        (0..10_000_u32).for_each(|number| _ = map.insert(&number, Value(number, 0)));
        (10..10_000_u32).for_each(|number| _ = map.remove(&number));
        assert!(matches!(&map.root, Node::Leaf(slots) if slots.len() == 10), "{:?}", map.root);
    }

    #[test]
    fn few_values_are_looked_at_however_many_there_are() {
        let mut map = Map::default();
        (0..100_000_u32).for_each(|number| _ = map.insert(&number, Value(number, 0)));
        fn leaves<T>(node: &Node<T>, found: &mut Vec<usize>) {
            match node {
                Node::Branch(children) => children.iter().for_each(|child| leaves(child, found)),
                Node::Leaf(slots) => found.push(slots.len()),
            }
        }
        let mut found = Vec::new();
        leaves(&map.root, &mut found);
        assert!(found.iter().all(|count| *count <= MAX_LEAF));
        assert!(found.len() < 100_000 / 8, "{} leaves are nearly empty", found.len());
    }
}
