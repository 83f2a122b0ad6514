//! Just enough netlink: requests to the kernel and its answers, as plain bytes.
//!
//! A netlink socket belongs to the network namespace in which it was made, and keeps belonging to it. One made
//! inside a pod's namespace therefore serves any thread later, without entering that namespace again.

mod inet_diag;
mod message;
mod socket;

pub use inet_diag::{TcpSocket, TcpTable};
pub use message::{Attributes, Malformed, Message, Messages, Request};
pub use socket::{Exchange, NetlinkSocket};
