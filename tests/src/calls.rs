//! The cluster that most scenarios take place in, and calls between its pods.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use harness::{
    AccessRecord, Cluster, Daemon, LabError, Marker, Mesh, Node, PATIENCE, Packets, Pod, PodSpec, Stack,
    eventually,
};

/// Client and neighbour on one node, server on the other; and two pods that are not in the mesh, one on each.
pub fn shop(stack: Stack) -> Cluster {
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
///
/// # Errors
/// When the call fails.
///
/// # Panics
/// When something else comes back.
pub fn echoed(from: &Pod, to: SocketAddr, payload: &[u8]) -> Result<SocketAddr, LabError> {
    let mut stream = from.connect(to)?;
    stream.write_all(payload)?;
    stream.shutdown(Shutdown::Write)?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    assert!(heard == payload, "{} of {} bytes came back from {to}", heard.len(), payload.len());
    Ok(stream.local_addr()?)
}

/// Sends one byte to an echo server and waits for it: what was let through both ways works still.
///
/// # Errors
/// When the byte does not come back.
pub fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

/// A connection to an echo server that has carried a byte both ways.
///
/// # Errors
/// When it does not come about.
pub fn opened(from: &Pod, to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = from.connect(to)?;
    exchange(&mut stream)?;
    Ok(stream)
}

/// [`opened`], from a node itself.
///
/// # Errors
/// As there.
pub fn opened_on(node: &Node, to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = node.netns().within(|| TcpStream::connect_timeout(&to, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(&mut stream)?;
    Ok(stream)
}

/// Waits until a connection is cut, which must be within a second.
///
/// # Errors
/// When nothing comes in time at all.
///
/// # Panics
/// When it takes longer, or something else comes.
pub fn cut_soon(stream: &mut TcpStream) -> Result<(), LabError> {
    let began = Instant::now();
    stream.set_read_timeout(Some(PATIENCE))?;
    let end = stream.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(io::ErrorKind::ConnectionReset)), "{end:?}");
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    Ok(())
}

/// What a server that speaks first says, and the client's own address.
///
/// # Errors
/// When the call fails.
pub fn greeted(from: &Pod, to: SocketAddr) -> io::Result<(String, SocketAddr)> {
    let mut stream = from.connect(to)?;
    let local = stream.local_addr()?;
    stream.shutdown(Shutdown::Write)?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard)?;
    if heard.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((heard, local)) }
}

/// Waits until an echo server answers.
///
/// # Errors
/// When it does not in time.
pub fn until_served(what: &str, from: &Pod, to: SocketAddr) -> Result<(), LabError> {
    eventually(what, || Ok(opened(from, to).ok().map(drop)))
}

/// Waits until an echo server is out of reach.
///
/// # Errors
/// When it is not in time.
pub fn until_refused(what: &str, from: &Pod, to: SocketAddr) -> Result<(), LabError> {
    eventually(what, || Ok(opened(from, to).is_err().then_some(())))
}

/// Waits until pods that leave the mesh drain: what is new is not captured any more.
///
/// # Errors
/// When they do not in time.
pub fn until_draining(mesh: &Mesh, pods: &[&Pod]) -> Result<(), LabError> {
    pods.iter().try_for_each(|pod| {
        let daemon = mesh.daemon(pod.node().name());
        eventually("the pod drains", || Ok(daemon.phase(pod)?.filter(|it| it.phase == "draining").map(drop)))
    })
}

/// The record of a call that the daemon of the client's node refuses: the connection is taken, and then reset.
///
/// # Errors
/// When there is no such record.
///
/// # Panics
/// When the call is served, or ends without a reset.
pub fn refused(daemon: &Daemon, from: &Pod, to: SocketAddr) -> Result<AccessRecord, LabError> {
    let (local, stream) = from.attempt(to)?;
    let end = stream.and_then(|mut stream| stream.read(&mut [0]));
    assert_eq!(end.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
    outbound(daemon, local)
}

/// The record that a daemon keeps of the connection from a pod's address.
///
/// # Errors
/// When there is none.
pub fn outbound(daemon: &Daemon, client: SocketAddr) -> Result<AccessRecord, LabError> {
    daemon.wait_record(|it| it.direction == "outbound" && it.source == client)
}

/// The record of a connection from a pod to another that a daemon keeps on the side of the latter.
///
/// # Errors
/// When there is none.
pub fn inbound(daemon: &Daemon, from: &Pod, to: &Pod) -> Result<AccessRecord, LabError> {
    daemon.wait_record(|it| it.direction == "inbound" && it.joins(from.name(), to.name()))
}

/// How many packets between two pods hold the marker, on all links between nodes, and how many there are.
pub fn seen(packets: &Packets, one: &Pod, other: &Pod, marker: &Marker) -> (usize, usize) {
    let pairs = one.ips().iter().flat_map(|ip| other.ips().iter().map(|it| packets.between(*ip, *it)));
    pairs.fold((0, 0), |(marked, all), it| (marked + it.holding(marker.as_bytes()), all + it.len()))
}
