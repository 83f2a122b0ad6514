//! Nodes and pods as network namespaces, on one wire.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::cluster::{Document, documents, file_name};
use crate::serve::{Handler, Server};
use crate::spec::merge;
use crate::sweep::{Tag, sweep_once};
use crate::{Capture, Cluster, LabError, Netns, Node, Pod, netns, wiring};

/// A cluster's Nodes and Pods made real: each a namespace, joined by a namespace that is the wire between nodes and
/// the world outside of them. Gone when dropped.
#[derive(Debug)]
pub struct Lab {
    tag: Tag,
    wire: Netns,
    nodes: Vec<Node>,
    state: Mutex<State>,
}

/// What of the cluster is real.
#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Document>,
    /// By the names of their files.
    pods: BTreeMap<String, Pod>,
    /// Interfaces made for pods so far, to name the next.
    links: usize,
}

impl Lab {
    /// Makes the namespaces of all Nodes and Pods of `cluster`, and writes its manifests.
    ///
    /// # Errors
    /// When not run by root, when a manifest lacks what the lab needs, or when the kernel refuses.
    pub fn up(cluster: &Cluster) -> Result<Self, LabError> {
        sweep_once();
        let tag = Tag::unique();
        let made = Self::wired(&tag, cluster).and_then(|lab| {
            lab.update(cluster)?;
            Ok(lab)
        });
        if made.is_err() {
            tag.clear();
        }
        made
    }

