//! Which connections are redirected, and where the daemon's own go.

use std::io::Read;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Instant;

use socket2::{Domain, Socket, Type};
use ztunnel::netns::{PodNetns, in_netns};
use ztunnel::redirect::{CaptureOptions, DnsOrigins, Marks, UdpRule, canonical, original_destination};

use crate::lab::{Lab, PATIENCE, Stack, accept, assert_talk, dial, listen};

const STACKS: [Stack; 3] = [Stack::V4, Stack::V6, Stack::Dual];

#[test]
fn outbound_connections_reach_15001_with_their_destination() {
    for stack in STACKS {
        let lab = Lab::new(stack);
        let captured = lab.capture();
        for ip in lab.peer_ips() {
            let mut near = dial(&lab.pod, (ip, 80).into()).unwrap();
            let (mut far, _) = accept(&captured.listeners.outbound);
            assert_eq!(original_destination(&far).unwrap(), (ip, 80).into());
            assert_talk(&mut near, &mut far);
        }
    }
}

#[test]
fn inbound_plaintext_reaches_15006_with_its_destination() {
    for stack in STACKS {
        let lab = Lab::new(stack);
        let captured = lab.capture();
        for ip in lab.pod_ips() {
            let mut near = dial(&lab.peer, (ip, 80).into()).unwrap();
            let (mut far, from) = accept(&captured.listeners.inbound);
            assert_eq!(original_destination(&far).unwrap(), (ip, 80).into());
            assert_eq!(canonical(from), near.local_addr().unwrap());
            assert_talk(&mut near, &mut far);
        }
    }
}

#[test]
fn tunnels_reach_15008_directly() {
    for stack in STACKS {
        let lab = Lab::new(stack);
        let captured = lab.capture();
        for ip in lab.pod_ips() {
            let mut near = dial(&lab.peer, (ip, 15008).into()).unwrap();
            assert_talk(&mut near, &mut accept(&captured.listeners.hbone).0);
        }
    }
}

#[test]
fn the_daemon_reaches_the_pod_under_the_clients_address() {
    for stack in STACKS {
        let lab = Lab::new(stack);
        let captured = lab.capture();
        for (client, pod) in lab.peer_ips().into_iter().zip(lab.pod_ips()) {
            let (app, address) = listen(&lab.pod, pod);
            let socket = captured.sockets.tcp(pod, Some((client, 0).into())).unwrap();
            socket.set_nonblocking(false).unwrap();
            socket.connect_timeout(&address.into(), PATIENCE).unwrap();
            let mut near = TcpStream::from(socket);
            near.set_read_timeout(Some(PATIENCE)).unwrap();
            let (mut far, seen) = app.accept().unwrap();
            assert_eq!(seen.ip(), client);
            assert_talk(&mut near, &mut far);
        }
    }
}

#[test]
fn the_daemon_may_use_the_clients_own_port() {
    for stack in STACKS {
        let lab = Lab::new(stack);
        let captured = lab.capture();
        for pod in lab.pod_ips() {
            let (app, address) = listen(&lab.pod, pod);
            let mut client = dial(&lab.peer, address).unwrap();
            let mut accepted = accept(&captured.listeners.inbound).0;
            let socket = captured.sockets.tcp(pod, Some(client.local_addr().unwrap())).unwrap();
            socket.set_nonblocking(false).unwrap();
            socket.connect_timeout(&address.into(), PATIENCE).unwrap();
            let mut near = TcpStream::from(socket);
            let (mut far, seen) = app.accept().unwrap();
            assert_eq!(seen, client.local_addr().unwrap());
            assert_talk(&mut near, &mut far);
            assert_talk(&mut client, &mut accepted);
        }
    }
}

#[test]
fn ports_of_ended_connections_are_soon_used_again() {
    for stack in [Stack::V4, Stack::V6] {
        let lab = Lab::new(stack);
        lab.in_pod("sysctl -qw net.ipv4.ip_local_port_range='40000 40003'");
        let captured = lab.capture();
        let (client, pod) = (lab.peer_ips()[0], lab.pod_ips()[0]);
        let (app, address) = listen(&lab.pod, pod);
        let deadline = Instant::now() + PATIENCE;
        let mut served = 0;
        while served < 8 {
            let socket = captured.sockets.tcp(pod, Some((client, 0).into())).unwrap();
            socket.set_nonblocking(false).unwrap();
            match socket.connect_timeout(&address.into(), PATIENCE) {
                Ok(()) => {
                    let mut far = app.accept().unwrap().0;
                    // Who closes first keeps the port.
                    drop(socket);
                    assert_eq!(far.read(&mut [0]).unwrap(), 0);
                    served += 1;
                }
                Err(error) => {
                    assert!(Instant::now() < deadline, "{served} served: {error}");
                    std::thread::yield_now();
                }
            }
        }
    }
}

