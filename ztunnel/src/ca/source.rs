//! Who may ask for whom, and what is followed to know it: manifests, or the pods of a cluster.

use std::sync::{Arc, Mutex, PoisonError};

use cluster::kubernetes::{Kubernetes, LivePods};
use cluster::{ManifestSource, OpenError, Places, Scope, Settings, Translation};
use daemon::ready::{Readiness, ReadyTask};
use daemon::tasks::Tasks;
use mesh::{ClusterId, Network, Snapshots, Store};
use serde_json::{Value, json};

use super::config::CaServerConfig;
use super::gate::{AccountGate, AccountSettings, FollowedCluster, Gate, NodeFolder, NodeGate, Strangers};

/// How what is followed fares.
pub(super) enum Following {
    /// Manifests, with what is broken in them.
    Manifests(Problems),
    /// Pods of a cluster.
    Pods(LivePods),
}

/// Who may ask for whom, and how what is followed for it fares. It is ready when `readiness` says so.
///
/// # Errors
/// When the manifests are not there.
pub(super) fn gate(
    config: &CaServerConfig,
    kubernetes: Option<&Kubernetes>,
    readiness: &Readiness,
    tasks: &Tasks,
) -> Result<(Gate, Following), OpenError> {
    let narrow = |count| u32::try_from(count).unwrap_or(u32::MAX);
    let strangers = Strangers::new(narrow(config.limits.calls_per_second), narrow(config.limits.burst));
    let Some(kubernetes) = kubernetes else {
        let source = Source::open(config)?;
        let (snapshots, problems) = (source.snapshots(), source.problems());
        tasks.spawn("mesh", source.follow(readiness.task("mesh")));
        let nodes = NodeFolder::new(config.trust.nodes.clone()).accepting_bearers(config.trust.bearers);
        let gate = Gate::Nodes(NodeGate::new(nodes, Arc::new(snapshots), strangers));
        return Ok((gate, Following::Manifests(problems)));
    };
    let (pods, watch) = kubernetes.pods();
    let ready = readiness.task("pods");
    tasks.spawn("pods", watch.run(|| ready.done()));
    let settings = AccountSettings {
        audience: config.trust.audience.clone(),
        impersonators: config.trust.impersonators.clone(),
    };
    let cluster = FollowedCluster { kubernetes: kubernetes.clone(), pods: pods.clone() };
    let gate = AccountGate::new(settings, Arc::new(cluster), strangers);
    Ok((Gate::Accounts(gate), Following::Pods(pods)))
}

impl Following {
    /// As it is shown.
    pub(super) fn shown(&self) -> Value {
        match self {
            Self::Manifests(problems) => json!({ "problems": problems.list() }),
            Self::Pods(pods) => json!({ "pods": pods.len(), "current": pods.is_current() }),
        }
    }
}

/// Follows manifests into a mesh.
struct Source {
    manifests: ManifestSource,
    store: Store,
    problems: Problems,
}

/// What is broken in the manifests.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems(Arc<Mutex<Vec<String>>>);

impl Source {
    /// Opens the manifests of a configuration.
    ///
    /// # Errors
    /// When they are not there.
    fn open(config: &CaServerConfig) -> Result<Self, OpenError> {
        let places = Places { manifests: vec![config.trust.manifests.clone()], status: None };
        // Names of the mesh that decide about nothing here are left empty.
        let settings = Settings {
            network_policies: false,
            scope: Scope::None,
            trust_domain: config.trust.domain.clone(),
            trust_domain_aliases: Vec::new(),
            cluster_domain: config.trust.domain.as_str().into(),
            cluster_id: ClusterId("".into()),
            network: Network::default(),
            root_namespace: "".into(),
            excluded_namespaces: Vec::new(),
        };
        let manifests = ManifestSource::open(places, settings)?;
        Ok(Self { manifests, store: Store::new(), problems: Problems::default() })
    }

    /// Where the mesh is read.
    fn snapshots(&self) -> Snapshots {
        self.store.snapshots()
    }

    /// What is broken now.
    fn problems(&self) -> Problems {
        self.problems.clone()
    }

    /// Follows the manifests for ever.
    async fn follow(mut self, ready: ReadyTask) {
        let mut ready = Some(ready);
        loop {
            let Translation { update, problems, .. } = self.manifests.next().await;
            for problem in &problems {
                tracing::warn!(%problem, "manifest is broken, and not in force as it is written");
            }
            self.problems.replace(problems.iter().map(ToString::to_string).collect());
            self.store.apply(update);
            if let Some(ready) = ready.take() {
                ready.done();
            }
        }
    }
}

impl Problems {
    /// One line for each.
    fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, problems: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }
}
