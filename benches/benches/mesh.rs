//! What decisions, answers and changes cost: flat from ten workloads to a hundred thousand.

use std::hint::black_box;

use bench::{City, Cluster, PATHS, address};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mesh::NetworkAddress;

criterion_group!(benches, look_ups, paths, changes, manifests);
criterion_main!(benches);

/// Finding a workload by its address, each time another one.
fn look_ups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look-up");
    for size in SIZES {
        let city = City::of(size);
        let snapshot = city.store.snapshot();
        let network = city.pod(0).profile.network.clone();
        let addresses: Vec<_> =
            (0..size).map(|number| NetworkAddress::new(network.clone(), address(number))).collect();
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                // A prime: all have their turn, and none is near the one before.
                turn = (turn + 7919) % addresses.len();
                let found = snapshot.workload_by_address(black_box(&addresses[turn]));
                black_box(found.expect("it is there").uid.clone())
            });
        });
    }
}

/// Decisions and answers in meshes of several sizes.
fn paths(criterion: &mut Criterion) {
    let sized = ["decision-outbound", "decision-inbound", "dns-answer"];
    for path in PATHS.iter().filter(|path| sized.contains(&path.name)) {
        let mut group = criterion.benchmark_group(path.name);
        for size in SIZES {
            let mut once = (path.prepare)(size);
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| bencher.iter(&mut once));
        }
    }
}

/// A change while a decision still holds the snapshot before it. Per second there is time for one divided by this.
fn changes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("change");
    for size in SIZES {
        let mut city = City::of(size);
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let held = city.store.snapshot();
                turn += 1;
                city.change(turn);
                held
            });
        });
    }
}

/// What a changed pod costs from its manifest to the snapshot.
fn manifests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("manifest");
    for size in SIZES {
        let mut cluster = Cluster::of(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| bencher.iter(|| cluster.change()));
    }
}

const SIZES: [u32; 3] = [10, 1000, 100_000];
