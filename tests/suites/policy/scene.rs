//! The mesh that policies are about, and calls in it.

use std::net::SocketAddr;

use e2e::calls::opened;
use harness::{Cluster, LabError, Mesh, MeshOptions, Pod, PodSpec, Stack, eventually};
use serde_json::Value;

/// Client and neighbour on one node, server on the other, and a pod that is not in the mesh. `shop` is the namespace's
/// annotations, as YAML.
pub(crate) fn mesh(shop: &str, config: Value) -> Result<Mesh, LabError> {
    mesh_over(Stack::V4, shop, config)
}

/// [`mesh`], of pods with these families.
pub(crate) fn mesh_over(stack: Stack, shop: &str, config: Value) -> Result<Mesh, LabError> {
    let mut cluster = Cluster::with_stack(stack);
    cluster.yaml(&namespace(shop))?;
    cluster.namespace("legacy");
    cluster.pod(PodSpec::new("shop", "client").node("node1"));
    cluster.pod(PodSpec::new("shop", "near").node("node1"));
    cluster.pod(PodSpec::new("shop", "server").node("node2"));
    cluster.pod(PodSpec::new("legacy", "batch").node("node1"));
    Mesh::with(&cluster, &MeshOptions { config, ..MeshOptions::default() })
}

/// Namespace `shop` with these annotations.
pub(crate) fn namespace(annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  \
         labels: {{istio.io/dataplane-mode: ambient}}\n  annotations: {{{annotations}}}\n"
    )
}

/// Waits until an echo server can be talked to, or cannot.
pub(crate) fn until(what: &str, reachable: bool, from: &Pod, to: SocketAddr) -> Result<(), LabError> {
    eventually(what, || Ok((opened(from, to).is_ok() == reachable).then_some(())))
}
