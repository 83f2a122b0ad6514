//! What a scrape costs: rendering 10,000 label sets of connections, and what it makes workers wait for.
//!
//! A scrape should take less than 50 ms at that size. It runs on a thread of its own; workers meet it only where they
//! look up a label set that they have not used for a minute, for as long as the list of label sets is copied.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use daemon::metrics::{
    ConnectionCounters, ConnectionLabels, Metrics, Peer, Reporter, Security, ServiceLabels, WorkerCounters,
};

fn scrape(c: &mut Criterion) {
    let (metrics, _worker, open) = busy();
    let text = metrics.render();
    let lines = text.lines().filter(|line| line.starts_with("istio_tcp_sent_bytes_total{")).count();
    assert_eq!(lines, SERIES, "every label set is told");
    c.bench_function("scrape/10,000 label sets", |bencher| bencher.iter(|| metrics.render().len()));
    drop(open);
}

/// The byte path's share: what counting costs a worker while somebody scrapes all the time, and while nobody does.
fn count(c: &mut Criterion) {
    let (metrics, _worker, open) = busy();
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

fn busy() -> (Metrics, WorkerCounters, Vec<ConnectionCounters>) {
    let metrics = Metrics::new("ztunnel", "1", SERIES).expect("the names are ours alone");
    let worker = metrics.worker();
    let open: Vec<_> = (0..SERIES).map(|number| worker.open(&labels(number))).collect();
    open.iter().for_each(|connection| connection.sent(1500));
    worker.flush();
    (metrics, worker, open)
}

fn labels(number: usize) -> ConnectionLabels {
    let peer = |name: String| {
        Arc::new(Peer {
            principal: format!("spiffe://cluster.local/ns/shop/sa/{name}").into(),
            workload: name.as_str().into(),
            canonical_service: name.as_str().into(),
            app: name.into(),
            namespace: "shop".into(),
            version: "v1".into(),
            cluster: "Kubernetes".into(),
            region: "eu".into(),
            zone: "eu-1".into(),
            canonical_revision: "latest".into(),
        })
    };
    ConnectionLabels {
        reporter: Reporter::Source,
        source: peer(format!("frontend-{}", number / 100)),
        destination: peer(format!("backend-{number}")),
        service: ServiceLabels {
            host: format!("backend-{number}.shop.svc.cluster.local").into(),
            name: format!("backend-{number}").into(),
            namespace: "shop".into(),
        },
        security: Security::MutualTls,
    }
}

const SERIES: usize = 10_000;

criterion_group!(benches, scrape, count);
criterion_main!(benches);
