//! Which interfaces lead out of a pod: who comes in by one is a stranger, and never a machine inside of the pod.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::SockProtocol;

use super::InterfaceName;
use crate::netlink::{Attributes, Exchange, NetlinkSocket, Request};
use crate::netns::{PodNetns, in_netns, ip_of};

/// The interfaces of one pod that lead out of it, by name.
#[derive(Debug)]
pub struct Uplinks(BTreeMap<String, Uplink>);

/// Why an interface leads out of its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uplink {
    /// It has one of the pod's addresses in the mesh.
    Address(IpAddr),
    /// A default route leads there.
    DefaultRoute,
}

impl Uplinks {
    /// Looks at the interfaces and routes of a pod that is known by these addresses.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel does not answer.
    pub fn look(netns: &PodNetns, addresses: &[IpAddr]) -> io::Result<Self> {
        in_netns(netns, || {
            let mut uplinks = BTreeMap::new();
            let routes = default_routes(&NetlinkSocket::open(SockProtocol::NetlinkRoute)?)?;
            for found in getifaddrs()? {
                let address = found.address.as_ref().and_then(ip_of).filter(|ip| addresses.contains(ip));
                let name = found.interface_name;
                if let Some(ip) = address {
                    uplinks.insert(name, Uplink::Address(ip));
                } else if !uplinks.contains_key(&name)
                    && if_nametoindex(&*name).is_ok_and(|it| routes.contains(&it))
                {
                    uplinks.insert(name, Uplink::DefaultRoute);
                }
            }
            Ok(Self(uplinks))
        })
    }

    /// Why an interface is one of them, if it is.
    pub fn why(&self, name: &InterfaceName) -> Option<Uplink> {
        self.0.get(name.as_str()).copied()
    }
}

impl fmt::Display for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => write!(f, "it has the pod's own address {ip}"),
            Self::DefaultRoute => f.write_str("the pod's default route leads there"),
        }
    }
}

/// The interfaces that default routes of the namespace lead to, of both families.
fn default_routes(netlink: &NetlinkSocket) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    let request = Request::new(libc::RTM_GETROUTE, libc::NLM_F_DUMP).header(&[0; ROUTE_HEADER]);
    netlink.ask(request, Exchange::Dump, |message| {
        let Some((fixed, rest)) = message.payload.split_at_checked(ROUTE_HEADER) else { return };
        // family, dst_len, src_len, tos, table, protocol, scope, type
        let [_, 0, _, _, libc::RT_TABLE_MAIN, _, _, libc::RTN_UNICAST, ..] = *fixed else { return };
        let attributes = Attributes::new(rest);
        found.extend(attributes.clone().find(libc::RTA_OIF).and_then(number));
        found.extend(attributes.find(libc::RTA_MULTIPATH).into_iter().flat_map(next_hops));
    })?;
    Ok(found)
}

/// The interfaces in a list of `struct rtnexthop`.
fn next_hops(mut list: &[u8]) -> Vec<u32> {
    let mut found = Vec::new();
    while let Some((fixed, _)) = list.split_at_checked(NEXT_HOP_HEADER) {
        // len, flags, hops, ifindex
        let length = usize::from(u16::from_ne_bytes([fixed[0], fixed[1]]));
        found.extend(number(&fixed[4..]));
        let Some(rest) = list.get(length.max(NEXT_HOP_HEADER).next_multiple_of(4)..) else { break };
        list = rest;
    }
    found
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|raw| u32::from_ne_bytes(*raw))
}

/// Size of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;
/// Size of `struct rtnexthop`.
const NEXT_HOP_HEADER: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_are_read_whatever_their_lengths_say() {
        let hop = |length: u16, index: u32, more: &[u8]| {
            [&length.to_ne_bytes()[..], &[0, 0], &index.to_ne_bytes(), more].concat()
        };
        let two = [hop(16, 7, &[0; 8]), hop(8, 9, &[])].concat();
        assert_eq!(next_hops(&two), [7, 9]);
        assert_eq!(next_hops(&hop(0, 7, &[])), [7]);
        assert_eq!(next_hops(&hop(u16::MAX, 7, &[1, 2, 3])), [7]);
        assert_eq!(next_hops(&two[..7]), [0; 0]);
    }
}
