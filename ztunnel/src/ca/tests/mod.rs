//! A CA that listens on a loopback address, and nodes that ask it.

mod decisions;
mod network;
mod rotation;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certs::{
    CaClient, CaClientConfig, Clock, Identities, LeafKey, NodeKey, SystemClock, TokenSource, TrustFiles,
    Upkeep,
};
use daemon::drain::{self, Drainer};
use daemon::metrics::Metrics;
use daemon::tasks::{OnPanic, Tasks};
use identity::SpiffeId;
use mesh::{
    Capture, Change, ClusterId, HostNode, Network, PodUid, Profile, Snapshots, Store, TunnelProtocol, Update,
    Workload, WorkloadKind, WorkloadUid,
};
use prometheus::{IntCounterVec, Opts};
use rustls_pki_types::UnixTime;

use super::config::CaServerConfig;
use super::issuer::Issuer;
use super::root::{FollowedRoot, NewRoot, RootSource};
use super::{CaMetrics, CaParts, CaServer, Gate, NodeFolder, NodeGate, Strangers};

/// A CA, its folders, and the mesh that it knows.
struct Lab {
    folder: tempfile::TempDir,
    store: Store,
    metrics: Metrics,
    address: SocketAddr,
    root: FollowedRoot,
    issuer: Arc<Issuer>,
    tasks: Arc<Tasks>,
    drainer: Drainer,
}

impl Lab {
    /// A CA that serves, with `pod` of each name running on `node-1`, and `other` on `node-2`.
    async fn new() -> Self {
        Self::with(|_config| {}).await
    }

    async fn with(change: impl FnOnce(&mut CaServerConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = CaServerConfig::default();
        config.root.folder = folder.path().join("root");
        config.trust.nodes = folder.path().join("nodes");
        config.listen.address = (Ipv4Addr::LOCALHOST, 0).into();
        change(&mut config);
        fs::create_dir(&config.trust.nodes).unwrap();
        let mut store = Store::new();
        store.apply(update([pod("pod", "node-1"), pod("other", "node-2")]));
        let metrics = Metrics::new("ca", "test", 1).unwrap();
        let panics = IntCounterVec::new(Opts::new("panics", "Panics."), &["task"]).unwrap();
        let tasks = Arc::new(Tasks::new(OnPanic::Report, panics));
        let new = NewRoot { name: "cluster.local".to_owned(), lifetime: Duration::from_hours(1) };
        let source = RootSource::Folder(config.root.folder.clone());
        let parts = CaParts {
            root: source.ensure(&new, UnixTime::now()).await.unwrap(),
            source,
            gate: gate(&config, store.snapshots()),
            clock: Arc::new(SystemClock),
            metrics: CaMetrics::register(&metrics).unwrap(),
            tasks: tasks.clone(),
        };
        let server = CaServer::start(&config, parts).await.unwrap();
        let (address, root, issuer) = (server.address(), server.root().clone(), server.issuer().clone());
        let (drainer, drain, _finished) = drain::channel();
        tasks.spawn("server", server.serve(drain));
        Self { drainer, folder, store, metrics, address, root, issuer, tasks }
    }

    /// Registers a node and returns its key.
    fn node(&self, name: &str) -> Arc<NodeKey> {
        let pair = NodeKey::generate().unwrap();
        fs::write(self.folder.path().join(format!("nodes/{name}.pem")), &pair.public).unwrap();
        Arc::new(NodeKey::from_pem(name, &pair.private).unwrap())
    }

    /// A client that recognises the CA by its root and name.
    fn client(&self, tokens: Arc<dyn TokenSource>) -> CaClient {
        self.client_with(tokens, Arc::new(SystemClock), |_config| {})
    }

    fn client_with(
        &self,
        tokens: Arc<dyn TokenSource>,
        clock: Arc<dyn Clock>,
        change: impl FnOnce(&mut CaClientConfig),
    ) -> CaClient {
        let mut config = CaClientConfig {
            address: self.address.to_string().parse().unwrap(),
            server_name: "istiod.istio-system.svc".try_into().unwrap(),
            roots: self.roots(),
            cluster_id: "Kubernetes".to_owned(),
            lifetime: Duration::from_hours(24),
            timeout: Duration::from_secs(10),
        };
        change(&mut config);
        CaClient::new(config, tokens, clock)
    }

    /// The identities of a node's pods.
    fn identities(&self, node: &str) -> Identities {
        let client = self.client(self.node(node));
        let (domain, federated) = ("cluster.local".parse().unwrap(), [].into());
        let roots = self.roots();
        let trust = TrustFiles { domain, aliases: [].into(), roots, federated, revocations: [].into() };
        let started = Identities::start(Arc::new(client), trust, Arc::new(SystemClock));
        let (identities, upkeep) = started.unwrap();
        self.tasks.spawn("upkeep", Upkeep::run(upkeep));
        identities
    }

    fn roots(&self) -> PathBuf {
        self.folder.path().join("root/root-cert.pem")
    }

    /// The value of a metric, with its labels.
    fn metric(&self, name: &str) -> String {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or("absent").to_owned()
    }
}

fn gate(config: &CaServerConfig, snapshots: Snapshots) -> Gate {
    let nodes = NodeFolder::new(config.trust.nodes.clone()).accepting_bearers(config.trust.bearers);
    let limits = config.limits;
    let narrow = |count| u32::try_from(count).unwrap();
    let strangers = Strangers::new(narrow(limits.calls_per_second), narrow(limits.burst));
    Gate::Nodes(NodeGate::new(nodes, Arc::new(snapshots), strangers))
}

fn id(service_account: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/default/sa/{service_account}").parse().unwrap()
}

/// A fresh request for `identity`.
fn csr(identity: &SpiffeId) -> String {
    LeafKey::generate().unwrap().request(identity).unwrap()
}

fn update(workloads: impl IntoIterator<Item = Workload>) -> Update {
    Update { workloads: workloads.into_iter().map(Change::Upsert).collect(), ..Update::default() }
}

/// A pod whose service account has its name.
fn pod(name: &str, node: &str) -> Workload {
    Workload {
        uid: WorkloadUid(format!("Kubernetes//Pod/default/{name}").into()),
        pod_uid: Some(PodUid(name.into())),
        name: name.into(),
        addresses: [].into_iter().collect(),
        hostname: None,
        node: Arc::new(HostNode { name: node.into(), ..HostNode::default() }),
        profile: Arc::new(profile(name)),
        capture: Capture::Enabled,
        healthy: true,
        terminating: false,
        weight: 1,
        services: [].into(),
    }
}

fn profile(service_account: &str) -> Profile {
    Profile {
        namespace: "default".into(),
        service_account: service_account.into(),
        trust_domain: "cluster.local".parse().unwrap(),
        network: Network::default(),
        cluster: ClusterId("Kubernetes".into()),
        kind: WorkloadKind::Deployment,
        workload_name: "deployment".into(),
        canonical_name: "deployment".into(),
        canonical_revision: "latest".into(),
        app: "".into(),
        version: "".into(),
        protocol: TunnelProtocol::Hbone,
        host_network: false,
        native_ports: [].into(),
        waypoint: None,
        policies: [].into(),
        network_policy_selected: false,
        network_gateway: false,
        network_membership: mesh::NetworkMembership::default(),
    }
}
