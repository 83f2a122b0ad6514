//! UDP: no tunnel carries it.

use std::net::UdpSocket;
use std::time::Duration;

use e2e::calls::opened;
use harness::{LabError, Stack, WIRE_V4, eventually, serve};
use serde_json::json;

use crate::scene::{mesh_over, namespace};

/// Whether a datagram comes back.
fn echoed(from: &UdpSocket, at: &UdpSocket) -> bool {
    let heard = || -> std::io::Result<bool> {
        from.send(b"datagram")?;
        let mut buffer = [0; 64];
        let (length, sender) = at.recv_from(&mut buffer)?;
        at.send_to(&buffer[..length], sender)?;
        Ok(from.recv(&mut buffer)? == length)
    };
    heard().unwrap_or(false)
}

#[test]
fn udp_passes_and_is_counted_until_the_namespace_denies_it() -> Result<(), LabError> {
    // A packet of 8 bytes, with its headers.
    counted_and_denied(Stack::V4, 36.0)?;
    counted_and_denied(Stack::V6, 56.0)
}

fn counted_and_denied(stack: Stack, length: f64) -> Result<(), LabError> {
    let mesh = mesh_over(stack, "", json!({}))?;
    let _dns = serve::Dns::start(mesh.wire(), &[("example.test", &[WIRE_V4])])?;
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let outsider = mesh.pod("legacy/batch");
    let serving = server.udp(0)?;
    serving.set_read_timeout(Some(SILENCE))?;
    let port = serving.local_addr()?.port();
    let connected = |pod: &harness::Pod| -> Result<UdpSocket, LabError> {
        let socket = pod.udp(0)?;
        socket.set_read_timeout(Some(SILENCE))?;
        socket.connect(server.at(port))?;
        Ok(socket)
    };
    let (from_client, from_outside) = (connected(&client)?, connected(&outsider)?);
    assert!(echoed(&from_client, &serving) && echoed(&from_outside, &serving));
    let count = |direction, outcome| [("namespace", "shop"), ("direction", direction), ("outcome", outcome)];
    let (here, there) = (mesh.daemon("node1"), mesh.daemon("node2"));
    here.wait_metric("ambient_udp_bytes_total", &count("sent", "passed"), |bytes| bytes == length)?;
    here.wait_metric("ambient_udp_bytes_total", &count("received", "passed"), |bytes| bytes == length)?;
    there.wait_metric("ambient_udp_packets_total", &count("received", "passed"), |packets| packets == 2.0)?;

    mesh.apply(&namespace("ambient.mesh/udp: deny"))?;
    eventually("a flow that was there is cut", || Ok((!echoed(&from_client, &serving)).then_some(())))?;
    eventually("nothing comes in", || Ok((!echoed(&from_outside, &serving)).then_some(())))?;
    assert!(!echoed(&connected(&near)?, &serving), "a new one is refused");
    assert_eq!(client.sh("dig +short example.test A")?.trim(), WIRE_V4.to_string(), "DNS is exempt");
    let echo = server.serve(0, serve::echo())?;
    opened(&client, server.at(echo.port()))?;
    here.wait_metric("ambient_udp_packets_total", &count("sent", "refused"), |packets| packets >= 1.0)?;

    mesh.apply(&namespace("ambient.mesh/udp: allow"))?;
    eventually("it passes again", || Ok(echoed(&from_client, &serving).then_some(())))
}

/// Who says that DNS is not captured.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Uncaptured {
    /// The configuration of the daemons.
    Daemon,
    /// The namespace.
    Namespace,
    /// The pod.
    Pod,
}

#[test]
fn no_query_passes_for_dns_where_udp_is_denied_and_dns_is_not_captured() -> Result<(), LabError> {
    for says in [Uncaptured::Daemon, Uncaptured::Namespace, Uncaptured::Pod] {
        let stack = if says == Uncaptured::Namespace { Stack::V6 } else { Stack::V4 };
        not_captured(says, stack)?;
    }
    Ok(())
}

fn not_captured(says: Uncaptured, stack: Stack) -> Result<(), LabError> {
    const OFF: &str = "ambient.istio.io/dns-capture: \"false\"";
    let shop = if says == Uncaptured::Namespace { OFF } else { "" };
    let mesh = mesh_over(stack, shop, json!({ "dns": { "enabled": says != Uncaptured::Daemon } }))?;
    let dns = serve::Dns::start(mesh.wire(), &[("example.test", &[WIRE_V4])])?;
    let (client, outsider, here) = (mesh.pod("shop/client"), mesh.pod("legacy/batch"), mesh.daemon("node1"));
    if says == Uncaptured::Pod {
        let wish = json!({ "metadata": { "annotations": { "ambient.istio.io/dns-capture": "false" } } });
        mesh.patch("Pod", "shop", "client", &wish)?;
    }
    // Whatever this is, it is no name server.
    let anybody = outsider.udp(53)?;
    anybody.set_read_timeout(Some(SILENCE))?;
    let connected = || -> Result<UdpSocket, LabError> {
        let socket = client.udp(0)?;
        socket.set_read_timeout(Some(SILENCE))?;
        socket.connect(outsider.at(53))?;
        Ok(socket)
    };
    let live = eventually("port 53 is one like others", || {
        let socket = connected()?;
        Ok(echoed(&socket, &anybody).then_some(socket))
    })?;
    let sent = [("namespace", "shop"), ("direction", "sent"), ("outcome", "passed")];
    here.wait_metric("ambient_udp_packets_total", &sent, |packets| packets >= 1.0)?;

    mesh.apply(&namespace(&format!(
        "ambient.mesh/udp: deny{}{shop}",
        if shop.is_empty() { "" } else { ", " }
    )))?;
    eventually("a flow that was there is cut", || Ok((!echoed(&live, &anybody)).then_some(())))?;
    assert!(!echoed(&connected()?, &anybody), "a new one is refused, or goes elsewhere");
    let refused = [("namespace", "shop"), ("direction", "sent"), ("outcome", "refused")];
    here.wait_metric("ambient_udp_packets_total", &refused, |packets| packets >= 1.0)?;
    let notes = here.get("/config_dump/source")?.body;
    let note = "namespace shop has ambient.mesh/udp: deny, which queries would get around";
    assert_eq!(notes.contains(note), says == Uncaptured::Pod, "{notes}");
    let answer = client.output("dig +short +tries=1 +timeout=1 example.test A")?.stdout;
    if says == Uncaptured::Pod {
        assert_eq!(answer.trim(), WIRE_V4.to_string(), "its queries are captured nevertheless");
    } else {
        assert_eq!(dns.asked(), [""; 0], "{answer}");
    }
    Ok(())
}

/// How long no answer means that there is none.
const SILENCE: Duration = Duration::from_millis(300);
