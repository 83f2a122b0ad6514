//! Who runs where, out of manifests.

use std::sync::{Arc, Mutex, PoisonError};

use cluster::{ManifestSource, OpenError, Places, Settings, Translation};
use daemon::ready::ReadyTask;
use mesh::{ClusterId, Network, Snapshots, Store};

use super::config::CaServerConfig;

/// Follows manifests into a mesh.
pub(super) struct Source {
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
    pub(super) fn open(config: &CaServerConfig) -> Result<Self, OpenError> {
        let places = Places { manifests: vec![config.trust.manifests.clone()], status: None };
        // Names of the mesh that decide about nothing here are left empty.
        let settings = Settings {
            network_policies: false,
            node: "".into(),
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
    pub(super) fn snapshots(&self) -> Snapshots {
        self.store.snapshots()
    }

    /// What is broken now.
    pub(super) fn problems(&self) -> Problems {
        self.problems.clone()
    }

    /// Follows the manifests for ever.
    pub(super) async fn follow(mut self, ready: ReadyTask) {
        let mut ready = Some(ready);
        loop {
            let Translation { update, problems, .. } = self.manifests.next().await;
            for problem in &problems {
                tracing::warn!(%problem, "manifest is broken; what was last read of it stays in force");
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
    pub(super) fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, problems: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }
}
