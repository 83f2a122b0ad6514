//! Pods that are captured otherwise than others, because their annotations say so.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;

use e2e::calls::{exchange, inbound, opened, outbound, seen, shop};
use harness::{Lab, LabError, Marker, Mesh, MeshOptions, Netns, PATIENCE, Pod, PodSpec, Stack, serve};
use serde_json::{Value, json};

use crate::mall::PORT;

#[test]
fn plaintext_to_a_pod_that_bypasses_inbound_capture_arrives_without_us_and_tunnels_as_ever()
-> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(bypassed)
}

fn bypassed(stack: Stack) -> Result<(), LabError> {
    let mut cluster = shop(stack);
    let entrance = PodSpec::new("shop", "entrance").node("node2");
    cluster.pod(entrance.annotation("ambient.istio.io/bypass-inbound-capture", "true"));
    let lab = Lab::up(&cluster)?;
    let leave = json!({ "metadata": { "annotations": { "ambient.mesh/allow-exclusions": "true" } } });
    lab.patch("Namespace", "", "shop", &leave)?;
    let mesh = Mesh::on(lab, &MeshOptions::default())?;
    let (entrance, server) = (mesh.pod("shop/entrance"), mesh.pod("shop/server"));
    let (client, batch, printer) =
        (mesh.pod("shop/client"), mesh.pod("legacy/batch"), mesh.pod("legacy/printer"));
    let echo = entrance.serve(PORT, serve::echo())?;
    let _others = [&server, &printer].map(|pod| pod.serve(PORT, serve::echo()));
    for (position, ip) in entrance.ips().iter().enumerate() {
        assert!(!is_seen(&mesh, &batch, (*ip, PORT).into())?, "plaintext to {ip} is captured");
        assert_eq!(echo.peers()[position].ip(), batch.ips()[position]);
    }
    for ip in server.ips() {
        assert!(
            is_seen(&mesh, &batch, (*ip, PORT).into())?,
            "plaintext to another pod's {ip} is not captured"
        );
    }
    // Nothing else is different.
    for ip in entrance.ips() {
        let local = opened(&client, (*ip, PORT).into())?.local_addr()?;
        assert_eq!(outbound(mesh.daemon("node1"), local)?.path, "hbone");
    }
    let record = inbound(mesh.daemon("node2"), &client, &entrance)?;
    assert_eq!((record.path.as_str(), record.source_identity), ("hbone", Some(client.identity())));
    for ip in printer.ips() {
        let local = opened(&entrance, (*ip, PORT).into())?.local_addr()?;
        let record = outbound(mesh.daemon("node2"), local)?;
        assert_eq!((record.path.as_str(), record.source_identity), ("direct", Some(entrance.identity())));
    }
    Ok(())
}

/// Whether the daemon of the other node has a hand in a call there: while it lives, it is in its list then.
fn is_seen(mesh: &Mesh, from: &Pod, to: SocketAddr) -> Result<bool, LabError> {
    let mut stream = opened(from, to)?;
    let local = stream.local_addr()?.to_string();
    let listed = mesh.daemon("node2").get("/connections")?.json()?;
    exchange(&mut stream)?;
    Ok(listed.as_array().into_iter().flatten().any(|it: &Value| it["source"]["address"] == *local))
}

#[test]
fn what_a_machine_within_a_pod_sends_is_carried_as_the_pods_own() -> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(rerouted)
}

fn rerouted(stack: Stack) -> Result<(), LabError> {
    let mut cluster = shop(stack);
    let host = PodSpec::new("shop", "host").node("node1");
    cluster.pod(host.annotation("istio.io/reroute-virtual-interfaces", "k6t0"));
    let mesh = Mesh::up(&cluster)?;
    let (host, server) = (mesh.pod("shop/host"), mesh.pod("shop/server"));
    let (printer, daemon) = (mesh.pod("legacy/printer"), mesh.daemon("node1"));
    let _servers = [&server, &printer].map(|pod| pod.serve(PORT, serve::echo()));
    let machine = machine_in(&host)?;
    let (marker, capture) = (Marker::random()?, mesh.capture()?);
    for (target, path) in [(&server, "hbone"), (&printer, "direct")] {
        for ip in target.ips() {
            let local = called(&machine, (*ip, PORT).into(), &marker)?;
            let own = MACHINE.map(|text| text.parse::<IpAddr>().expect("an address"));
            assert!(own.contains(&local.ip()), "{local}");
            let record = outbound(daemon, local)?;
            assert_eq!((record.path.as_str(), record.error), (path, None), "to {ip}");
            assert_eq!(record.source_identity, Some(host.identity()));
        }
    }
    let record = inbound(mesh.daemon("node2"), &host, &server)?;
    assert_eq!((record.path.as_str(), record.source_identity), ("hbone", Some(host.identity())));
    let packets = capture.stop(&mesh)?;
    assert_eq!(seen(&packets, &host, &server, &marker).0, 0, "plaintext is on the wire");
    assert!(seen(&packets, &host, &printer, &marker).0 > 0, "a marker in plaintext must be found");
    // What comes in by the pod's own interface is what it was.
    let _echo = host.serve(PORT, serve::echo())?;
    let local = opened(&mesh.pod("legacy/batch"), host.at(PORT))?.local_addr()?;
    let record = daemon.wait_record(|it| it.source == local)?;
    assert_eq!((record.direction.as_str(), record.path.as_str()), ("inbound", "passthrough"));
    Ok(())
}

/// A machine within a pod, behind its interface `k6t0`, to whom the pod is the way out.
fn machine_in(pod: &Pod) -> Result<Netns, LabError> {
    let inside = pod.netns().name();
    let machine = format!("{inside}-vm");
    run(&format!(
        "ip netns add {machine} && ip -n {machine} link set lo up && \
         ip netns exec {machine} sysctl -qw net.ipv6.conf.default.accept_dad=0 && \
         ip -n {machine} link add eth0 type veth peer name k6t0 netns {inside}"
    ))?;
    let both = MACHINE.into_iter().zip(["10.79.0.1/24", "fd00:79::1/64"]);
    for ((own, gateway), v4) in both.zip([true, false]) {
        if !pod.ips().iter().any(|ip| ip.is_ipv4() == v4) {
            continue;
        }
        let (ip, length) = gateway.split_once('/').expect("a range");
        run(&format!(
            "ip -n {inside} addr add {gateway} dev k6t0 && ip -n {machine} addr add {own}/{length} dev eth0 && \
             ip -n {inside} link set k6t0 up && ip -n {machine} link set eth0 up && \
             ip -n {machine} route add default via {ip}"
        ))?;
    }
    Netns::open(machine)
}

/// What a shell of the machine that tests run on is told: a namespace that is made elsewhere is seen there only.
fn run(command: &str) -> Result<(), LabError> {
    let done = Command::new("sh").args(["-c", command]).status()?;
    if done.success() { Ok(()) } else { Err(std::io::Error::other(command.to_owned()).into()) }
}

/// The machine's addresses.
const MACHINE: [&str; 2] = ["10.79.0.2", "fd00:79::2"];

/// Has a marker echoed; hands out the client's own address.
fn called(from: &Netns, to: SocketAddr, marker: &Marker) -> Result<SocketAddr, LabError> {
    let mut stream = from.within(|| TcpStream::connect_timeout(&to, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(marker.as_bytes())?;
    for _ in marker.as_bytes() {
        std::io::Read::read_exact(&mut stream, &mut [0])?;
    }
    Ok(stream.local_addr()?)
}
