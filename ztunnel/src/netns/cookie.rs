//! What tells a namespace from all that were and will be.

use std::io;

use nix::libc;
use nix::sys::socket::sockopt::GetStruct;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socket};
use serde::{Deserialize, Serialize};

/// The kernel's number of a network namespace, given once between two boots. That of its inode is given again as soon as
/// the namespace has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetnsCookie(u64);

impl NetnsCookie {
    /// That of the namespace that the calling thread is in; none before Linux 5.14.
    ///
    /// # Errors
    /// When there is no socket to ask.
    pub(super) fn here() -> io::Result<Option<Self>> {
        let any = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(getsockopt(&any, CookieOption).ok().map(Self))
    }
}

/// `SO_NETNS_COOKIE` of socket(7).
#[derive(Clone, Copy, Debug)]
struct CookieOption;

nix::getsockopt_impl!(CookieOption, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, u64, GetStruct<u64>);
