//! A cluster as manifests: made by a test, or read from a folder.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde_json::{Value, json};

use crate::{LabError, PodSpec, ServiceSpec, Stack};

/// Manifests of a cluster, by the name of the file that each is in. Adding an object again replaces it.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    stack: Stack,
    files: BTreeMap<String, Document>,
    nodes: Vec<String>,
    pods: u16,
    services: u16,
}

/// One manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(Value);

impl Cluster {
    /// Two nodes, `node1` and `node2`; pods have IPv4 unless they say otherwise.
    pub fn two_nodes() -> Self {
        Self::with_stack(Stack::V4)
    }

    /// Two nodes, `node1` and `node2`, and a stack for pods and Services that say nothing else.
    pub fn with_stack(stack: Stack) -> Self {
        let mut cluster = Self { stack, ..Self::default() };
        cluster.node("node1");
        cluster.node("node2");
        cluster
    }

    /// Reads every manifest in a folder of YAML files.
    ///
    /// # Errors
    /// When a file cannot be read, or is not YAML.
    pub fn read(folder: &Path) -> Result<Self, LabError> {
        let mut cluster = Self::default();
        let entries = fs::read_dir(folder).map_err(LabError::file(folder))?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, LabError>>()?;
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|it| it == "yaml")) {
            let text = fs::read_to_string(path).map_err(LabError::file(path))?;
            cluster.yaml(&text)?;
        }
        Ok(cluster)
    }

    /// Writes every manifest into a folder, as a [`Lab`](crate::Lab) does into its own.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), LabError> {
        fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        self.files.iter().try_for_each(|(file, document)| {
            let path = folder.join(file);
            fs::write(&path, document.value().to_string()).map_err(LabError::file(path))
        })
    }

    /// Adds a node.
    pub fn node(&mut self, name: &str) {
        let index = u8::try_from(self.nodes.len() + 1).expect("labs have few nodes");
        self.nodes.push(name.to_owned());
        self.add(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": name, "labels": {
                "kubernetes.io/hostname": name,
                "topology.kubernetes.io/region": "region",
                "topology.kubernetes.io/zone": format!("zone{index}"),
            } },
            "spec": { "podCIDRs": [format!("10.244.{index}.0/24"), format!("fd00:244:{index}::/64")] },
            "status": { "addresses": [
                { "type": "InternalIP", "address": Ipv4Addr::new(172, 30, 0, 10 + index) },
                { "type": "InternalIP", "address": Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, 0x10 + u16::from(index)) },
            ] },
        }));
    }

    /// Adds a namespace whose pods are in the mesh.
    pub fn ambient(&mut self, name: &str) {
        let labels = json!({ "istio.io/dataplane-mode": "ambient" });
        self.add(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels },
        }));
    }

    /// Adds a namespace whose pods are not in the mesh.
    pub fn namespace(&mut self, name: &str) {
        self.add(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
    }

    /// Adds a pod and its service account. It gets the next uid, and the next addresses of its node, unless it has
    /// its own.
    pub fn pod(&mut self, spec: PodSpec) {
        let PodSpec { namespace, account, .. } = &spec;
        self.add(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": account, "namespace": namespace },
        }));
        self.pods += 1;
        let uid = spec.uid.clone().unwrap_or_else(|| format!("00000000-0000-4000-8000-{:012}", self.pods));
        let addresses =
            if spec.addresses.is_empty() { self.next_addresses(&spec) } else { spec.addresses.clone() };
        self.add(spec.manifest(&uid, &addresses));
    }

    /// Adds a Service, with the next cluster addresses.
    pub fn service(&mut self, spec: ServiceSpec) {
        let stack = spec.stack.unwrap_or(self.stack);
        self.services += 1;
        let [high, low] = self.services.to_be_bytes();
        let v4 = IpAddr::from([10, 96, high, low]);
        let v6 = IpAddr::from([0xfd00, 0x96, 0, 0, 0, 0, 0, self.services]);
        self.add(spec.manifest(&stack.of(v4, v6), stack));
    }

    /// Adds one manifest.
    pub fn add(&mut self, manifest: Value) {
        let document = Document(manifest);
        self.files.insert(document.file_name(), document);
    }

    /// Adds manifests written as YAML.
    ///
    /// # Errors
    /// When it is not YAML.
    pub fn yaml(&mut self, text: &str) -> Result<(), LabError> {
        documents(text)?.into_iter().for_each(|document| self.add(document));
        Ok(())
    }

    /// Takes a manifest out; `namespace` is empty for what has none.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        self.files.remove(&file_name(kind, namespace, name));
    }

    /// Every manifest.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.files.values()
    }

    fn next_addresses(&self, spec: &PodSpec) -> Vec<IpAddr> {
        let at = self.nodes.iter().position(|node| *node == spec.node);
        let node = u8::try_from(at.map_or(0, |at| at + 1)).expect("labs have few nodes");
        let host = self.pods + FIRST_HOST;
        let v4 = IpAddr::from([10, 244, node, u8::try_from(host).expect("labs have few pods")]);
        let v6 = IpAddr::from([0xfd00, 0x244, u16::from(node), 0, 0, 0, 0, host]);
        spec.stack.unwrap_or(self.stack).of(v4, v6)
    }
}

