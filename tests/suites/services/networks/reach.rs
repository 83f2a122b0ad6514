//! What gets to a service on another network, and what does not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use e2e::calls::{cut_soon, echoed, exchange, greeted, opened, outbound, refused, seen};
use harness::serve::{self, Handler};
use harness::{LabError, Marker, Stack, eventually};
use serde_json::json;
use socket2::SockRef;

use super::{EASTWEST, Networks, VIP_V4, VIP_V6};
use crate::mall::PORT;

#[test]
fn a_service_on_another_network_is_reached_through_its_gateway_which_reads_nothing() -> Result<(), LabError> {
    let networks = Networks::up(Stack::V4)?;
    let (client, server) = (networks.west.pod("shop/client"), networks.east.pod("shop/server"));
    let decoy = networks.west.pod("legacy/decoy");
    assert_eq!(server.ip(), decoy.ip(), "the networks overlap");
    let echo = server.serve(PORT, serve::echo())?;
    let _decoy = decoy.serve(PORT, serve::banner("decoy"))?;
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;

    let (marker, capture) = (Marker::random()?, networks.east.capture()?);
    let told = client.output("getent ahostsv4 remote.shop.svc.cluster.local")?;
    assert!(told.stdout.starts_with("10.96.9.1 "), "{told:?}");
    let local = echoed(&client, VIP_V4, &marker.payload(300_000))?;
    let record = outbound(networks.west.daemon("node1"), local)?;
    assert_eq!((record.path.as_str(), record.error.clone()), ("double-hbone", None));
    assert_eq!(record.hbone_addr, Some(gateway.address()));
    assert_eq!(record.service.as_deref(), Some("remote.shop.svc.cluster.local"));
    assert_eq!(record.destination_identity, Some(server.identity()));
    assert_eq!(record.destination_workload.as_deref(), Some("server"), "as it says itself");
    assert!(record.bytes_sent >= 300_000 && record.bytes_received == record.bytes_sent, "{record:?}");
    assert_eq!(gateway.asked(), ["remote.shop.svc.cluster.local:80"]);
    let theirs = networks.east.daemon("node2").wait_record(|it| it.direction == "inbound")?;
    assert_eq!((theirs.path.as_str(), theirs.error), ("hbone", None));
    assert_eq!(theirs.source_identity, Some(client.identity()), "not the gateway's");
    assert_eq!((record.network.as_deref(), theirs.network.as_deref()), (Some("east"), Some("west")));
    assert_eq!(theirs.service.as_deref(), Some("remote.shop.svc.cluster.local"));

    // What the gateway passes on, it sends from its pod: and in plaintext, the marker would be found there.
    let stands = networks.east.pod("istio-system/gateway");
    let so_far = capture.so_far(&networks.east)?;
    let (marked, all) = seen(&so_far, &stands, &server, &marker);
    assert_eq!(marked, 0, "plaintext passed the gateway");
    assert!(all > 100, "{all} packets");
    let mut plain = stands.connect(server.at(PORT))?;
    plain.write_all(marker.as_bytes())?;
    plain.shutdown(Shutdown::Write)?;
    plain.read_to_end(&mut Vec::new())?;
    let (marked, _) = seen(&capture.stop(&networks.east)?, &stands, &server, &marker);
    assert!(marked > 0, "a marker in plaintext must be found, or its absence proves nothing");
    drop(echo);

    // The address itself means the pod here, and the outer tunnel is shared.
    assert_eq!(greeted(&client, server.at(PORT))?.0, "decoy");
    let _echo = server.serve(PORT, serve::echo())?;
    (0..3).try_for_each(|_| opened(&client, VIP_V4).map(drop))?;
    assert_eq!((gateway.tunnels(), gateway.asked().len()), (1, 4));
    Ok(())
}

#[test]
fn by_ipv6_the_same() -> Result<(), LabError> {
    let networks = Networks::up(Stack::V6)?;
    let (client, server) = (networks.west.pod("shop/client"), networks.east.pod("shop/server"));
    let _echo = server.serve(PORT, serve::echo())?;
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;
    let local = echoed(&client, VIP_V6, &vec![7; 100_000])?;
    let record = outbound(networks.west.daemon("node1"), local)?;
    assert_eq!((record.path.as_str(), record.error), ("double-hbone", None));
    assert_eq!(record.hbone_addr, Some(gateway.address()));
    assert!(gateway.address().is_ipv6());
    Ok(())
}

