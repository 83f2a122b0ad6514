//! Rules, routes and listeners: present, checked, and gone without a trace.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket,
};
use ztunnel::netlink::Request;
use ztunnel::netns::{PodNetns, in_netns};
use ztunnel::redirect::{
    Capture, CaptureError, CaptureOptions, CaptureProblem, ListenError, Marks, NftError, PodListeners,
    RoutingError, SocketTuning,
};

use crate::lab::{Lab, Stack, dial};

#[test]
fn removal_leaves_no_rule_and_no_route() {
    let lab = Lab::new(Stack::Dual);
    let state = || ["nft list ruleset", "ip rule", "ip -6 rule"].map(|it| lab.in_pod(it));
    let before = state();
    let captured = lab.capture();
    assert_ne!(state(), before);
    captured.capture.remove().unwrap();
    assert_eq!(state(), before);
    for command in ["ip route show table all", "ip -6 route show table all"] {
        assert!(!lab.in_pod(command).contains("table 100"), "{command}");
    }
}

#[test]
fn removal_forgets_translated_connections() {
    let lab = Lab::new(Stack::Dual);
    let captured = lab.capture();
    for ip in lab.peer_ips() {
        dial(&lab.pod, (ip, 80).into()).unwrap();
    }
    let count = || lab.in_pod("sh -c 'conntrack -L -f ipv4 2>&1; conntrack -L -f ipv6 2>&1'");
    assert_eq!(count().matches("dport=80 ").count(), 2, "{}", count());
    captured.capture.remove().unwrap();
    assert_eq!(count().matches("dport=80 ").count(), 0, "{}", count());
}

#[test]
fn a_pod_without_loopback_is_refused() {
    let lab = Lab::new(Stack::V4);
    lab.in_pod("ip link set lo down");
    let failed = Capture::install(lab.pod.clone(), Marks::random().unwrap(), CaptureOptions::default());
    assert!(matches!(failed, Err(CaptureError::Routing(RoutingError::Loopback(_)))), "{failed:?}");
    assert_eq!(lab.in_pod("nft list ruleset"), "");
}

#[test]
fn a_failed_transaction_undoes_the_routing() {
    let lab = Lab::new(Stack::V4);
    let before = lab.in_pod("ip rule");
    let _owner = own_table(&lab.pod);
    let marks = Marks::random().unwrap();
    let failed = Capture::install(lab.pod.clone(), marks, CaptureOptions::default());
    assert!(matches!(failed, Err(CaptureError::Nft(NftError::Refused(_)))), "{failed:?}");
    assert_eq!(lab.in_pod("ip rule"), before);
}

#[test]
fn a_failed_capture_leaves_a_pod_shut_that_an_earlier_one_shut() {
    let lab = Lab::new(Stack::V4);
    // Whose process is killed: its listeners go, its rules stay.
    drop(lab.capture());
    let rules = lab.in_pod("nft list ruleset");
    assert!(rules.contains("redirect"), "{rules}");
    lab.in_pod("ip link set lo down");
    let failed = Capture::install(lab.pod.clone(), Marks::random().unwrap(), CaptureOptions::default());
    assert!(matches!(failed, Err(CaptureError::Routing(RoutingError::Loopback(_)))), "{failed:?}");
    assert_eq!(lab.in_pod("nft list ruleset"), rules);
    lab.in_pod("ip link set lo up");
    let next = Capture::install(lab.pod.clone(), Marks::random().unwrap(), CaptureOptions::default());
    // It does not work, for want of listeners.
    next.unwrap().abandon().unwrap();
    assert!(lab.in_pod("nft list ruleset").contains("redirect"));
    let first = Lab::new(Stack::V4);
    let alone = Capture::install(first.pod.clone(), Marks::random().unwrap(), CaptureOptions::default());
    alone.unwrap().abandon().unwrap();
    assert_eq!(first.in_pod("nft list ruleset"), "", "one that nobody had shut is left as it was");
}

/// Creates our table owned by a socket: nobody else can touch it while the socket is open.
fn own_table(netns: &PodNetns) -> OwnedFd {
    let batch = |kind| Request::new(kind, 0).header(&[0, 0, 0, 10]).finish(1);
    let table = Request::new(10 << 8, libc::NLM_F_CREATE)
        .header(&[1, 0, 0, 0])
        .attribute(1, b"ambient_mesh\0")
        .attribute(2, &2_u32.to_be_bytes())
        .finish(2);
    let message = [batch(16), table, batch(17)].concat();
    let (domain, kind) = (AddressFamily::Netlink, SockType::Raw);
    let open = || Ok(socket(domain, kind, SockFlag::empty(), SockProtocol::NetlinkNetFilter)?);
    let owner = in_netns(netns, open).unwrap();
    sendto(owner.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).unwrap();
    owner
}

#[test]
fn verification_notices_changes_and_repair_mends_them() {
    let lab = Lab::new(Stack::Dual);
    let mut captured = lab.capture();
    let spoils = [
        "nft flush chain inet ambient_mesh nat_output",
        "nft delete table inet ambient_mesh",
        "nft insert rule inet ambient_mesh nat_output return",
        "ip rule del priority 32764",
        "ip -6 rule del priority 32764",
        "ip route flush table 100",
        "ip -6 route flush table 100",
    ];
    for spoil in spoils {
        lab.in_pod(spoil);
        let problem = captured.capture.verify(&captured.listeners).unwrap_err();
        let expected = match spoil {
            "nft delete table inet ambient_mesh" => matches!(problem, CaptureProblem::RulesMissing),
            it if it.starts_with("nft") => matches!(problem, CaptureProblem::RulesChanged),
            _ => matches!(problem, CaptureProblem::RoutingChanged),
        };
        assert!(expected, "{spoil}: {problem}");
        captured.capture.repair().unwrap();
        captured.capture.verify(&captured.listeners).unwrap();
    }
}

#[test]
fn a_missing_listener_is_noticed() {
    let lab = Lab::new(Stack::Dual);
    let captured = lab.capture();
    captured.listeners.inbound.shutdown(std::net::Shutdown::Both).unwrap();
    let problem = captured.capture.verify(&captured.listeners).unwrap_err();
    assert!(matches!(problem, CaptureProblem::ListenerMissing { port: 15006 }), "{problem}");
}

#[test]
fn a_port_that_the_pod_holds_is_named() {
    for (port, address) in [(15001, "0.0.0.0"), (15006, "::"), (15008, "10.77.0.2"), (15053, "127.0.0.1")] {
        let lab = Lab::new(Stack::Dual);
        let _held = in_netns(&lab.pod, || TcpListener::bind((address, port))).unwrap();
        let refused = PodListeners::open(&lab.pod, true, &SocketTuning::default()).unwrap_err();
        assert!(matches!(refused, ListenError::PortHeld { port: named } if named == port), "{refused}");
    }
}
