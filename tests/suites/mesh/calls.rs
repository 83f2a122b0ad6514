//! The cluster that most scenarios take place in, and calls between its pods.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use harness::{AccessRecord, Cluster, Daemon, LabError, Marker, Packets, Pod, PodSpec, Stack};

/// Client and neighbour on one node, server on the other; and two pods that are not in the mesh, one on each.
pub(crate) fn shop(stack: Stack) -> Cluster {
    let mut cluster = Cluster::with_stack(stack);
    cluster.ambient("shop");
    cluster.namespace("legacy");
    cluster.pod(PodSpec::new("shop", "client").node("node1"));
    cluster.pod(PodSpec::new("shop", "near").node("node1"));
    cluster.pod(PodSpec::new("shop", "server").node("node2"));
    cluster.pod(PodSpec::new("legacy", "batch").node("node1"));
    cluster.pod(PodSpec::new("legacy", "printer").node("node2"));
    cluster
}

/// Sends a payload that an echo server is to send back, to the end; hands out the client's own address.
pub(crate) fn echoed(from: &Pod, to: SocketAddr, payload: &[u8]) -> Result<SocketAddr, LabError> {
    let mut stream = from.connect(to)?;
    stream.write_all(payload)?;
    stream.shutdown(Shutdown::Write)?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    assert!(heard == payload, "{} of {} bytes came back from {to}", heard.len(), payload.len());
    Ok(stream.local_addr()?)
}

/// The record that a daemon keeps of the connection from a pod's address.
pub(crate) fn outbound(daemon: &Daemon, client: SocketAddr) -> Result<AccessRecord, LabError> {
    daemon.wait_record(|it| it.direction == "outbound" && it.source == client)
}

/// The record of a connection from a pod to another that a daemon keeps on the side of the latter.
pub(crate) fn inbound(daemon: &Daemon, from: &Pod, to: &Pod) -> Result<AccessRecord, LabError> {
    daemon.wait_record(|it| it.direction == "inbound" && it.joins(from.name(), to.name()))
}

/// How many packets between two pods hold the marker, on all links between nodes, and how many there are.
pub(crate) fn seen(packets: &Packets, one: &Pod, other: &Pod, marker: &Marker) -> (usize, usize) {
    let pairs = one.ips().iter().flat_map(|ip| other.ips().iter().map(|it| packets.between(*ip, *it)));
    pairs.fold((0, 0), |(marked, all), it| (marked + it.holding(marker.as_bytes()), all + it.len()))
}
