//! What does not answer is given up in time, and the record says what it was that did not.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use e2e::calls::{opened, refused, shop, until_refused, until_served};
use harness::{
    AccessRecord, Daemon, LabError, Mesh, MeshOptions, Node, Pod, PodSpec, ServiceSpec, Stack, eventually,
    serve,
};
use serde_json::json;

/// Where servers serve.
const PORT: u16 = 8080;

/// Where tunnels go.
const HBONE: u16 = 15008;

#[test]
fn who_never_answers_is_given_up_at_the_deadline_and_the_next_endpoint_is_tried() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(dropped)
}

fn dropped(stack: Stack) -> Result<(), LabError> {
    let mut cluster = shop(stack);
    for name in ["web-1", "web-2"] {
        cluster.pod(PodSpec::new("shop", name).node("node2").label("app", "web"));
    }
    cluster.service(ServiceSpec::new("shop", "web").port(80, PORT));
    let mesh = Mesh::with(&cluster, &impatient())?;
    let (client, web, printer) =
        (mesh.pod("shop/client"), mesh.pod("shop/web-1"), mesh.pod("legacy/printer"));
    let _one = web.serve(PORT, serve::banner("web-1"))?;
    let _two = mesh.pod("shop/web-2").serve(PORT, serve::banner("web-2"))?;
    let _plain = printer.serve(PORT, serve::banner("plain"))?;
    let here = mesh.daemon("node1");
    // What a network does that lets nobody in, in the way that gives nobody an answer.
    drop_all(mesh.node("node2"), &[web.at(HBONE), printer.at(PORT)])?;

    for (target, at, path, flag) in
        [(&web, web.at(HBONE), "hbone", "NETWORK_POLICY"), (&printer, printer.at(PORT), "direct", "CONNECT")]
    {
        let record = in_time(here, &client, target.at(PORT))?;
        let said = format!("{at} did not answer within 1s; a NetworkPolicy may stand in the way");
        assert_eq!((record.error, &*record.path), (Some(said), path));
        let flags =
            [("reporter", "source"), ("destination_workload", target.name()), ("response_flags", flag)];
        here.wait_metric("istio_tcp_connections_failed_total", &flags, |count| count == 1.0)?;
        let dials = [("path", path), ("outcome", "timeout")];
        here.wait_metric("ambient_dials_total", &dials, |count| count == 1.0)?;
    }
    eventually("the one that does not answer is picked first", || {
        let (mut name, began) = ([0; 5], Instant::now());
        client.connect((virtual_ip(stack, 1), 80).into())?.read_exact(&mut name)?;
        assert_eq!(String::from_utf8_lossy(&name), "web-2");
        Ok((began.elapsed() >= DEADLINE).then_some(()))
    })
}

#[test]
fn a_waypoint_that_is_ready_and_does_not_answer_is_named() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(silent_waypoint)
}

