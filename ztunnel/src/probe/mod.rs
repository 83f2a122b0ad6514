//! Telling a kubelet's probe from a client that merely comes from the node's address.
//!
//! A client of a NodePort that the node masquerades reaches the pod from the same address as the kubelet. What it
//! does not have is a socket on the node: the kubelet does. So a probe is a connection to a probe port of the pod's
//! spec for which the node's own namespace holds a socket with that very 4-tuple.

use std::io;
use std::net::SocketAddr;

use crate::netlink::TcpTable;

/// The TCP sockets of the node, as a worker asks for them: one for each worker.
#[derive(Debug)]
pub struct HostSockets {
    table: TcpTable,
}

impl HostSockets {
    /// Opens the table of the calling thread's namespace: the node's, since the daemon shares its network.
    ///
    /// # Errors
    /// What the socket calls report.
    pub fn open() -> io::Result<Self> {
        Ok(Self { table: TcpTable::open()? })
    }

    /// Whether the connection from `client` to `pod` (its destination before any redirection) is a probe of the
    /// node's own, for a pod whose spec has probes on `ports`.
    ///
    /// # Errors
    /// When the kernel does not answer; then it is unknown, and unknown means no.
    pub fn is_probe(&self, ports: &[u16], client: SocketAddr, pod: SocketAddr) -> io::Result<bool> {
        if !ports.contains(&pod.port()) {
            return Ok(false);
        }
        let found = self.table.find(client, pod)?;
        Ok(found.is_some_and(|it| (it.local, it.remote) == (client, pod) && !FOREIGN.contains(&it.state)))
    }
}

/// States in which a 4-tuple says nothing about who is on it now: SYN_RECV, TIME_WAIT, CLOSE, LISTEN, NEW_SYN_RECV.
/// TIME_WAIT needs our own FIN first, so no probe that waits for an answer is in it; the masquerade may reuse it.
const FOREIGN: [u8; 5] = [3, 6, 7, 10, 12];