#[test]
fn the_daemons_own_connections_leave_the_pod() {
    for stack in STACKS {
        let lab = Lab::new(stack);
        let captured = lab.capture();
        for ip in lab.peer_ips() {
            let (server, address) = listen(&lab.peer, ip);
            let socket = captured.sockets.tcp(ip, None).unwrap();
            socket.set_nonblocking(false).unwrap();
            socket.connect_timeout(&address.into(), PATIENCE).unwrap();
            assert_talk(&mut TcpStream::from(socket), &mut server.accept().unwrap().0);
        }
    }
}

#[test]
fn the_pod_reaches_itself_without_the_daemon() {
    for stack in STACKS {
        let lab = Lab::new(stack);
        let _captured = lab.capture();
        let loopback = ["127.0.0.1", "::1"].map(|it| it.parse().unwrap());
        for ip in lab.pod_ips() {
            for ip in [ip, loopback[usize::from(ip.is_ipv6())]] {
                let (app, address) = listen(&lab.pod, ip);
                assert_talk(&mut dial(&lab.pod, address).unwrap(), &mut app.accept().unwrap().0);
            }
        }
    }
}

#[test]
fn bypassing_inbound_capture_leaves_inbound_alone() {
    let lab = Lab::new(Stack::Dual);
    let _captured = lab.capture_with(CaptureOptions { inbound: false, ..CaptureOptions::default() });
    for ip in lab.pod_ips() {
        let (app, address) = listen(&lab.pod, ip);
        assert_talk(&mut dial(&lab.peer, address).unwrap(), &mut app.accept().unwrap().0);
    }
}

#[test]
fn connections_of_a_virtual_machine_are_the_pods_outbound_ones() {
    let lab = Lab::new(Stack::V4);
    let machine = lab.behind_the_pod();
    let interface = "k6t0".to_owned().try_into().unwrap();
    let options = CaptureOptions { virtual_interfaces: vec![interface], ..CaptureOptions::default() };
    let captured = lab.capture_with(options);
    let mut near = dial(&machine, "10.1.2.3:80".parse().unwrap()).unwrap();
    let (mut far, _) = accept(&captured.listeners.outbound);
    assert_eq!(original_destination(&far).unwrap(), "10.1.2.3:80".parse().unwrap());
    assert_talk(&mut near, &mut far);
}

#[test]
fn datagrams_of_a_machine_are_refused_also_where_nobody_names_its_interface() {
    for dns in [true, false] {
        let lab = Lab::new(Stack::V4);
        let machine = lab.behind_the_pod();
        lab.in_pod("sysctl -qw net.ipv4.ip_forward=1");
        let options = CaptureOptions { udp: UdpRule::Refuse, dns, ..CaptureOptions::default() };
        let _captured = lab.capture_with(options);
        for port in [53, 443] {
            let app = in_netns(&machine, || UdpSocket::bind("0.0.0.0:0")).unwrap();
            app.set_read_timeout(Some(PATIENCE)).unwrap();
            app.connect(("10.77.0.1", port)).unwrap();
            app.send(b"datagram").unwrap();
            let refused = app.recv(&mut [0; 16]).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::HostUnreachable, "{port}: {refused}");
        }
    }
}

#[test]
fn what_is_for_the_pod_itself_is_inbound_by_whichever_interface_it_comes() {
    let lab = Lab::new(Stack::Dual);
    let machine = lab.behind_the_pod();
    let interfaces = ["eth0", "k6t0"].map(|it| it.to_owned().try_into().unwrap());
    let options = CaptureOptions { virtual_interfaces: interfaces.to_vec(), ..CaptureOptions::default() };
    let captured = lab.capture_with(options);
    let mut calls: Vec<_> = lab.pod_ips().into_iter().map(|ip| (&*lab.peer, ip)).collect();
    calls.extend(["10.77.0.2", "10.79.0.1"].map(|ip| (&machine, ip.parse().unwrap())));
    for (from, ip) in calls {
        let mut near = dial(from, (ip, 80).into()).unwrap();
        let (mut far, _) = accept(&captured.listeners.inbound);
        assert_eq!(original_destination(&far).unwrap(), (ip, 80).into());
        assert_talk(&mut near, &mut far);
    }
}