#[test]
fn without_the_right_gateway_and_the_right_endpoint_nothing_gets_there() -> Result<(), LabError> {
    let networks = Networks::up(Stack::V4)?;
    let (client, server) = (networks.west.pod("shop/client"), networks.east.pod("shop/server"));
    let echo = server.serve(PORT, serve::echo())?;
    let node = networks.west.daemon("node1");
    networks.describe(None, "server")?;
    let record = refused(node, &client, VIP_V4)?;
    let why = "no gateway is known for network \"east\", where service remote.shop.svc.cluster.local is";
    assert_eq!(record.error.as_deref(), Some(why));

    let impostor = networks.gateway("spiffe://cluster.local/ns/istio-system/sa/impostor")?;
    networks.describe(Some(&impostor), "server")?;
    let told = |want: &'static str| {
        eventually(want, || {
            let record = refused(node, &client, VIP_V4)?;
            Ok(record.error.filter(|error| error.contains(want)))
        })
    };
    let error = told("gateway istio-system/east of network \"east\"")?;
    assert!(error.contains("peer is spiffe://cluster.local/ns/istio-system/sa/impostor"), "{error}");
    assert!(impostor.asked().is_empty(), "it is told nothing");
    drop(impostor);

    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "other")?;
    let error = told("behind gateway istio-system/east of network \"east\"")?;
    let mismatch =
        "peer is spiffe://cluster.local/ns/shop/sa/server, expected spiffe://cluster.local/ns/shop/sa/other";
    assert!(error.contains(mismatch), "{error}");
    assert_eq!(echo.peers(), [], "nothing reached the application");

    networks.describe(Some(&gateway), "server")?;
    let mut live = eventually("it is who is expected", || Ok(opened(&client, VIP_V4).ok()))?;
    networks.describe(Some(&gateway), "other")?;
    cut_soon(&mut live)?;
    networks.describe(Some(&gateway), "server")?;
    let mut live = eventually("it is who is expected", || Ok(opened(&client, VIP_V4).ok()))?;
    networks.west.delete("Gateway", "istio-system", "east")?;
    cut_soon(&mut live)?;
    Ok(())
}

#[test]
fn only_who_is_known_on_another_network_comes_through_the_own_gateway() -> Result<(), LabError> {
    let networks = Networks::up(Stack::V4)?;
    let (client, stranger) = (networks.west.pod("shop/client"), networks.west.pod("shop/stranger"));
    let _echo = networks.east.pod("shop/server").serve(PORT, serve::echo())?;
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;
    eventually("who is known gets in", || Ok(opened(&client, VIP_V4).ok().map(drop)))?;
    let record = refused(networks.west.daemon("node1"), &stranger, VIP_V4)?;
    assert!(record.error.is_some_and(|error| error.contains("behind gateway")), "it was let in");
    // A workload of the other network is at no other address than the gateway's.
    let log = networks.east.daemon("node2").log()?;
    assert!(log.contains("presented spiffe://cluster.local/ns/shop/sa/stranger"), "{log}");
    Ok(())
}

