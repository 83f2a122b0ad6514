//! As many label sets of connections as a daemon keeps.

use std::sync::Arc;

use daemon::metrics::{
    ConnectionCounters, ConnectionLabels, DEFAULT_SERIES, Metrics, Peer, Reporter, Security, ServiceLabels,
    WorkerCounters,
};

/// A worker with a connection of each label set that a daemon keeps by default, all of which have counted something.
#[derive(Debug)]
pub struct Scraped {
    /// What is scraped.
    pub metrics: Metrics,
    /// The connections.
    pub open: Vec<ConnectionCounters>,
    _worker: WorkerCounters,
}

impl Default for Scraped {
    fn default() -> Self {
        let metrics = Metrics::new("ztunnel", "1", DEFAULT_SERIES).expect("the names are ours alone");
        let worker = metrics.worker();
        let open: Vec<_> = (0..DEFAULT_SERIES).map(|number| worker.open(&labels(number))).collect();
        open.iter().for_each(|connection| connection.sent(1500));
        worker.flush();
        let text = metrics.render();
        let told = text.lines().filter(|line| line.starts_with("istio_tcp_sent_bytes_total{"));
        assert_eq!(told.count(), DEFAULT_SERIES, "every label set is told");
        Self { metrics, open, _worker: worker }
    }
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
