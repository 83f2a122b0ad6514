//! Whether our listeners really are where a pod's connections are redirected to.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;

use nix::sys::stat::fstat;

use super::listeners::PodListeners;
use crate::netlink::TcpTable;
use crate::netns::{PodNetns, in_netns};

/// The first port on which the kernel does not see our own socket listening, in that namespace.
pub(super) fn missing(netns: &PodNetns, listeners: &PodListeners) -> io::Result<Option<u16>> {
    let table = in_netns(netns, TcpTable::open)?;
    let seen: BTreeSet<_> = table.listening()?.iter().map(|it| (it.local.port(), it.inode)).collect();
    for (port, socket) in listeners.tcp() {
        if !seen.contains(&(port, fstat(socket.as_fd())?.st_ino)) {
            return Ok(Some(port));
        }
    }
    Ok(None)
}
