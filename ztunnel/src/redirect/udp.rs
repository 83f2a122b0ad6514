//! What of a pod's UDP passed the rules, by their counters.

use std::io;

use nix::sys::socket::SockProtocol;

use super::digest::{self, Attributed};
use crate::netlink::{Attributes, NetlinkSocket};
use crate::netns::{PodNetns, in_netns};

/// UDP of one pod, without DNS that is captured, since its rules were put in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCount {
    /// From elsewhere.
    pub received: Datagrams,
    /// To elsewhere.
    pub sent: Datagrams,
}

/// How much UDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// Bytes of IP packets.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

impl UdpCount {
    /// Reads the counters in a namespace; nothing where there are no rules of ours.
    pub(super) fn take(netns: &PodNetns) -> io::Result<Self> {
        let netlink = in_netns(netns, || NetlinkSocket::open(SockProtocol::NetlinkNetFilter))?;
        let mut count = Self::default();
        digest::ask(&netlink, GET_OBJECT, Attributed::ToTable, |message| {
            let Some(object) = digest::object_of_ours(message) else { return };
            let counted = object.clone().find(OBJECT_DATA).map(Datagrams::read).unwrap_or_default();
            match object.find(OBJECT_NAME) {
                Some(b"udp_in\0") => count.received = counted,
                Some(b"udp_out\0") => count.sent = counted,
                _ => {}
            }
        })?;
        Ok(count)
    }

    /// What came since an earlier count. Rules that were replaced count from zero.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self { received: self.received.since(earlier.received), sent: self.sent.since(earlier.sent) }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self { received: self.received.and(more.received), sent: self.sent.and(more.sent) }
    }
}

impl Datagrams {
    fn read(counter: &[u8]) -> Self {
        let attributes = Attributes::new(counter);
        let number = |kind| {
            let value = attributes.clone().find(kind).and_then(|value| value.try_into().ok());
            value.map(u64::from_be_bytes).unwrap_or_default()
        };
        Self { bytes: number(COUNTER_BYTES), packets: number(COUNTER_PACKETS) }
    }

    const fn since(self, earlier: Self) -> Self {
        match (self.bytes.checked_sub(earlier.bytes), self.packets.checked_sub(earlier.packets)) {
            (Some(bytes), Some(packets)) => Self { bytes, packets },
            _ => self,
        }
    }

    const fn and(self, more: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(more.bytes),
            packets: self.packets.saturating_add(more.packets),
        }
    }
}

/// `NFT_MSG_GETOBJ`.
const GET_OBJECT: nix::libc::c_int = 19;
/// `NFTA_OBJ_NAME`.
const OBJECT_NAME: u16 = 2;
/// `NFTA_OBJ_DATA`.
const OBJECT_DATA: u16 = 4;
/// `NFTA_COUNTER_BYTES`.
const COUNTER_BYTES: u16 = 1;
/// `NFTA_COUNTER_PACKETS`.
const COUNTER_PACKETS: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_is_told_also_after_a_new_start() {
        let count =
            |bytes, packets| UdpCount { received: Datagrams { bytes, packets }, ..UdpCount::default() };
        assert_eq!(count(300, 3).since(count(100, 1)), count(200, 2));
        assert_eq!(count(50, 1).since(count(100, 2)), count(50, 1));
    }
}
