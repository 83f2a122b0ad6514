//! Connections that are open while capture comes and goes.

use std::io::Read;
use std::net::TcpStream;

use crate::lab::{Lab, Stack, accept, assert_talk, dial, listen};

/// A connection from the pod and one to the pod, for each family.
fn connections(lab: &Lab) -> Vec<(TcpStream, TcpStream)> {
    let mut open = Vec::new();
    for (from, to, ips) in [(&lab.pod, &lab.peer, lab.peer_ips()), (&lab.peer, &lab.pod, lab.pod_ips())] {
        for ip in ips {
            let (listener, address) = listen(to, ip);
            let near = dial(from, address).unwrap();
            open.push((near, listener.accept().unwrap().0));
        }
    }
    open
}

fn assert_all_talk(open: &mut [(TcpStream, TcpStream)]) {
    for (near, far) in open {
        assert_talk(near, far);
    }
}

#[test]
fn enrolling_cuts_no_live_connection() {
    for stack in [Stack::V4, Stack::V6, Stack::Dual] {
        let lab = Lab::new(stack);
        let mut open = connections(&lab);
        assert_all_talk(&mut open);
        let captured = lab.capture();
        assert_all_talk(&mut open);
        captured.capture.remove().unwrap();
        assert_all_talk(&mut open);
    }
}

#[test]
fn draining_keeps_proxied_connections_and_redirects_no_new_one() {
    for stack in [Stack::V4, Stack::V6, Stack::Dual] {
        let lab = Lab::new(stack);
        let mut captured = lab.capture();
        let mut proxied = Vec::new();
        for ip in lab.peer_ips() {
            let near = dial(&lab.pod, (ip, 4321).into()).unwrap();
            proxied.push((near, accept(&captured.listeners.outbound).0));
        }
        for ip in lab.pod_ips() {
            let near = dial(&lab.peer, (ip, 4321).into()).unwrap();
            proxied.push((near, accept(&captured.listeners.inbound).0));
        }
        let mut spoofed = Vec::new();
        for (client, pod) in lab.peer_ips().into_iter().zip(lab.pod_ips()) {
            let (app, address) = listen(&lab.pod, pod);
            let socket = captured.sockets.tcp(pod, Some((client, 0).into())).unwrap();
            socket.set_nonblocking(false).unwrap();
            socket.connect(&address.into()).unwrap();
            spoofed.push((TcpStream::from(socket), app.accept().unwrap().0));
        }
        captured.capture.drain().unwrap();
        captured.capture.verify(&captured.listeners).unwrap();
        assert_all_talk(&mut proxied);
        assert_all_talk(&mut spoofed);
        assert_all_talk(&mut connections(&lab));
    }
}

#[test]
fn rules_may_be_replaced_under_traffic() {
    let lab = Lab::new(Stack::Dual);
    let mut captured = lab.capture();
    let mut streams = Vec::new();
    for ip in lab.peer_ips() {
        let near = dial(&lab.pod, (ip, 4321).into()).unwrap();
        streams.push(std::thread::spawn(stream(near, accept(&captured.listeners.outbound).0)));
    }
    for ip in lab.pod_ips() {
        let near = dial(&lab.peer, (ip, 4321).into()).unwrap();
        streams.push(std::thread::spawn(stream(near, accept(&captured.listeners.inbound).0)));
    }
    let mut swaps = 0;
    while streams.iter().any(|it| !it.is_finished()) {
        captured.capture.drain().unwrap();
        captured.capture.resume().unwrap();
        swaps += 1;
    }
    assert!(swaps > 1, "nothing was replaced under traffic");
    for stream in streams {
        assert_eq!(stream.join().unwrap(), STREAMED);
    }
}

/// Sends many bytes one way and counts those that arrive.
fn stream(mut from: TcpStream, mut to: TcpStream) -> impl FnOnce() -> u64 {
    move || {
        let sender = std::thread::spawn(move || {
            std::io::copy(&mut std::io::repeat(7).take(STREAMED), &mut from).unwrap();
        });
        let arrived = std::io::copy(&mut to, &mut std::io::sink()).unwrap();
        sender.join().unwrap();
        arrived
    }
}

const STREAMED: u64 = 256 << 20;
