//! Policy routing inside a pod's namespace: answers to spoofed-source connections come back over loopback.

use std::io;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::libc;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockProtocol;

use super::Marks;
use crate::netlink::{Attributes, Exchange, NetlinkSocket, Request};
use crate::netns::{PodNetns, in_netns};

/// Why policy routing is not in place.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// The namespace has no usable loopback interface.
    #[error("loopback is missing or down in the pod's namespace")]
    Loopback(#[source] io::Error),
    /// The namespace could not be entered, or netlink not be used.
    #[error("rtnetlink cannot be used")]
    Netlink(#[source] io::Error),
    /// The route was refused.
    #[error("route in table {TABLE}, {0:?}, was refused")]
    Route(Family, #[source] io::Error),
    /// The rule was refused.
    #[error("routing rule, {0:?}, was refused")]
    Rule(Family, #[source] io::Error),
}

/// An address family that is routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A routing rule of ours: packets of that mark are local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    /// Only those of sockets that are bound to loopback.
    loopback_only: bool,
    mark: u32,
}

/// Policy routing of one namespace: rtnetlink made there.
pub(super) struct Routing {
    netlink: NetlinkSocket,
    loopback: u32,
    families: &'static [Family],
}

impl Routing {
    pub(super) fn open(netns: &PodNetns) -> Result<Self, RoutingError> {
        let open = || Ok((NetlinkSocket::open(SockProtocol::NetlinkRoute)?, loopback(), families()));
        let (netlink, loopback, families) = in_netns(netns, open).map_err(RoutingError::Netlink)?;
        Ok(Self { netlink, loopback: loopback.map_err(RoutingError::Loopback)?, families })
    }

    /// Routes the pod's answers to loopback, and leaves no rule of ours for any other mark.
    pub(super) fn install(&self, marks: Marks) -> Result<(), RoutingError> {
        for &family in self.families {
            let wanted = Rule::wanted(marks);
            self.delete_rules(family, |found| !wanted.contains(&found))?;
            let route = route_request(libc::RTM_NEWROUTE, REPLACE, family, self.loopback);
            self.acknowledged(route).map_err(|error| RoutingError::Route(family, error))?;
            for rule in wanted {
                match self.acknowledged(rule.request(libc::RTM_NEWRULE, CREATE, family)) {
                    Err(error) if error.raw_os_error() != Some(libc::EEXIST) => {
                        return Err(RoutingError::Rule(family, error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Takes away every rule and route of ours.
    pub(super) fn remove(&self) -> Result<(), RoutingError> {
        for &family in self.families {
            self.delete_rules(family, |_| true)?;
            match self.acknowledged(route_request(libc::RTM_DELROUTE, 0, family, self.loopback)) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                    return Err(RoutingError::Route(family, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether `install(marks)` is in force.
    pub(super) fn is_installed(&self, marks: Marks) -> Result<bool, RoutingError> {
        for &family in self.families {
            let mut rules = self.our_rules(family).map_err(|error| RoutingError::Rule(family, error))?;
            let route = self.has_route(family).map_err(|error| RoutingError::Route(family, error))?;
            rules.sort();
            if rules != Rule::wanted(marks) || !route {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn delete_rules(&self, family: Family, which: impl Fn(Rule) -> bool) -> Result<(), RoutingError> {
        let refused = |error| RoutingError::Rule(family, error);
        for rule in self.our_rules(family).map_err(refused)?.into_iter().filter(|&rule| which(rule)) {
            self.acknowledged(rule.request(libc::RTM_DELRULE, 0, family)).map_err(refused)?;
        }
        Ok(())
    }

    fn acknowledged(&self, request: Request) -> io::Result<()> {
        self.netlink.ask(request, Exchange::Acknowledge, |_| ())
    }

    /// Our rules of that family.
    fn our_rules(&self, family: Family) -> io::Result<Vec<Rule>> {
        let mut rules = Vec::new();
        let header = [family.number(), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let request = Request::new(libc::RTM_GETRULE, libc::NLM_F_DUMP).header(&header);
        self.netlink.ask(request, Exchange::Dump, |message| {
            let Some(attributes) = message.payload.get(RULE_HEADER..).map(Attributes::new) else { return };
            let ours = attributes.clone().find(FRA_PROTOCOL) == Some(&[PROTOCOL])
                && u32_of(attributes.clone().find(FRA_TABLE)) == Some(TABLE.into());
            if let (true, Some(mark)) = (ours, u32_of(attributes.clone().find(FRA_FWMARK))) {
                rules.push(Rule { loopback_only: attributes.find(FRA_OIFNAME).is_some(), mark });
            }
        })?;
        Ok(rules)
    }

    fn has_route(&self, family: Family) -> io::Result<bool> {
        let mut found = false;
        let header = [family.number(), 0, 0, 0, TABLE, 0, 0, 0, 0, 0, 0, 0];
        let request = Request::new(libc::RTM_GETROUTE, libc::NLM_F_DUMP).header(&header);
        self.netlink.ask(request, Exchange::Dump, |message| {
            let Some((fixed, rest)) = message.payload.split_at_checked(ROUTE_HEADER) else { return };
            // family, dst_len, src_len, tos, table, protocol, scope, type
            let [_, 0, 0, 0, TABLE, PROTOCOL, _, libc::RTN_LOCAL, ..] = *fixed else { return };
            found |= u32_of(Attributes::new(rest).find(libc::RTA_OIF)) == Some(self.loopback);
        })?;
        Ok(found)
    }
}

impl Family {
    const fn number(self) -> u8 {
        match self {
            Self::V4 => AF_INET,
            Self::V6 => AF_INET6,
        }
    }
}

impl Rule {
    /// The rules of a captured pod, sorted.
    fn wanted(marks: Marks) -> [Self; 2] {
        let answers = Self { loopback_only: false, mark: marks.spoofed };
        // IPv4 would find the pod's own addresses on loopback by itself, but take them for a neighbour's, and the
        // kernel answers nobody who knocks where nobody listens by such a route: dialling would fail a second late.
        let to_the_pod = Self { loopback_only: true, mark: marks.socket };
        [answers, to_the_pod]
    }

    fn request(self, kind: u16, flags: libc::c_int, family: Family) -> Request {
        let header = [family.number(), 0, 0, 0, TABLE, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
        let request = Request::new(kind, flags | libc::NLM_F_ACK)
            .header(&header)
            .attribute(FRA_PRIORITY, &PRIORITY.to_ne_bytes())
            .attribute(FRA_FWMARK, &self.mark.to_ne_bytes())
            .attribute(FRA_FWMASK, &u32::MAX.to_ne_bytes())
            .attribute(FRA_TABLE, &u32::from(TABLE).to_ne_bytes())
            .attribute(FRA_PROTOCOL, &[PROTOCOL]);
        if self.loopback_only { request.attribute(FRA_OIFNAME, b"lo\0") } else { request }
    }
}

fn route_request(kind: u16, flags: libc::c_int, family: Family, loopback: u32) -> Request {
    let header =
        [family.number(), 0, 0, 0, TABLE, PROTOCOL, libc::RT_SCOPE_HOST, libc::RTN_LOCAL, 0, 0, 0, 0];
    Request::new(kind, flags | libc::NLM_F_ACK)
        .header(&header)
        .attribute(libc::RTA_OIF, &loopback.to_ne_bytes())
}

/// Index of the loopback interface of the current namespace, which must be up: redirection leads there.
fn loopback() -> io::Result<u32> {
    let is_up = |it: InterfaceAddress| it.interface_name == "lo" && it.flags.contains(InterfaceFlags::IFF_UP);
    if getifaddrs()?.any(is_up) { Ok(if_nametoindex("lo")?) } else { Err(io::ErrorKind::NetworkDown.into()) }
}

/// The families that loopback of the current namespace speaks.
fn families() -> &'static [Family] {
    match std::fs::read("/proc/sys/net/ipv6/conf/lo/disable_ipv6") {
        Ok(flag) if flag.starts_with(b"0") => &[Family::V4, Family::V6],
        _ => &[Family::V4],
    }
}

fn u32_of(value: Option<&[u8]>) -> Option<u32> {
    value?.first_chunk().map(|raw| u32::from_ne_bytes(*raw))
}

/// The table that holds our one route: Istio's number.
const TABLE: u8 = 100;
/// Priority of our rules: just before the main table's, as Istio's.
const PRIORITY: u32 = 32764;
/// Originator (`rtm_protocol`) by which we know our rules and routes; not one of rt_protos.
const PROTOCOL: u8 = 85;

const CREATE: libc::c_int = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
const REPLACE: libc::c_int = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Size of `struct fib_rule_hdr`.
const RULE_HEADER: usize = 12;
/// Size of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;
const FR_ACT_TO_TBL: u8 = 1;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PROTOCOL: u16 = 21;
