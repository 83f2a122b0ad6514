//! What decisions, answers and changes cost: flat from ten workloads to a hundred thousand.

use bench::{City, Cluster, PATHS};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

criterion_group!(benches, paths, changes, manifests);
criterion_main!(benches);

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
