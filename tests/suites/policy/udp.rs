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

/// How long no answer means that there is none.
const SILENCE: Duration = Duration::from_millis(300);
