//! The ruleset of one pod as nft text. Pure: the same pod gives the same text.

use std::fmt::Write;

use ipnet::IpNet;

use super::{CaptureOptions, DNS_PORT, Exclusions, HBONE_PORT, INBOUND_PORT, Marks, OUTBOUND_PORT, UdpRule};

/// The one table that capture consists of.
pub(super) const TABLE: &str = "ambient_mesh";

/// The transaction that captures: replaces whatever the table held.
pub(super) fn capture(marks: Marks, options: &CaptureOptions) -> String {
    let mut body = String::new();
    sets(&mut body, &options.exclusions);
    kept_alive(&mut body, marks);
    chain(&mut body, "nat_prerouting", "type nat hook prerouting priority -100", &inbound(marks, options));
    chain(&mut body, "nat_output", "type nat hook output priority -100", &outbound(marks, options));
    datagrams(&mut body, marks, options);
    replace_table(&body)
}

/// The transaction that redirects nothing new, and keeps what is proxied already working.
///
/// The NAT chains stay although they are empty: without any, the kernel stops translating live connections as well.
pub(super) fn drain(marks: Marks) -> String {
    let mut body = String::new();
    kept_alive(&mut body, marks);
    chain(&mut body, "nat_prerouting", "type nat hook prerouting priority -100", &[]);
    chain(&mut body, "nat_output", "type nat hook output priority -100", &[]);
    replace_table(&body)
}

/// The transaction that leaves nothing; no error when there is nothing.
pub(super) fn removal() -> String {
    format!("add table inet {TABLE}\ndelete table inet {TABLE}\n")
}

/// What proxied connections need as long as they live.
fn kept_alive(body: &mut String, marks: Marks) {
    let Marks { socket, spoofed, .. } = marks;
    // The daemon's connections may have the very addresses and ports of one that is redirected: the client's, towards
    // the pod, or the pod's, towards a name server. A zone for what it sends keeps the two entries apart; answers are
    // told apart by what they answer to.
    let own = [format!("meta mark {socket:#010x} ct original zone set {OWN_ZONE}")];
    chain(body, "raw_output", "type filter hook output priority -300", &own);
    // The daemon reaches the pod over loopback, under the client's address; the answers must find the way back.
    let opened = [format!(
        "meta l4proto tcp meta mark {socket:#010x} ct direction original ct mark set {spoofed:#010x}"
    )];
    // Only answers: a packet whose mark changes is routed a second time.
    let answered = [format!(
        "meta l4proto tcp ct mark {spoofed:#010x} ct direction reply meta mark set {spoofed:#010x}"
    )];
    chain(body, "mangle_prerouting", "type filter hook prerouting priority -150", &opened);
    chain(body, "mangle_output", "type route hook output priority -150", &answered);
}

/// Connections that come in. What the pod opened to itself was decided on in the output hook.
fn inbound(marks: Marks, options: &CaptureOptions) -> Vec<String> {
    let Marks { socket, redirected, .. } = marks;
    let mut rules = vec![format!("meta mark {socket:#010x} return")];
    for interface in &options.virtual_interfaces {
        // What is for the pod itself is none that a machine inside of it sends elsewhere, whoever sends it.
        let passing = format!("iifname \"{interface}\" fib daddr type != local");
        rules.push(format!(
            "{passing} {FIRST_SYN} ct mark set {redirected:#010x} redirect to :{OUTBOUND_PORT}"
        ));
        rules.push(format!("{passing} return"));
    }
    if options.inbound {
        rules.push(format!("tcp dport {HBONE_PORT} return"));
        rules.extend(excluded(&options.exclusions, Direction::Inbound));
        rules.push(format!(
            "iifname != \"lo\" {FIRST_SYN} ct mark set {redirected:#010x} redirect to :{INBOUND_PORT}"
        ));
    }
    rules
}

/// Connections that the pod opens.
fn outbound(marks: Marks, options: &CaptureOptions) -> Vec<String> {
    let Marks { socket, spoofed, redirected } = marks;
    let mut rules = vec![
        format!("meta mark {{ {socket:#010x}, {spoofed:#010x} }} return"),
        // The pod's own addresses are reached over loopback too.
        "oifname \"lo\" return".to_owned(),
    ];
    if options.dns {
        rules.push(format!("udp dport 53 ct mark set {redirected:#010x} redirect to :{DNS_PORT}"));
        rules
            .push(format!("tcp dport 53 {FIRST_SYN} ct mark set {redirected:#010x} redirect to :{DNS_PORT}"));
    }
    rules.extend(excluded(&options.exclusions, Direction::Outbound));
    rules.push(format!("{FIRST_SYN} ct mark set {redirected:#010x} redirect to :{OUTBOUND_PORT}"));
    rules
}

