//! Whether our listeners really are where a pod's connections are redirected to.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::SockProtocol;
use nix::sys::stat::fstat;

use super::listeners::PodListeners;
use crate::netlink::{Exchange, NetlinkSocket, Request};
use crate::netns::{PodNetns, in_netns};

/// The first port on which the kernel does not see our own socket listening, in that namespace.
pub(super) fn missing(netns: &PodNetns, listeners: &PodListeners) -> io::Result<Option<u16>> {
    let netlink = in_netns(netns, || NetlinkSocket::open(SockProtocol::NetlinkSockDiag))?;
    let mut seen = BTreeSet::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        note_listening(&netlink, family, &mut seen)?;
    }
    for (port, socket) in listeners.tcp() {
        if !seen.contains(&(port, fstat(socket.as_fd())?.st_ino)) {
            return Ok(Some(port));
        }
    }
    Ok(None)
}

/// Notes port and inode of all listening TCP sockets of the family.
fn note_listening(
    netlink: &NetlinkSocket,
    family: libc::c_int,
    seen: &mut BTreeSet<(u16, u64)>,
) -> io::Result<()> {
    let family = u8::try_from(family).map_err(io::Error::other)?;
    let tcp = u8::try_from(libc::IPPROTO_TCP).map_err(io::Error::other)?;
    let mut header = [0; REQUEST];
    header[0] = family;
    header[1] = tcp;
    header[4..8].copy_from_slice(&LISTEN_ONLY.to_ne_bytes());
    let request = Request::new(SOCK_DIAG_BY_FAMILY, libc::NLM_F_DUMP).header(&header);
    let answer = netlink.ask(request, Exchange::Dump, |message| {
        let port = message.payload.get(PORT..).and_then(|it| it.first_chunk());
        let inode = message.payload.get(INODE..).and_then(|it| it.first_chunk());
        if let (Some(port), Some(inode)) = (port, inode) {
            seen.insert((u16::from_be_bytes(*port), u32::from_ne_bytes(*inode).into()));
        }
    });
    match answer {
        // A kernel without that family has no listeners of it.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Size of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// The bit of TCP_LISTEN in `idiag_states`.
const LISTEN_ONLY: u32 = 1 << 10;
/// Offset of `id.idiag_sport` in `struct inet_diag_msg`.
const PORT: usize = 4;
/// Offset of `idiag_inode` in `struct inet_diag_msg`.
const INODE: usize = 68;