impl Document {
    /// The manifest.
    pub const fn value(&self) -> &Value {
        &self.0
    }

    /// Its `kind`.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// Its namespace, if it has one.
    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    pub(crate) fn new(manifest: Value) -> Self {
        Self(manifest)
    }

    /// The name of the file that it is kept in.
    pub(crate) fn file_name(&self) -> String {
        file_name(self.kind(), self.namespace(), self.name())
    }

    /// The text at a JSON pointer; empty where there is none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Addresses at `field` of each element of the list at `pointer`.
    pub(crate) fn addresses(&self, pointer: &str, field: &str) -> Result<Vec<IpAddr>, LabError> {
        let list = self.0.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let texts = list.iter().filter_map(|it| it.get(field)?.as_str());
        texts.map(|text| text.parse().map_err(|_| self.wrong(format!("{text:?} is no address")))).collect()
    }

    /// Complains about this manifest.
    pub(crate) fn wrong(&self, problem: impl Into<String>) -> LabError {
        LabError::Manifest { name: self.file_name(), problem: problem.into() }
    }
}

/// The manifests in a text of YAML.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, LabError> {
    serde_saphyr::from_multiple(text)
        .map_err(|error| LabError::Manifest { name: "YAML".to_owned(), problem: error.to_string() })
}

/// The name of the file that an object is kept in.
pub(crate) fn file_name(kind: &str, namespace: &str, name: &str) -> String {
    let parts = [kind, namespace, name].into_iter().filter(|part| !part.is_empty());
    format!("{}.yaml", parts.collect::<Vec<_>>().join("-").to_lowercase())
}

/// The first pod's host number is one above this; what is below is for gateways.
const FIRST_HOST: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_lies_in_the_range_of_its_node() {
        let mut cluster = Cluster::with_stack(Stack::Dual);
        cluster.pod(PodSpec::new("shop", "server").node("node2"));
        let pod = cluster.documents().find(|it| it.kind() == "Pod").unwrap();
        let addresses = pod.addresses("/status/podIPs", "ip").unwrap();
        let want: [IpAddr; 2] = ["10.244.2.10".parse().unwrap(), "fd00:244:2::a".parse().unwrap()];
        assert_eq!(addresses, want);
    }

    #[test]
    fn yaml_of_many_documents_is_read() {
        let mut cluster = Cluster::default();
        cluster
            .yaml("kind: Namespace\nmetadata: {name: a}\n---\nkind: Namespace\nmetadata: {name: b}\n")
            .unwrap();
        let names: Vec<_> = cluster.documents().map(Document::name).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