fn silent_waypoint(stack: Stack) -> Result<(), LabError> {
    let mut cluster = shop(stack);
    cluster.service(ServiceSpec::new("shop", "gate").port(HBONE, HBONE));
    cluster.service(ServiceSpec::new("shop", "server").port(80, PORT));
    cluster.pod(PodSpec::new("shop", "gate").node("node2").label("istio.io/dataplane-mode", "none"));
    cluster.yaml(&format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
         metadata: {{name: gate, namespace: shop, labels: {{istio.io/waypoint-for: all}}}}\n\
         spec: {{gatewayClassName: istio-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}\n\
         status: {{addresses: [{{type: IPAddress, value: \"{}\"}}]}}\n",
        virtual_ip(stack, 1)
    ))?;
    let mesh = Mesh::with(&cluster, &impatient())?;
    let (client, server, gate) = (mesh.pod("shop/client"), mesh.pod("shop/server"), mesh.pod("shop/gate"));
    let (here, echo) = (mesh.daemon("node1"), server.serve(PORT, serve::echo())?);
    let service = (virtual_ip(stack, 2), 80).into();
    for target in [service, server.at(PORT)] {
        until_served("without a waypoint", &client, target)?;
    }
    for (kind, target) in [("Service", service), ("Pod", server.at(PORT))] {
        let asks = |name| json!({ "metadata": { "labels": { "istio.io/use-waypoint": name } } });
        mesh.patch(kind, "shop", "server", &asks(json!("gate")))?;
        until_refused("nobody listens at the waypoint", &client, target)?;
        let before = echo.peers().len();
        let error = refused(here, &client, target)?.error.unwrap_or_default();
        let named = format!("waypoint shop/gate: {} cannot be connected to", gate.at(HBONE));
        assert!(error.starts_with(&named), "{error}");

        drop_all(mesh.node("node2"), &[gate.at(HBONE)])?;
        let error = in_time(here, &client, target)?.error.unwrap_or_default();
        let named = format!("waypoint shop/gate: {} did not answer within 1s", gate.at(HBONE));
        assert!(error.starts_with(&named), "{error}");
        mesh.node("node2").sh("nft delete table inet cni")?;
        assert_eq!(echo.peers().len(), before);
        mesh.patch(kind, "shop", "server", &asks(json!(null)))?;
        until_served("without a waypoint", &client, target)?;
    }
    for flag in ["CONNECT", "NETWORK_POLICY"] {
        let flags = [("reporter", "source"), ("response_flags", flag)];
        here.wait_metric("istio_tcp_connections_failed_total", &flags, |count| count >= 2.0)?;
    }
    Ok(())
}

#[test]
fn who_vanishes_from_a_plaintext_connection_is_given_up_where_that_is_wanted() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(vanished)
}

fn vanished(stack: Stack) -> Result<(), LabError> {
    let config = json!({ "timeouts": { "connect": "1s", "unacknowledged": "1s" } });
    let mesh = Mesh::with(&shop(stack), &MeshOptions { config, ..MeshOptions::default() })?;
    let (client, printer) = (mesh.pod("shop/client"), mesh.pod("legacy/printer"));
    let (batch, server) = (mesh.pod("legacy/batch"), mesh.pod("shop/server"));
    let _servers = [&printer, &server].map(|pod| pod.serve(PORT, serve::echo()));
    // One goes out to whom no packet reaches any more, one came in from such a one.
    let mut going = opened(&client, printer.at(PORT))?;
    let mut coming = opened(&batch, server.at(PORT))?;
    let (source, caller) = (going.local_addr()?, coming.local_addr()?);
    drop_all(mesh.node("node2"), &[printer.at(PORT)])?;
    drop_all(mesh.node("node1"), &[caller])?;
    going.write_all(b"x")?;
    coming.write_all(b"x")?;
    let end = going.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    for (node, direction, from, path, side) in [
        ("node1", "outbound", source, "direct", "server"),
        ("node2", "inbound", caller, "passthrough", "client"),
    ] {
        let record = mesh.daemon(node).wait_record(|it| it.direction == direction && it.source == from)?;
        let error = record.error.unwrap_or_default();
        assert!(error.starts_with(&format!("{side}'s connection failed: Connection timed out")), "{error}");
        assert_eq!(record.path, path);
    }
    Ok(())
}

/// The record of a call that is refused at the deadline, and neither before nor long after it.
fn in_time(daemon: &Daemon, from: &Pod, to: SocketAddr) -> Result<AccessRecord, LabError> {
    let began = Instant::now();
    let record = refused(daemon, from, to)?;
    let took = began.elapsed();
    assert!((DEADLINE..DEADLINE * 2).contains(&took), "{to} was given up after {took:?}");
    Ok(record)
}

/// Has a node pass on nothing that is for there.
fn drop_all(node: &Node, targets: &[SocketAddr]) -> Result<(), LabError> {
    node.sh("nft 'add table inet cni; add chain inet cni forward { type filter hook forward priority 0; }'")?;
    for to in targets {
        let family = if to.is_ipv4() { "ip" } else { "ip6" };
        let (ip, port) = (to.ip(), to.port());
        node.sh(&format!("nft add rule inet cni forward {family} daddr {ip} tcp dport {port} drop"))?;
    }
    Ok(())
}

/// The address of the first, second, ... Service.
fn virtual_ip(stack: Stack, place: u8) -> IpAddr {
    match stack {
        Stack::V6 => [0xfd00, 0x96, 0, 0, 0, 0, 0, place.into()].into(),
        Stack::V4 | Stack::Dual => [10, 96, 0, place].into(),
    }
}

fn impatient() -> MeshOptions {
    let config = json!({ "timeouts": { "connect": "1s" } });
    MeshOptions { nodes: [("node1".to_owned(), config)].into(), ..MeshOptions::default() }
}

/// How long the client's daemon waits for an answer.
const DEADLINE: Duration = Duration::from_secs(1);
