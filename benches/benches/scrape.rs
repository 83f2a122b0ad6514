//! What a scrape costs: rendering 10,000 label sets of connections, and what it makes workers wait for.
//!
//! A scrape should take less than 50 ms at that size. It runs on a thread of its own; workers meet it only where they
//! look up a label set that they have not used for a minute, for as long as the list of label sets is copied. How many
//! instructions it takes is counted by `cargo xtask instructions`.

use bench::Scraped;
use criterion::{Criterion, criterion_group, criterion_main};

fn scrape(c: &mut Criterion) {
    let scraped = Scraped::default();
    c.bench_function("scrape/10,000 label sets", |bencher| bencher.iter(|| scraped.metrics.render().len()));
}

/// The byte path's share: what counting costs a worker while somebody scrapes all the time, and while nobody does.
fn count(c: &mut Criterion) {
    let Scraped { metrics, open, .. } = &Scraped::default();
    let mut group = c.benchmark_group("count bytes of a connection");
    group.bench_function("quiet", |bencher| bencher.iter(|| open[0].sent(1500)));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::hint::black_box(metrics.render());
            }
        });
        group.bench_function("while scraped", |bencher| bencher.iter(|| open[0].sent(1500)));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    group.finish();
}

criterion_group!(benches, scrape, count);
criterion_main!(benches);