/// Counts UDP that is not DNS of the mesh, and refuses it where that is wanted: also of flows that are there already.
///
/// DNS of the mesh is what the pod asks the daemon, what the daemon asks, and, where the pod's queries are captured, what
/// others ask the pod. A query that is not captured may go anywhere, and carry anything: it is a datagram like others. So
/// is one of a flow that was there before capture, which nothing redirects any more, and one of a virtual machine.
fn datagrams(body: &mut String, marks: Marks, options: &CaptureOptions) {
    let verdict = match options.udp {
        UdpRule::Pass => "",
        UdpRule::Refuse => " reject with icmpx type admin-prohibited",
    };
    let counted = |counter: &str| format!("counter name \"{counter}\"{verdict}");
    let not_udp = || "meta l4proto != udp accept".to_owned();
    let mut incoming = vec![
        not_udp(),
        "iifname \"lo\" accept".to_owned(),
        // Answers to the daemon, as its queries go by their mark.
        format!("ct original zone {OWN_ZONE} accept"),
    ];
    let mut outgoing = vec![
        not_udp(),
        "oifname \"lo\" accept".to_owned(),
        format!("meta mark {:#010x} accept", marks.socket),
        // Queries that were redirected to the daemon: the hook still names the interface that they were meant for.
        format!("ct mark {:#010x} accept", marks.redirected),
    ];
    if options.dns {
        incoming.push("udp dport 53 accept".to_owned());
        // No datagram of the pod's is taken for an answer unless the query was seen.
        outgoing.push("udp sport 53 ct direction reply accept".to_owned());
    }
    incoming.push(counted("udp_in"));
    outgoing.push(counted("udp_out"));
    let _infallible = write!(body, "\tcounter udp_in {{\n\t}}\n\n\tcounter udp_out {{\n\t}}\n\n");
    let filter = |hook: &str| format!("type filter hook {hook} priority 0");
    chain(body, "filter_input", &filter("input"), &incoming);
    chain(body, "filter_output", &filter("output"), &outgoing);
    let mut passing = Vec::new();
    if !options.virtual_interfaces.is_empty() {
        let names: Vec<_> = options.virtual_interfaces.iter().map(|name| format!("\"{name}\"")).collect();
        let through =
            |side: &str, counter: &str| format!("{side} {{ {} }} {}", names.join(", "), counted(counter));
        passing.extend([through("iifname", "udp_out"), through("oifname", "udp_in")]);
    }
    if options.udp == UdpRule::Refuse {
        // Of machines in the pod whose interfaces nobody named.
        passing.push(counted("udp_out"));
    }
    if !passing.is_empty() {
        passing.insert(0, not_udp());
        chain(body, "filter_forward", &filter("forward"), &passing);
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Inbound,
    Outbound,
}

impl Direction {
    const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }

    const fn far_end(self) -> &'static str {
        match self {
            Self::Inbound => "saddr",
            Self::Outbound => "daddr",
        }
    }

    fn of(self, exclusions: &Exclusions) -> (&[u16], &[IpNet]) {
        match self {
            Self::Inbound => (&exclusions.inbound_ports, &exclusions.inbound_ranges),
            Self::Outbound => (&exclusions.outbound_ports, &exclusions.outbound_ranges),
        }
    }
}

fn excluded(exclusions: &Exclusions, direction: Direction) -> Vec<String> {
    let (ports, ranges) = direction.of(exclusions);
    let (name, far_end) = (direction.name(), direction.far_end());
    let mut rules = Vec::new();
    if !ports.is_empty() {
        rules.push(format!("tcp dport @excluded_{name}_ports return"));
    }
    if ranges.iter().any(|it| matches!(it, IpNet::V4(_))) {
        rules.push(format!("ip {far_end} @excluded_{name}_v4 return"));
    }
    if ranges.iter().any(|it| matches!(it, IpNet::V6(_))) {
        rules.push(format!("ip6 {far_end} @excluded_{name}_v6 return"));
    }
    rules
}

