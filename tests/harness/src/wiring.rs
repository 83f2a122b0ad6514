//! Interfaces, addresses and routes.

use std::net::IpAddr;

use crate::lab::{WIRE_V4, WIRE_V6};
use crate::node::Range;
use crate::{LabError, Netns, Node};

/// Joins the nodes by a bridge, and makes each the way to its pods.
pub(crate) fn join(wire: &Netns, nodes: &[Node]) -> Result<(), LabError> {
    wire.sysctl(NO_DAD)?;
    let mut lines = lines(&[
        "link set lo up",
        "link add br0 type bridge mcast_snooping 0",
        "link set br0 up",
        &format!("addr add {WIRE_V4}/24 dev br0"),
        &format!("addr add {WIRE_V6}/64 dev br0"),
    ]);
    for node in nodes {
        node.netns().sysctl(NO_DAD)?;
        let (port, netns) = (node.port(), node.netns().name());
        lines.push(format!("link add {port} type veth peer name eth0 netns {netns}"));
        lines.push(format!("link set {port} master br0 up"));
        lines.extend(ways_to(node));
    }
    wire.ip(&lines)?;
    nodes.iter().try_for_each(|node| connect_node(node, nodes))
}

/// How a pod is plugged into its node.
#[derive(Debug)]
pub(crate) struct Plug {
    ipv6: bool,
    outside: Vec<String>,
    inside: Vec<String>,
}

impl Plug {
    /// By an interface of that name on the node.
    pub(crate) fn new(node: &Node, link: &str, netns: &str, addresses: &[IpAddr]) -> Self {
        let mut outside = vec![format!("link add {link} type veth peer name eth0 netns {netns}")];
        let mut inside = lines(&["link set lo up", "link set eth0 up"]);
        outside.push(format!("link set {link} up"));
        for address in addresses {
            let Some(Range { gateway, .. }) =
                node.ranges().iter().find(|it| same_family(it.gateway, *address))
            else {
                continue;
            };
            let length = length(*address);
            outside.push(format!("addr add {gateway}/{length} dev {link}"));
            outside.push(format!("route add {address}/{length} dev {link}"));
            inside.push(format!("addr add {address}/{length} dev eth0"));
            inside.push(format!("route add {gateway}/{length} dev eth0"));
            inside.push(format!("route add default via {gateway} dev eth0"));
        }
        Self { ipv6: addresses.iter().any(IpAddr::is_ipv6), outside, inside }
    }
}

/// Plugs pods into their nodes: each program that is started costs more than what it does.
pub(crate) fn plug(pods: &[(&Node, &Netns, Plug)]) -> Result<(), LabError> {
    for (_, netns, plug) in pods {
        netns.sysctl(if plug.ipv6 { NO_DAD } else { NO_IPV6 })?;
    }
    for (node, lines) in by_node(pods.iter().map(|(node, _, plug)| (*node, &*plug.outside))) {
        node.netns().ip(&lines)?;
    }
    pods.iter().try_for_each(|(_, netns, plug)| netns.ip(&plug.inside))
}

/// Takes interfaces of pods away from their nodes, as far as they are still there.
pub(crate) fn unplug<'a>(links: impl Iterator<Item = (&'a Node, &'a str)>) {
    let lines: Vec<_> = links.map(|(node, link)| (node, [format!("link del {link}")])).collect();
    for (node, lines) in by_node(lines.iter().map(|(node, line)| (*node, &line[..]))) {
        node.netns().ip_as_far_as_possible(&lines);
    }
}

fn by_node<'a>(lines: impl Iterator<Item = (&'a Node, &'a [String])>) -> Vec<(&'a Node, Vec<String>)> {
    let mut all: Vec<(&Node, Vec<String>)> = Vec::new();
    for (node, lines) in lines {
        match all.iter_mut().find(|(it, _)| it.name() == node.name()) {
            Some((_, own)) => own.extend_from_slice(lines),
            None => all.push((node, lines.to_vec())),
        }
    }
    all
}

fn connect_node(node: &Node, nodes: &[Node]) -> Result<(), LabError> {
    let mut lines = lines(&["link set lo up", "link set eth0 up"]);
    for address in node.ips() {
        let length = if address.is_ipv4() { 24 } else { 64 };
        lines.push(format!("addr add {address}/{length} dev eth0"));
    }
    lines.push(format!("route add default via {WIRE_V4}"));
    lines.push(format!("route add default via {WIRE_V6}"));
    lines.extend(nodes.iter().filter(|it| it.name() != node.name()).flat_map(ways_to));
    node.netns().ip(&lines)?;
    node.netns().sysctl(FORWARD)
}

/// Routes to the pods of a node.
fn ways_to(node: &Node) -> Vec<String> {
    let pairs = node.ranges().iter().flat_map(|range| node.ips().iter().map(move |ip| (range, *ip)));
    let pairs = pairs.filter(|(range, ip)| same_family(range.gateway, *ip));
    pairs.map(|(range, ip)| format!("route add {} via {ip}", range.text)).collect()
}

fn lines(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn same_family(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}

const fn length(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Addresses work at once: nobody else could have them.
const NO_DAD: &[(&str, &str)] =
    &[("net/ipv6/conf/all/accept_dad", "0"), ("net/ipv6/conf/default/accept_dad", "0")];

/// A pod of a cluster without IPv6.
const NO_IPV6: &[(&str, &str)] =
    &[("net/ipv6/conf/all/disable_ipv6", "1"), ("net/ipv6/conf/default/disable_ipv6", "1")];

/// A node passes on what is not its own.
const FORWARD: &[(&str, &str)] = &[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];
