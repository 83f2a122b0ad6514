//! What a decision and a change of policy cost: both must stay flat from ten policies to ten thousand.

use std::hint::black_box;
use std::sync::Arc;

use authz::{Action, Attributes, Clause, Match, Pattern, Policies, Policy, PolicyName, Rule, Scope};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use identity::SpiffeId;

criterion_group!(benches, evaluate, look_up, change);
criterion_main!(benches);

/// One decision, with policies about as many other callers in the same namespace.
fn evaluate(criterion: &mut Criterion) {
    let caller: SpiffeId = "spiffe://cluster.local/ns/ns-3/sa/caller".parse().expect("an id");
    let mut group = criterion.benchmark_group("policy/evaluate");
    for count in COUNTS {
        let set = store(count).set("shop", &[]);
        let attributes = Attributes {
            source: Some(&caller),
            class: None,
            source_ip: [10, 0, 0, 1].into(),
            destination: ([10, 0, 0, 2], 8080).into(),
        };
        group.bench_with_input(BenchmarkId::from_parameter(count), &attributes, |bencher, attributes| {
            bencher.iter(|| black_box(&set).evaluate(black_box(attributes)));
        });
    }
}

/// Finding the set of a workload that names two policies.
fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy/look_up");
    for count in COUNTS {
        let policies = store(count);
        let named: [Arc<str>; 2] = ["shop/allow-1".into(), "shop/allow-2".into()];
        group.bench_with_input(BenchmarkId::from_parameter(count), &named, |bencher, named| {
            bencher.iter(|| policies.set(black_box("shop"), black_box(named)));
        });
    }
}

/// Replacing one policy, while a snapshot of the store is held.
fn change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy/change");
    for count in COUNTS {
        let mut policies = store(count);
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                let snapshot = policies.clone();
                turn += 1;
                policies.insert(allow(5, turn % 2 == 0));
                snapshot
            });
        });
    }
}

fn store(count: usize) -> Policies {
    let mut policies = Policies::default();
    for number in 0..count {
        policies.insert(allow(number, true));
    }
    policies
}

fn allow(number: usize, on_8080: bool) -> Policy {
    let caller = format!("cluster.local/ns/ns-{number}/sa/caller");
    let port = if on_8080 { 8080 } else { 8081 };
    let from = Match { principals: vec![Pattern::parse(&caller)], ..Match::default() };
    let to = Match { destination_ports: vec![port], ..Match::default() };
    Policy {
        name: PolicyName::new("shop", &format!("allow-{number}")),
        scope: Scope::Namespace,
        action: Action::Allow,
        dry_run: false,
        rules: vec![Rule::of([Clause::of([from]), Clause::of([to])])],
    }
}

const COUNTS: [usize; 3] = [10, 1000, 10_000];
