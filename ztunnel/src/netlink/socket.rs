//! A netlink socket: one question, its answers.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};

use super::{Malformed, Message, Messages, Request};

/// A socket of one netlink protocol, in the network namespace in which it was opened.
#[derive(Debug)]
pub struct NetlinkSocket {
    fd: OwnedFd,
    /// Number of the next request. The cell also keeps threads from sharing the socket and mixing up answers.
    sequence: Cell<u32>,
}

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// An acknowledgement.
    Acknowledge,
    /// Many messages, then `NLMSG_DONE`.
    Dump,
    /// One message, or an error.
    One,
}

impl NetlinkSocket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// What socket(2), setsockopt(2) and bind(2) report.
    pub fn open(protocol: SockProtocol) -> io::Result<Self> {
        Self::subscribed(protocol, 0)
    }

    /// Opens a socket that also receives what the kernel announces to `groups` (a bit for each group).
    ///
    /// # Errors
    /// What socket(2), setsockopt(2) and bind(2) report.
    pub fn subscribed(protocol: SockProtocol, groups: u32) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        socket::setsockopt(&fd, socket::sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { fd, sequence: Cell::new(1) })
    }

    /// Sends `request` and hands each message of the answer to `each`.
    ///
    /// The kernel answers within sendmsg(2), so nothing here waits.
    ///
    /// # Errors
    /// The kernel's verdict on the request, or what the socket calls report.
    pub fn ask(
        &self,
        request: Request,
        exchange: Exchange,
        mut each: impl FnMut(Message<'_>),
    ) -> io::Result<()> {
        let sequence = self.sequence.get();
        self.sequence.set(sequence.wrapping_add(1));
        let bytes = request.finish(sequence);
        socket::sendto(self.fd.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = socket::recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)?;
            let datagram = buffer.get(..length).ok_or_else(|| io::Error::other(Malformed))?;
            if read_answer(datagram, sequence, exchange, &mut each)? {
                return Ok(());
            }
        }
    }

    /// Throws away whatever has been announced, and says whether there was anything.
    pub fn discard(&self) -> bool {
        let mut buffer = [0; 256];
        let mut any = false;
        loop {
            match socket::recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                // ENOBUFS: announcements were lost, which is an announcement as well.
                Ok(_) | Err(nix::errno::Errno::ENOBUFS | nix::errno::Errno::EINTR) => any = true,
                Err(_) => return any,
            }
        }
    }
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads one datagram of an answer; true when the answer is complete.
fn read_answer(
    datagram: &[u8],
    sequence: u32,
    exchange: Exchange,
    each: &mut impl FnMut(Message<'_>),
) -> io::Result<bool> {
    for message in Messages::new(datagram) {
        let message = message.map_err(io::Error::other)?;
        if message.sequence != sequence {
            continue;
        }
        match libc::c_int::from(message.kind) {
            libc::NLMSG_ERROR => return verdict(message.payload).map(|()| true),
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_NOOP => {}
            _ => {
                each(message);
                if exchange == Exchange::One {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn verdict(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map(|raw| i32::from_ne_bytes(*raw)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(io::Error::other(Malformed)),
    }
}

/// Datagrams of a dump are at most this long (the kernel allocates them as 32 KiB at most).
const DATAGRAM: usize = 32 * 1024;
/// Bytes of announcements that may wait: one nft transaction of ours is some tens of KiB.
const RECEIVE_BUFFER: usize = 256 * 1024;
