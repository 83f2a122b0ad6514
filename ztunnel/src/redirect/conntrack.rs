//! The connection table of a pod's namespace: where a captured datagram was going, and forgetting what is over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use nix::libc;
use nix::sys::socket::SockProtocol;

use super::DNS_PORT;
use crate::netlink::{Attributes, Exchange, NetlinkSocket, Request};
use crate::netns::{PodNetns, in_netns};

/// Answers where captured DNS queries were going, for one pod.
#[derive(Debug)]
pub struct DnsOrigins {
    netlink: Mutex<NetlinkSocket>,
}

impl DnsOrigins {
    /// Opens the connection table of the namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered or has no such table.
    pub fn open(netns: &PodNetns) -> io::Result<Self> {
        let netlink = in_netns(netns, || NetlinkSocket::open(SockProtocol::NetlinkNetFilter))?;
        Ok(Self { netlink: Mutex::new(netlink) })
    }

    /// The name server that the query from `client`, received on a UDP port 15053, was sent to.
    ///
    /// # Errors
    /// `NotFound` when the table holds no such flow; else what netlink reports.
    pub fn original_destination(&self, client: SocketAddr) -> io::Result<SocketAddr> {
        let client = super::canonical(client);
        let request = flow_request(client)?;
        let mut found = None;
        // A panic elsewhere cannot leave the socket half-way: each question has its own number.
        let netlink = self.netlink.lock().unwrap_or_else(PoisonError::into_inner);
        netlink.ask(request, Exchange::One, |message| found = original_of(message.payload))?;
        found.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Drops the entries that carry one of `marks`.
pub(super) fn forget(netns: &PodNetns, marks: &[u32]) -> io::Result<()> {
    let netlink = in_netns(netns, || NetlinkSocket::open(SockProtocol::NetlinkNetFilter))?;
    for mark in marks {
        let request = Request::new(CT_DELETE, libc::NLM_F_ACK)
            .header(&[0, 0, 0, 0])
            .attribute(CTA_MARK, &mark.to_be_bytes())
            .attribute(CTA_MARK_MASK, &u32::MAX.to_be_bytes());
        netlink.ask(request, Exchange::Acknowledge, |_| ())?;
    }
    Ok(())
}

/// Asks for the flow by its answers: they go from our port to the client.
fn flow_request(client: SocketAddr) -> io::Result<Request> {
    let family = if client.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let family = u8::try_from(family).map_err(io::Error::other)?;
    let udp = u8::try_from(libc::IPPROTO_UDP).map_err(io::Error::other)?;
    let addresses = |it: Request| match client.ip() {
        IpAddr::V4(ip) => {
            it.attribute(CTA_IP_V4_SRC, &Ipv4Addr::LOCALHOST.octets()).attribute(CTA_IP_V4_DST, &ip.octets())
        }
        IpAddr::V6(ip) => {
            it.attribute(CTA_IP_V6_SRC, &Ipv6Addr::LOCALHOST.octets()).attribute(CTA_IP_V6_DST, &ip.octets())
        }
    };
    let ports = |it: Request| {
        it.attribute(CTA_PROTO_NUM, &[udp])
            .attribute(CTA_PROTO_SRC_PORT, &DNS_PORT.to_be_bytes())
            .attribute(CTA_PROTO_DST_PORT, &client.port().to_be_bytes())
    };
    Ok(Request::new(CT_GET, 0)
        .header(&[family, 0, 0, 0])
        .nested(CTA_TUPLE_REPLY, |it| it.nested(CTA_TUPLE_IP, addresses).nested(CTA_TUPLE_PROTO, ports)))
}

/// The original destination in an answer. Any bytes may come in here.
fn original_of(payload: &[u8]) -> Option<SocketAddr> {
    let tuple = Attributes::new(Attributes::new(payload.get(NFGENMSG..)?).find(CTA_TUPLE_ORIG)?);
    let addresses = Attributes::new(tuple.clone().find(CTA_TUPLE_IP)?);
    let ports = Attributes::new(tuple.find(CTA_TUPLE_PROTO)?);
    let port = u16::from_be_bytes(ports.find(CTA_PROTO_DST_PORT)?.try_into().ok()?);
    let ip: IpAddr = match addresses.clone().find(CTA_IP_V4_DST) {
        Some(v4) => <[u8; 4]>::try_from(v4).ok()?.into(),
        None => <[u8; 16]>::try_from(addresses.find(CTA_IP_V6_DST)?).ok()?.into(),
    };
    Some(SocketAddr::new(ip, port))
}

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`.
const CT_GET: u16 = 1 << 8 | 1;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`.
const CT_DELETE: u16 = 1 << 8 | 2;
/// Size of `struct nfgenmsg`.
const NFGENMSG: usize = 4;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_MARK: u16 = 8;
const CTA_MARK_MASK: u16 = 21;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_yields_the_original_destination() {
        let request = Request::new(0, 0).header(&[2, 0, 0, 0]).nested(CTA_TUPLE_ORIG, |it| {
            it.nested(CTA_TUPLE_IP, |ip| {
                ip.attribute(CTA_IP_V4_SRC, &[10, 0, 0, 9]).attribute(CTA_IP_V4_DST, &[10, 96, 0, 10])
            })
            .nested(CTA_TUPLE_PROTO, |proto| proto.attribute(CTA_PROTO_DST_PORT, &[0, 53]))
        });
        let bytes = request.finish(1);
        assert_eq!(original_of(&bytes[16..]), Some("10.96.0.10:53".parse().unwrap()));
    }

    #[test]
    fn cut_answers_yield_nothing() {
        let request = Request::new(0, 0).header(&[2, 0, 0, 0]).nested(CTA_TUPLE_ORIG, |it| {
            it.nested(CTA_TUPLE_IP, |ip| ip.attribute(CTA_IP_V4_DST, &[10, 96, 0]))
                .nested(CTA_TUPLE_PROTO, |proto| proto.attribute(CTA_PROTO_DST_PORT, &[0, 53]))
        });
        let bytes = request.finish(1);
        for end in 16..=bytes.len() {
            assert_eq!(original_of(&bytes[16..end]), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
            let _whatever = original_of(&bytes);
        }
    }
}
