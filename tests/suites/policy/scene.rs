//! The mesh that policies are about, and calls in it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use harness::{Cluster, LabError, Mesh, MeshOptions, Pod, PodSpec, eventually};
use serde_json::Value;

/// Client and neighbour on one node, server on the other, and a pod that is not in the mesh. `shop` is the namespace's
/// annotations, as YAML.
pub(crate) fn mesh(shop: &str, config: Value) -> Result<Mesh, LabError> {
    let mut cluster = Cluster::two_nodes();
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

/// Says something to an echo server, and hears it.
pub(crate) fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

/// Whether an echo server can be talked to; the connection, if so.
pub(crate) fn talk(from: &Pod, to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = from.connect(to)?;
    exchange(&mut stream)?;
    Ok(stream)
}

/// Waits until an echo server can be talked to, or cannot.
pub(crate) fn until(what: &str, reachable: bool, from: &Pod, to: SocketAddr) -> Result<(), LabError> {
    eventually(what, || Ok((talk(from, to).is_ok() == reachable).then_some(())))
}
