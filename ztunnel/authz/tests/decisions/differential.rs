//! Compiled sets against the reference, over random policies, random changes of them, and random connections.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use authz::{Attributes, Observed, Policies, Policy};

use crate::random::{Change, Connection, NAMESPACES, Random};
use crate::reference;

/// Stores that are made, changed and asked.
const STORES: u64 = 290_000;

#[test]
fn compiled_sets_decide_name_and_note_what_the_reference_does() {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let tried = thread::scope(|scope| {
        let share = |first| (0..STORES).skip(first).step_by(threads).fold(Tried::default(), Tried::store);
        let shares: Vec<_> = (0..threads).map(|first| scope.spawn(move || share(first))).collect();
        let tried = shares.into_iter().map(|it| it.join().unwrap_or_else(|panic| resume_unwind(panic)));
        tried.fold(Tried::default(), Tried::and)
    });
    let Tried { policies, decisions, refused, audited, would_refuse } = tried;
    println!("{} policies, {decisions} decisions, {refused} of them refusals", policies.len());
    println!("{audited} noted by AUDIT policies, {would_refuse} that dry-run policies would refuse");
    assert!(policies.len() > 1_000_000, "{} policies that differ", policies.len());
    assert!(decisions > 5_000_000, "{decisions} decisions");
    for (what, count) in [("refused", refused), ("audited", audited), ("refused in a dry run", would_refuse)]
    {
        let share = count * 100 / decisions;
        assert!((5..90).contains(&share), "{share} % are {what}: that proves little");
    }
}

/// What was tried.
#[derive(Default)]
struct Tried {
    /// Policies that were put in, by their hashes.
    policies: HashSet<u64>,
    decisions: u64,
    refused: u64,
    audited: u64,
    would_refuse: u64,
}

impl Tried {
    /// Makes a store, changes it and asks it.
    fn store(mut self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut store = Store::new(&mut random, seed);
        for _ in 0..random.upto(11) {
            // Asked before each change, so that a set which is not forgotten when it should be shows.
            let asked = random.upto(store.connections.len() - 1);
            let namespace = random.upto(NAMESPACES.len() - 1);
            store.compare(namespace..=namespace, asked..=asked, &mut self);
            let change = random.change();
            if let Change::Insert(policy) = &change {
                self.policies.insert(BuildHasherDefault::<DefaultHasher>::default().hash_one(policy));
            }
            store.apply(change);
        }
        store.compare(0..=NAMESPACES.len() - 1, 0..=store.connections.len() - 1, &mut self);
        self
    }

    fn and(mut self, other: Self) -> Self {
        self.policies.extend(other.policies);
        self.decisions += other.decisions;
        self.refused += other.refused;
        self.audited += other.audited;
        self.would_refuse += other.would_refuse;
        self
    }
}

/// A store, the same policies as a list, and who asks.
struct Store {
    seed: u64,
    policies: Policies,
    plain: Vec<Policy>,
    selected: Vec<Arc<str>>,
    connections: Vec<Connection>,
}

impl Store {
    fn new(random: &mut Random, seed: u64) -> Self {
        Self {
            seed,
            policies: Policies::default(),
            plain: Vec::new(),
            selected: (0..random.upto(2)).map(|_| random.name().to_string().into()).collect(),
            connections: (0..=random.upto(3)).map(|_| random.connection()).collect(),
        }
    }

    /// Compares what some namespaces' workloads decide of some connections, those that name the selected policies and
    /// those that name none.
    fn compare(
        &mut self,
        namespaces: RangeInclusive<usize>,
        asked: RangeInclusive<usize>,
        tried: &mut Tried,
    ) {
        let Self { seed, policies, plain, selected, connections } = self;
        let namespaces = &NAMESPACES[namespaces];
        for (namespace, selected) in namespaces.iter().flat_map(|name| [(name, &**selected), (name, &[])]) {
            let set = policies.set(namespace, selected);
            for connection in &connections[asked.clone()] {
                let attributes = Attributes {
                    source: connection.source.as_ref(),
                    class: connection.class,
                    source_ip: connection.source_ip.parse().unwrap(),
                    destination: connection.destination.parse().unwrap(),
                };
                let decided = set.evaluate(&attributes).map(|permit| permit.by().cloned());
                let expected = reference::evaluate(plain, namespace, selected, &attributes);
                tried.decisions += 1;
                tried.refused += u64::from(expected.is_err());
                assert_eq!(
                    decided, expected,
                    "seed {seed}: {connection:?} to {namespace}, selected by {selected:?}, policies {plain:#?}"
                );
                let observed = set.observe(&attributes);
                assert_eq!(
                    observed,
                    reference::observe(plain, namespace, selected, &attributes),
                    "seed {seed}: {connection:?} to {namespace}, selected by {selected:?}, policies {plain:#?}"
                );
                tried.audited += u64::from(observed.audit.is_some());
                tried.would_refuse += u64::from(observed.dry_run.is_some());
                assert!(set.has_observers() || observed == Observed::default(), "seed {seed}: {observed:?}");
            }
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Insert(policy) => {
                self.plain.retain(|other| other.name != policy.name);
                self.plain.push(policy.clone());
                self.policies.insert(policy);
            }
            Change::Remove(name) => {
                self.plain.retain(|other| other.name != name);
                self.policies.remove(&name);
            }
        }
    }
}