fn sets(body: &mut String, exclusions: &Exclusions) {
    for direction in [Direction::Inbound, Direction::Outbound] {
        let (ports, ranges) = direction.of(exclusions);
        let name = direction.name();
        set(body, &format!("excluded_{name}_ports"), "type inet_service", ports);
        let ranges = IpNet::aggregate(&ranges.to_vec());
        let (v4, v6): (Vec<_>, Vec<_>) = ranges.into_iter().partition(|it| matches!(it, IpNet::V4(_)));
        set(body, &format!("excluded_{name}_v4"), "type ipv4_addr; flags interval", &v4);
        set(body, &format!("excluded_{name}_v6"), "type ipv6_addr; flags interval", &v6);
    }
}

fn set<T: ToString + Ord + Clone>(body: &mut String, name: &str, of: &str, elements: &[T]) {
    let mut elements = elements.to_vec();
    elements.sort();
    elements.dedup();
    if !elements.is_empty() {
        let elements: Vec<String> = elements.iter().map(T::to_string).collect();
        let _infallible =
            writeln!(body, "\tset {name} {{\n\t\t{of}\n\t\telements = {{ {} }}\n\t}}\n", elements.join(", "));
    }
}

fn chain(body: &mut String, name: &str, hook: &str, rules: &[String]) {
    let _infallible = writeln!(body, "\tchain {name} {{\n\t\t{hook}; policy accept;");
    for rule in rules {
        let _infallible = writeln!(body, "\t\t{rule}");
    }
    body.push_str("\t}\n\n");
}

fn replace_table(body: &str) -> String {
    format!("{}table inet {TABLE} {{\n{}\n}}\n", removal(), body.trim_end())
}

/// The connection-tracking zone of what the daemon sends.
const OWN_ZONE: u16 = 1;

/// Only the packet that opens a connection: one that is open already must not be taken for a new one.
const FIRST_SYN: &str = "tcp flags & (fin | syn | rst | ack) == syn";

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { socket: 0x1111_1111, spoofed: 0x2222_2222, redirected: 0x3333_3333 };

    fn options() -> CaptureOptions {
        CaptureOptions::default()
    }

    #[test]
    fn the_default_ruleset_is_as_recorded() {
        assert_eq!(capture(MARKS, &options()), include_str!("golden/default.nft"));
    }

    #[test]
    fn an_ingress_ruleset_redirects_no_inbound() {
        let options = CaptureOptions { inbound: false, ..options() };
        assert_eq!(capture(MARKS, &options), include_str!("golden/ingress.nft"));
    }

    #[test]
    fn without_dns_nothing_concerns_port_53() {
        let options = CaptureOptions { dns: false, ..options() };
        let ruleset = capture(MARKS, &options);
        assert_eq!(ruleset, include_str!("golden/dns_off.nft"));
        assert!(!ruleset.contains("53 "), "{ruleset}");
    }

    #[test]
    fn virtual_interfaces_count_as_the_pod() {
        let names = ["k6t-eth0", "tap0"].map(|it| it.to_owned().try_into().unwrap());
        let options = CaptureOptions { virtual_interfaces: names.to_vec(), ..options() };
        assert_eq!(capture(MARKS, &options), include_str!("golden/virtual_interfaces.nft"));
    }

    #[test]
    fn exclusions_become_sorted_sets_of_both_families() {
        let ranges = ["192.168.0.0/16", "10.1.2.3/8", "10.0.0.0/9", "fd00::/8"];
        let exclusions = Exclusions {
            inbound_ports: vec![9090, 22, 22],
            inbound_ranges: vec!["169.254.0.0/16".parse().unwrap()],
            outbound_ports: vec![5432],
            outbound_ranges: ranges.map(|it| it.parse().unwrap()).to_vec(),
        };
        let options = CaptureOptions { exclusions, ..options() };
        assert_eq!(capture(MARKS, &options), include_str!("golden/exclusions.nft"));
    }

    #[test]
    fn udp_that_is_refused_is_refused_in_both_directions() {
        let options = CaptureOptions { udp: UdpRule::Refuse, ..options() };
        assert_eq!(capture(MARKS, &options), include_str!("golden/udp_refused.nft"));
    }

    #[test]
    fn udp_that_is_refused_is_refused_at_port_53_where_dns_is_not_captured() {
        let options = CaptureOptions { udp: UdpRule::Refuse, dns: false, ..options() };
        let ruleset = capture(MARKS, &options);
        assert_eq!(ruleset, include_str!("golden/udp_refused_dns_off.nft"));
        assert!(!ruleset.contains("53 "), "{ruleset}");
    }

    #[test]
    fn a_draining_ruleset_keeps_empty_nat_chains() {
        assert_eq!(drain(MARKS), include_str!("golden/drain.nft"));
    }
}