#[test]
fn ends_resets_and_bulk_are_carried_as_they_are() -> Result<(), LabError> {
    let networks = Networks::up(Stack::V4)?;
    let (client, server) = (networks.west.pod("shop/client"), networks.east.pod("shop/server"));
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;
    let node = networks.west.daemon("node1");

    // The server sums up what came before the end, and answers behind it: the half that is left stays open.
    let summing = server.serve(PORT, summing())?;
    let bytes: Vec<u8> = (0..BULK).map(pattern).collect();
    let mut stream = eventually("it is served", || Ok(client.connect(VIP_V4).ok()))?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    stream.write_all(&bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let (sum, back) = answer.split_at(8);
    assert_eq!(sum, checksum(&bytes).to_le_bytes());
    assert!(*back == bytes[..], "{} of {} bytes came back", back.len(), bytes.len());
    drop((stream, summing));

    // A reset by the server's application.
    let resetting = server.serve(PORT, resetting())?;
    let mut stream = client.connect(VIP_V4)?;
    stream.write_all(b"x")?;
    assert_eq!(stream.read(&mut [0]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    drop(resetting);

    // A reset by the client.
    let (sender, receiver) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let _listening = server.serve(
        PORT,
        Handler::each(move |mut stream| {
            stream.write_all(b"x")?;
            let end = loop {
                match stream.read(&mut [0; 64]) {
                    Ok(0) => break None,
                    Ok(_) => {}
                    Err(error) => break Some(error.kind()),
                }
            };
            let _gone = sender.lock().map(|sender| sender.send(end));
            Ok(())
        }),
    )?;
    let mut stream = client.connect(VIP_V4)?;
    stream.read_exact(&mut [0])?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    let end = receiver.recv_timeout(harness::PATIENCE).map_err(io::Error::other)?;
    assert_eq!(end, Some(ErrorKind::ConnectionReset));

    // Nothing is left of any of them.
    eventually("streams at the gateway end", || Ok((gateway.open() == 0).then_some(())))?;
    assert_eq!(gateway.tunnels(), 1);
    let tunnels = [("direction", "outbound")];
    node.wait_metric("ambient_tunnels_open", &tunnels, |count| count == 1.0)?;
    node.wait_metric("ambient_tunnel_streams_open", &tunnels, |count| count == 0.0)?;
    Ok(())
}

#[test]
fn a_gateway_that_leaves_keeps_its_connections_and_one_that_dies_resets_them() -> Result<(), LabError> {
    let networks = Networks::up(Stack::V4)?;
    let (client, server) = (networks.west.pod("shop/client"), networks.east.pod("shop/server"));
    let _echo = server.serve(PORT, serve::echo())?;
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;
    let mut first = eventually("it is served", || Ok(opened(&client, VIP_V4).ok()))?;
    gateway.leave();
    let mut second = eventually("what is new goes in a new tunnel", || {
        let stream = opened(&client, VIP_V4)?;
        Ok((gateway.tunnels() == 2).then_some(stream))
    })?;
    exchange(&mut first)?;
    exchange(&mut second)?;

    let (one, other) = (first.local_addr()?, second.local_addr()?);
    drop(gateway);
    for (mut stream, local) in [(first, one), (second, other)] {
        let end = stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
        let record = outbound(networks.west.daemon("node1"), local)?;
        let error = record.error.expect("it did not end well");
        assert!(error.contains("what carries the tunnel failed"), "{error}");
    }
    Ok(())
}

#[test]
fn one_gateway_of_several_that_does_not_answer_is_passed_by() -> Result<(), LabError> {
    let networks = Networks::up(Stack::V4)?;
    let client = networks.west.pod("shop/client");
    let _echo = networks.east.pod("shop/server").serve(PORT, serve::echo())?;
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;
    let silent = json!([
        { "type": "IPAddress", "value": "172.30.0.1" }, { "type": "IPAddress", "value": NOBODY },
    ]);
    eventually("it is served", || Ok(opened(&client, VIP_V4).ok().map(drop)))?;
    networks.west.patch("Gateway", "istio-system", "east", &json!({ "spec": { "addresses": silent } }))?;
    let node = networks.west.daemon("node1");
    eventually("some try the other first", || {
        opened(&client, VIP_V4)?;
        let failed = node
            .scrape()?
            .sum("ambient_dials_total", &[("path", "double-hbone"), ("outcome", "unreachable")]);
        Ok(failed.filter(|count| *count > 0.0))
    })?;
    Ok(())
}

/// Reads to the end; answers with the checksum, and with all that came.
fn summing() -> Handler {
    Handler::each(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(&checksum(&all).to_le_bytes())?;
        stream.write_all(&all)
    })
}

/// Takes a byte, and resets.
fn resetting() -> Handler {
    Handler::each(|mut stream: &TcpStream| {
        stream.read_exact(&mut [0])?;
        SockRef::from(stream).set_linger(Some(Duration::ZERO))
    })
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn pattern(at: usize) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]
}

/// An address of the wire where nobody is.
const NOBODY: &str = "172.30.0.77";

/// What goes each way.
const BULK: usize = 120 << 20;