#[test]
fn excluded_ports_and_ranges_stay_direct() {
    let lab = Lab::new(Stack::Dual);
    let servers: Vec<_> = lab.peer_ips().into_iter().map(|ip| listen(&lab.peer, ip)).collect();
    let apps: Vec<_> = lab.pod_ips().into_iter().map(|ip| listen(&lab.pod, ip)).collect();
    let mut options = CaptureOptions::default();
    options.exclusions.outbound_ports = vec![servers[0].1.port()];
    options.exclusions.outbound_ranges = vec!["fd00:77::/64".parse().unwrap()];
    options.exclusions.inbound_ports = vec![apps[0].1.port()];
    options.exclusions.inbound_ranges = vec!["fd00:77::1/128".parse().unwrap()];
    let captured = lab.capture_with(options);
    for (server, address) in &servers {
        assert_talk(&mut dial(&lab.pod, *address).unwrap(), &mut server.accept().unwrap().0);
    }
    for (app, address) in &apps {
        assert_talk(&mut dial(&lab.peer, *address).unwrap(), &mut app.accept().unwrap().0);
    }
    let _near = dial(&lab.pod, (lab.peer_ips()[0], 9).into()).unwrap();
    accept(&captured.listeners.outbound);
}

#[test]
fn captured_queries_tell_their_name_server() {
    for stack in STACKS {
        let lab = Lab::new(stack);
        let captured = lab.capture();
        let origins = DnsOrigins::open(&lab.pod).unwrap();
        for ip in lab.peer_ips() {
            let dns = captured.listeners.dns.udp.iter().find(|it| family(it) == ip.is_ipv4()).unwrap();
            dns.set_nonblocking(false).unwrap();
            dns.set_read_timeout(Some(PATIENCE)).unwrap();
            let dns = UdpSocket::from(dns.try_clone().unwrap());
            let any = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let app = in_netns(&lab.pod, || UdpSocket::bind(any)).unwrap();
            app.set_read_timeout(Some(PATIENCE)).unwrap();
            app.connect((ip, 53)).unwrap();
            app.send(b"query").unwrap();
            let mut buffer = [0; 16];
            let (length, client) = dns.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"query");
            assert_eq!(origins.original_destination(client).unwrap(), (ip, 53).into());
            dns.send_to(b"answer", client).unwrap();
            let length = app.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"answer");
            let mut tcp = dial(&lab.pod, (ip, 53).into()).unwrap();
            let dns = captured.listeners.dns.tcp.iter().find(|it| family(it) == ip.is_ipv4()).unwrap();
            let (mut far, _) = accept(dns);
            assert_eq!(original_destination(&far).unwrap(), (ip, 53).into());
            assert_talk(&mut tcp, &mut far);
        }
    }
}

#[test]
fn a_mark_that_is_not_the_pods_own_gets_around_nothing() {
    for stack in [Stack::V4, Stack::V6] {
        let lab = Lab::new(stack);
        let captured = lab.capture();
        let Marks { socket, spoofed, redirected } = Marks::random().unwrap();
        let (ip, pod) = (lab.peer_ips()[0], lab.pod_ips()[0]);
        // Istio's, which is the same everywhere, and those of another pod.
        for mark in [0x539, socket, spoofed, redirected] {
            let mut near = dial_marked(&lab.pod, (ip, 80).into(), mark);
            assert_talk(&mut near, &mut accept(&captured.listeners.outbound).0);
            let _near = dial_marked(&lab.pod, (ip, 53).into(), mark);
            let dns = captured.listeners.dns.tcp.iter().find(|it| family(it) == ip.is_ipv4()).unwrap();
            accept(dns);
        }
        // No mark comes along with a packet into another namespace, not even the right one.
        let own = captured.capture.marks();
        for mark in [0x539, own.socket, own.spoofed, own.redirected] {
            let mut near = dial_marked(&lab.peer, (pod, 80).into(), mark);
            assert_talk(&mut near, &mut accept(&captured.listeners.inbound).0);
        }
    }
}

/// [`dial`], by somebody who may set marks.
fn dial_marked(netns: &PodNetns, to: SocketAddr, mark: u32) -> TcpStream {
    let dialled = in_netns(netns, || {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_mark(mark)?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        Ok(socket)
    });
    let stream = TcpStream::from(dialled.unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn family(socket: &Socket) -> bool {
    socket.local_addr().unwrap().is_ipv4()
}

#[test]
fn an_unknown_flow_is_an_error() {
    let lab = Lab::new(Stack::Dual);
    let _captured = lab.capture();
    let origins = DnsOrigins::open(&lab.pod).unwrap();
    for client in ["10.77.0.2:1234", "[fd00:77::2]:1234"] {
        let error = origins.original_destination(client.parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
}
