//! Who may pass for a kubelet.

use std::net::{SocketAddr, TcpStream};

use ztunnel::netns::in_netns;
use ztunnel::probe::HostSockets;
use ztunnel::redirect::{canonical, original_destination};

use crate::lab::{Lab, Stack, accept, dial};

#[test]
fn a_probe_of_the_node_is_admitted_on_probe_ports_only() {
    let lab = Lab::new(Stack::Dual);
    let captured = lab.capture();
    let host = in_netns(&lab.peer, HostSockets::open).unwrap();
    for ip in lab.pod_ips() {
        let probe = dial(&lab.peer, (ip, 8080).into()).unwrap();
        let (client, pod) = accepted(&captured.listeners.inbound);
        assert_eq!((client, pod), (probe.local_addr().unwrap(), (ip, 8080).into()));
        assert!(host.is_probe(&[80, 8080], client, pod).unwrap());
        assert!(!host.is_probe(&[80], client, pod).unwrap());
        assert!(!host.is_probe(&[], client, pod).unwrap());
    }
}

#[test]
fn a_probe_that_has_sent_everything_is_still_one() {
    let lab = Lab::new(Stack::V4);
    let captured = lab.capture();
    let host = in_netns(&lab.peer, HostSockets::open).unwrap();
    let probe = dial(&lab.peer, (lab.pod_ips()[0], 8080).into()).unwrap();
    let (stream, client) = accept(&captured.listeners.inbound);
    drop(probe);
    let pod = original_destination(&stream).unwrap();
    assert!(host.is_probe(&[8080], canonical(client), pod).unwrap());
}

#[test]
fn a_masqueraded_client_of_a_node_port_is_refused() {
    let lab = Lab::new(Stack::V4);
    let captured = lab.capture();
    let host = in_netns(&lab.peer, HostSockets::open).unwrap();
    let client = lab.behind_the_peer();
    lab.in_peer("sysctl -qw net.ipv4.ip_forward=1");
    lab.in_peer("nft add table ip nodeport");
    lab.in_peer("nft add chain ip nodeport pre '{ type nat hook prerouting priority -100; }'");
    lab.in_peer("nft add chain ip nodeport post '{ type nat hook postrouting priority 100; }'");
    lab.in_peer("nft add rule ip nodeport pre tcp dport 30080 dnat to 10.77.0.2:8080");
    lab.in_peer("nft add rule ip nodeport post oifname eth0 masquerade");
    let stranger = dial(&client, "10.78.0.1:30080".parse().unwrap()).unwrap();
    let (seen, pod) = accepted(&captured.listeners.inbound);
    assert_eq!((seen.ip(), pod), (lab.peer_ips()[0], "10.77.0.2:8080".parse().unwrap()));
    assert!(!host.is_probe(&[8080], seen, pod).unwrap());
    drop(stranger);
}

#[test]
fn a_listening_socket_of_the_node_is_no_probe() {
    let lab = Lab::new(Stack::V4);
    let (_listener, local) = crate::lab::listen(&lab.peer, "0.0.0.0".parse().unwrap());
    let host = in_netns(&lab.peer, HostSockets::open).unwrap();
    let client = SocketAddr::new(lab.peer_ips()[0], local.port());
    assert!(!host.is_probe(&[8080], client, "10.77.0.2:8080".parse().unwrap()).unwrap());
}

/// Accepts and says who came and where it was going.
fn accepted(listener: &socket2::Socket) -> (SocketAddr, SocketAddr) {
    let (stream, client): (TcpStream, _) = accept(listener);
    (canonical(client), original_destination(&stream).unwrap())
}
