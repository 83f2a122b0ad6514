//! The mesh that manifests describe.

use std::path::Path;
use std::sync::Arc;

use cluster::{LocalPod, Reported, Scope, Settings, Translation, translate};
use mesh::{NetworkAddress, Service, ServiceKey, Snapshot, Store, Workload};

/// A translation, and the mesh that it makes.
pub(crate) struct Mesh {
    pub(crate) translation: Translation,
    pub(crate) snapshot: Arc<Snapshot>,
}

/// The mesh of these manifests, as node `node-1` sees it while nobody reports anything.
pub(crate) fn mesh_of(text: &str) -> Mesh {
    reported(text, &Reported::default())
}

/// The mesh of these manifests and reports.
pub(crate) fn reported(text: &str, reported: &Reported) -> Mesh {
    let (objects, problems) = cluster::read(Path::new("test.yaml"), text);
    assert_eq!(problems, [], "{text}");
    Mesh::of(translate(&objects, reported, &settings()))
}

pub(crate) fn settings() -> Settings {
    Settings { scope: Scope::Node("node-1".into()), ..Settings::default() }
}

/// A pod with an address; `more` is further YAML for it, from the left margin.
pub(crate) fn pod(name: &str, ip: &str, labels: &str, more: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  namespace: {namespace}\n  name: {name}\n  \
         labels: {{{labels}}}\nstatus: {{podIP: \"{ip}\"}}\n{more}\n"
    )
}

/// A namespace with labels.
pub(crate) fn namespace(name: &str, labels: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n")
}

/// An object of any kind; `spec` is YAML in one line.
pub(crate) fn object(version: &str, kind: &str, name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{namespace: {namespace}, name: {name}}}\n\
         spec: {spec}\n"
    )
}

impl Mesh {
    pub(crate) fn of(translation: Translation) -> Self {
        let mut store = Store::new();
        store.apply(translation.update.clone());
        Self { snapshot: store.snapshot(), translation }
    }

    pub(crate) fn pod(&self, name: &str) -> &Workload {
        self.find(&format!("Kubernetes//Pod/{name}")).unwrap_or_else(|| panic!("no pod {name}"))
    }

    pub(crate) fn find(&self, uid: &str) -> Option<&Workload> {
        self.snapshot.workload(&mesh::WorkloadUid(uid.into())).map(|it| &**it)
    }

    pub(crate) fn service(&self, name: &str) -> &Service {
        let (namespace, name) = name.split_once('/').unwrap();
        let hostname =
            if name.contains('.') { name.into() } else { format!("{name}.{namespace}.svc.cluster.local") };
        let key = ServiceKey { namespace: namespace.into(), hostname: mesh::Hostname(hostname.into()) };
        self.snapshot.service(&key).unwrap_or_else(|| panic!("no service {key:?}"))
    }

    pub(crate) fn local(&self, name: &str) -> &LocalPod {
        let (namespace, name) = name.split_once('/').unwrap();
        let mut pods = self.translation.local_pods.iter();
        pods.find(|pod| &*pod.namespace == namespace && &*pod.name == name).unwrap()
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.translation.notes.iter().map(ToString::to_string).collect()
    }
}

/// Addresses as text.
pub(crate) fn texts(addresses: &[NetworkAddress]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}