    /// Makes the lab be like `cluster`: pods that are not in it are gone, those that are new are there, and only then
    /// do the manifests change. A pod of another uid is another pod. Nodes stay as they are.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn update(&self, cluster: &Cluster) -> Result<(), LabError> {
        let files: BTreeMap<_, _> = cluster.documents().map(|it| (it.file_name(), it.clone())).collect();
        let mut state = self.state();
        let is_gone =
            |file: &String, pod: &mut Pod| files.get(file).is_none_or(|it| it.text(UID) != pod.uid());
        let gone: Vec<_> = state.pods.extract_if(.., is_gone).map(|(_, pod)| pod).collect();
        Pod::remove_all(&gone);
        self.start_pods(&mut state, &files)?;
        let old: BTreeSet<_> = state.files.keys().cloned().collect();
        for (file, document) in files {
            if state.files.get(&file) != Some(&document) {
                self.write(&file, &document)?;
                state.files.insert(file, document);
            }
        }
        let names: BTreeSet<_> = cluster.documents().map(Document::file_name).collect();
        for gone in old.difference(&names) {
            self.delete_file(gone)?;
            state.files.remove(gone);
        }
        Ok(())
    }

    /// Writes the manifests in a text of YAML, and makes no namespace for any pod in it.
    ///
    /// # Errors
    /// When it is not YAML or cannot be written.
    pub fn apply(&self, yaml: &str) -> Result<(), LabError> {
        for document in documents(yaml)?.into_iter().map(Document::new) {
            let file = document.file_name();
            self.write(&file, &document)?;
            self.state().files.insert(file, document);
        }
        Ok(())
    }

    /// Changes a manifest: objects are merged, all else replaces, null removes (RFC 7386). No pod is another for it.
    ///
    /// # Errors
    /// When there is none, or it cannot be written.
    pub fn patch(&self, kind: &str, namespace: &str, name: &str, patch: &Value) -> Result<(), LabError> {
        let file = file_name(kind, namespace, name);
        let mut state = self.state();
        let document = state
            .files
            .get(&file)
            .ok_or_else(|| LabError::Manifest { name: file.clone(), problem: "there is none".to_owned() })?;
        let mut manifest = document.value().clone();
        merge(&mut manifest, patch);
        let document = Document::new(manifest);
        self.write(&file, &document)?;
        state.files.insert(file, document);
        Ok(())
    }

    /// Deletes a manifest; `namespace` is empty for what has none.
    ///
    /// # Errors
    /// When there is none.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<(), LabError> {
        let file = file_name(kind, namespace, name);
        self.state().files.remove(&file);
        self.delete_file(&file)
    }

    /// The pod, by `namespace/name`.
    ///
    /// # Panics
    /// When there is none.
    pub fn pod(&self, key: &str) -> Pod {
        let (namespace, name) = key.split_once('/').unwrap_or(("default", key));
        let pod = self.state().pods.get(&file_name("Pod", namespace, name)).cloned();
        pod.unwrap_or_else(|| panic!("no pod {key} in the lab"))
    }

    /// Every pod.
    pub fn pods(&self) -> Vec<Pod> {
        self.state().pods.values().cloned().collect()
    }

    /// Whether the manifests want a pod in the mesh: its own label `istio.io/dataplane-mode` counts before that of its
    /// namespace.
    pub fn wants_capture(&self, pod: &Pod) -> bool {
        let state = self.state();
        let label = |file: String| state.files.get(&file).map(|it| it.text(DATAPLANE_MODE).to_owned());
        match label(file_name("Pod", pod.namespace(), pod.name())).as_deref() {
            Some("ambient") => true,
            Some("none") => false,
            _ => label(file_name("Namespace", "", pod.namespace())).as_deref() == Some("ambient"),
        }
    }

    /// Whether the manifests want a pod captured by a proxy of its own.
    pub fn has_own_proxy(&self, pod: &Pod) -> bool {
        let state = self.state();
        let document = state.files.get(&file_name("Pod", pod.namespace(), pod.name()));
        document.is_some_and(|it| it.text(PROXY) == "dedicated")
    }

    /// The node of that name.
    ///
    /// # Panics
    /// When there is none.
    pub fn node(&self, name: &str) -> &Node {
        let node = self.nodes.iter().find(|node| node.name() == name);
        node.unwrap_or_else(|| panic!("no node {name} in the lab"))
    }

    /// Every node.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The wire between the nodes, which is also the world outside of them: a namespace at [`WIRE_V4`] and [`WIRE_V6`].
    pub const fn wire(&self) -> &Netns {
        &self.wire
    }

    /// Serves on a port of the world outside.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn serve_outside(&self, port: u16, handler: Handler) -> Result<Server, LabError> {
        Server::start(&self.wire, Ipv6Addr::UNSPECIFIED.into(), port, handler)
    }

    /// Records the packets on every link between nodes, from now on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn capture(&self) -> Result<Capture, LabError> {
        Capture::start(self)
    }

    /// Where the manifests are.
    pub fn manifests(&self) -> PathBuf {
        self.folder().join("manifests")
    }

    /// Where all files of the lab are.
    pub fn folder(&self) -> PathBuf {
        self.tag.folder()
    }

    fn wired(tag: &Tag, cluster: &Cluster) -> Result<Self, LabError> {
        let is_node = |it: &&Document| it.kind() == "Node";
        let specs: Vec<_> = cluster.documents().filter(is_node).collect();
        let wire = tag.netns("wire");
        let mut names = vec![wire.clone()];
        names.extend(specs.iter().map(|spec| tag.netns(spec.name())));
        for folder in ["manifests", "status"] {
            let folder = tag.folder().join(folder);
            fs::create_dir_all(&folder).map_err(LabError::file(folder))?;
        }
        netns::create(&names)?;
        let wire = Netns::open(wire)?;
        let nodes = specs.iter().map(|spec| Node::new(spec, tag)).collect::<Result<Vec<_>, _>>()?;
        wiring::join(&wire, &nodes)?;
        Ok(Self { tag: tag.clone(), wire, nodes, state: Mutex::default() })
    }

    /// Makes pods real that are not. One that is on the host's network, or has ended, has no namespace of its own.
    fn start_pods(&self, state: &mut State, files: &BTreeMap<String, Document>) -> Result<(), LabError> {
        let mut specs = Vec::new();
        let mut names = Vec::new();
        for (file, document) in
            files.iter().filter(|it| it.1.kind() == "Pod" && !state.pods.contains_key(it.0))
        {
            let on_host = document.value().pointer("/spec/hostNetwork").and_then(Value::as_bool);
            let ended = matches!(document.text("/status/phase"), "Succeeded" | "Failed");
            if on_host == Some(true) || ended {
                continue;
            }
            let at = document.text("/spec/nodeName");
            let node = self.nodes.iter().find(|it| it.name() == at);
            let node = node.ok_or_else(|| document.wrong(format!("there is no node {at:?}")))?;
            specs.push((document, node, state.links));
            names.push(file.clone());
            state.links += 1;
        }
        state.pods.extend(names.into_iter().zip(Pod::start_all(&specs, &self.tag)?));
        Ok(())
    }

    /// A watcher sees the whole file or none.
    fn write(&self, file: &str, document: &Document) -> Result<(), LabError> {
        let text = serde_json::to_string_pretty(document.value()).expect("a JSON value can be written");
        write_whole(&self.manifests().join(file), &text)
    }

    fn delete_file(&self, file: &str) -> Result<(), LabError> {
        let path = self.manifests().join(file);
        fs::remove_file(&path).map_err(LabError::file(path))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.tag.clear();
    }
}

/// Replaces a file by one move.
fn write_whole(path: &Path, text: &str) -> Result<(), LabError> {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).map_err(LabError::file(&draft))?;
    fs::rename(&draft, path).map_err(LabError::file(path))
}

/// Where the label stands that puts a pod into the mesh.
const DATAPLANE_MODE: &str = "/metadata/labels/istio.io~1dataplane-mode";

/// Where the annotation stands that leaves a pod to a proxy of its own.
const PROXY: &str = "/metadata/annotations/ambient.mesh~1proxy";

/// Where a pod's uid stands.
const UID: &str = "/metadata/uid";

/// Address of the world outside.
pub const WIRE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 30, 0, 1));

/// Address of the world outside.
pub const WIRE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, 1));
