//! The mesh that is looked at, and calls in it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use harness::{Cluster, LabError, Mesh, MeshOptions, Pod, PodSpec};
use serde_json::Value;

/// A client and a neighbour on one node, a server on the other, and a pod there that is not in the mesh.
pub(crate) fn cluster() -> Cluster {
    let mut cluster = Cluster::two_nodes();
    cluster.ambient("shop");
    cluster.namespace("legacy");
    cluster.pod(PodSpec::new("shop", "client").node("node1"));
    cluster.pod(PodSpec::new("shop", "near").node("node1"));
    cluster.pod(PodSpec::new("shop", "server").node("node2"));
    cluster.pod(PodSpec::new("legacy", "printer").node("node2"));
    cluster
}

/// That cluster's mesh, with changes to the daemons' configuration.
pub(crate) fn mesh(config: Value) -> Result<Mesh, LabError> {
    Mesh::with(&cluster(), &MeshOptions { config, ..MeshOptions::default() })
}

/// Sends so many bytes and reads them back from an echo server.
pub(crate) fn exchange(stream: &mut TcpStream, bytes: usize) -> std::io::Result<()> {
    let payload = vec![b'x'; bytes];
    stream.write_all(&payload)?;
    let mut heard = vec![0; bytes];
    stream.read_exact(&mut heard)?;
    assert_eq!(heard, payload);
    Ok(())
}

/// Opens a connection to an echo server, and uses it once.
pub(crate) fn talk(from: &Pod, to: SocketAddr, bytes: usize) -> std::io::Result<TcpStream> {
    let mut stream = from.connect(to)?;
    exchange(&mut stream, bytes)?;
    Ok(stream)
}
