//! Compiled sets against the reference, over random policies, random changes of them, and random connections.

use std::sync::Arc;

use authz::{Attributes, Observed, Policies, Policy};

use crate::random::{Change, Connection, NAMESPACES, Random};
use crate::reference;

/// Stores that are made, changed and asked. Each is asked some 200 times.
const STORES: u64 = 30_000;

#[test]
fn compiled_sets_decide_name_and_note_what_the_reference_does() {
    let (mut decisions, mut policies, mut refused) = (0_u64, 0_u64, 0_u64);
    let (mut audited, mut would_refuse) = (0_u64, 0_u64);
    for seed in 0..STORES {
        let mut random = Random::new(seed);
        let mut store = Store::new(&mut random, seed);
        for _ in 0..random.upto(11) {
            // Asked before each change, so that a set which is not forgotten when it should be shows.
            store.compare();
            policies += 1;
            store.apply(random.change());
        }
        store.compare();
        decisions += store.decisions;
        refused += store.refused;
        audited += store.audited;
        would_refuse += store.would_refuse;
    }
    println!("{policies} changes of policies, {decisions} decisions, {refused} of them refusals");
    println!("{audited} noted by AUDIT policies, {would_refuse} that dry-run policies would refuse");
    assert!(decisions > 5_000_000, "{decisions} decisions");
    for (what, count) in [("refused", refused), ("audited", audited), ("refused in a dry run", would_refuse)]
    {
        let share = count * 100 / decisions;
        assert!((5..90).contains(&share), "{share} % are {what}: that proves little");
    }
}

/// A store, the same policies as a list, and who asks.
struct Store {
    seed: u64,
    policies: Policies,
    plain: Vec<Policy>,
    selected: Vec<Arc<str>>,
    connections: Vec<Connection>,
    decisions: u64,
    refused: u64,
    audited: u64,
    would_refuse: u64,
}

impl Store {
    fn new(random: &mut Random, seed: u64) -> Self {
        Self {
            seed,
            policies: Policies::default(),
            plain: Vec::new(),
            selected: (0..random.upto(2)).map(|_| random.name().to_string().into()).collect(),
            connections: (0..=random.upto(7)).map(|_| random.connection()).collect(),
            decisions: 0,
            refused: 0,
            audited: 0,
            would_refuse: 0,
        }
    }

    /// Compares what all namespaces' workloads decide, those that name the selected policies and those that name none.
    fn compare(&mut self) {
        let Self { seed, policies, plain, selected, connections, .. } = self;
        for (namespace, selected) in NAMESPACES.iter().flat_map(|name| [(name, &**selected), (name, &[])]) {
            let set = policies.set(namespace, selected);
            for connection in &*connections {
                let attributes = Attributes {
                    source: connection.source.as_ref(),
                    class: connection.class,
                    source_ip: connection.source_ip.parse().unwrap(),
                    destination: connection.destination.parse().unwrap(),
                };
                let decided = set.evaluate(&attributes).map(|permit| permit.by().cloned());
                let expected = reference::evaluate(plain, namespace, selected, &attributes);
                self.decisions += 1;
                self.refused += u64::from(expected.is_err());
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
                self.audited += u64::from(observed.audit.is_some());
                self.would_refuse += u64::from(observed.dry_run.is_some());
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
