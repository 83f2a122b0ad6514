//! Which path a connection takes, and what of it is on the wire.

use harness::{LabError, Marker, Mesh, MeshOptions, Pod, Stack, serve};

use e2e::calls::{echoed, inbound, opened, outbound, seen, shop};

#[test]
fn pods_of_two_nodes_talk_by_tunnel_and_no_plaintext_is_on_the_wire() -> Result<(), LabError> {
    tunnelled(Stack::V4)
}

#[test]
fn pods_with_only_ipv6_talk_by_tunnel_and_no_plaintext_is_on_the_wire() -> Result<(), LabError> {
    tunnelled(Stack::V6)
}

#[test]
fn pods_with_both_families_talk_by_tunnel_over_each() -> Result<(), LabError> {
    tunnelled(Stack::Dual)
}

#[test]
fn pods_of_one_node_talk_without_the_wire() -> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(within_a_node)
}

fn within_a_node(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, near) = (mesh.pod("shop/client"), mesh.pod("shop/near"));
    let echo = near.serve(0, serve::echo())?;
    let (marker, capture) = (Marker::random()?, mesh.capture()?);
    for ip in near.ips() {
        let local = echoed(&client, (*ip, echo.port()).into(), &marker.payload(100_000))?;
        let record = outbound(mesh.daemon("node1"), local)?;
        assert_eq!(record.path, "node-local");
        assert_eq!(record.source_identity, Some(client.identity()));
        assert_eq!(record.destination_identity, Some(near.identity()));
    }
    assert_eq!(sources(&echo), client.ips());
    assert_eq!(capture.stop(&mesh)?.holding(marker.as_bytes()), 0);
    Ok(())
}

#[test]
fn pods_of_one_node_talk_by_tunnel_where_nothing_may_pass_by_the_network() -> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(by_tunnel_within_a_node)
}

fn by_tunnel_within_a_node(stack: Stack) -> Result<(), LabError> {
    let config = serde_json::json!({ "path": { "nodeLocal": false } });
    let mesh = Mesh::with(&shop(stack), &MeshOptions { config, ..MeshOptions::default() })?;
    let (client, near, daemon) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.daemon("node1"));
    let echo = near.serve(0, serve::echo())?;
    for ip in near.ips() {
        let local = echoed(&client, (*ip, echo.port()).into(), b"hello, neighbour")?;
        let ours = outbound(daemon, local)?;
        assert_eq!((ours.path.as_str(), ours.error), ("hbone", None));
        assert_eq!(ours.hbone_addr, Some((*ip, 15008).into()));
        assert_identities(ours.source_identity, ours.destination_identity, &client, &near);
        let theirs = daemon.wait_record(|it| it.direction == "inbound" && it.destination.ip() == *ip)?;
        assert_eq!((theirs.path.as_str(), theirs.error), ("hbone", None));
        assert_identities(theirs.source_identity, theirs.destination_identity, &client, &near);
    }
    assert_eq!(sources(&echo), client.ips());
    Ok(())
}

#[test]
fn a_server_outside_the_mesh_is_called_in_plaintext_under_the_clients_address() -> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(out_of_the_mesh)
}

fn out_of_the_mesh(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, printer) = (mesh.pod("shop/client"), mesh.pod("legacy/printer"));
    let echo = printer.serve(0, serve::echo())?;
    let (marker, capture) = (Marker::random()?, mesh.capture()?);
    for ip in printer.ips() {
        let local = echoed(&client, (*ip, echo.port()).into(), &marker.payload(10_000))?;
        let record = outbound(mesh.daemon("node1"), local)?;
        assert_eq!(
            (record.path.as_str(), record.destination_workload.as_deref()),
            ("direct", Some("printer"))
        );
        assert_eq!(record.destination_identity, None);
    }
    assert_eq!(sources(&echo), client.ips());
    let (marked, _) = seen(&capture.stop(&mesh)?, &client, &printer, &marker);
    assert!(marked > 2, "a marker in plaintext must be found, or its absence proves nothing");
    Ok(())
}

#[test]
fn a_client_outside_the_mesh_is_served_under_its_own_address_and_no_identity() -> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(into_the_mesh)
}

fn into_the_mesh(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (batch, server) = (mesh.pod("legacy/batch"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    for ip in server.ips() {
        echoed(&batch, (*ip, echo.port()).into(), b"hello")?;
    }
    assert_eq!(sources(&echo), batch.ips());
    let record = inbound(mesh.daemon("node2"), &batch, &server)?;
    assert_eq!((record.path.as_str(), record.source_identity), ("passthrough", None));
    assert_eq!(record.destination.port(), echo.port());
    Ok(())
}

#[test]
fn a_pod_reaches_itself_at_its_own_address() -> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(to_itself)
}

fn to_itself(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let client = mesh.pod("shop/client");
    let echo = client.serve(0, serve::echo())?;
    for ip in client.ips() {
        echoed(&client, (*ip, echo.port()).into(), b"hello, me")?;
    }
    Ok(())
}

#[test]
fn none_of_our_connections_is_paced_whatever_the_system_prefers() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    let _stream = opened(&client, server.at(echo.port()))?;

    // The connection to each application, and the tunnel between.
    let to_server = format!("dport = :{}", echo.port());
    for (pod, ours, uses) in [
        (&client, "sport = :15001", "reno"),
        (&client, "dport = :15008", "cubic"),
        (&server, "sport = :15008", "cubic"),
        (&server, &to_server, "reno"),
    ] {
        let sockets = pod.sh(&format!("ss -Htni state established '{ours}'"))?;
        assert!(sockets.split_whitespace().any(|word| word == uses), "{} {ours}: {sockets}", pod.name());
    }
    Ok(())
}

/// All that the other tests see, they see of daemons like these.
#[test]
fn a_daemon_has_no_more_capabilities_than_it_is_promised_to_need() -> Result<(), LabError> {
    const NET_ADMIN_NET_RAW_SYS_ADMIN: u64 = 1 << 12 | 1 << 13 | 1 << 21;
    let mesh = Mesh::up(&shop(Stack::V4))?;
    for daemon in mesh.daemons() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid().unwrap_or_default()))?;
        let sets: Vec<_> = status.lines().filter_map(|line| line.strip_prefix("Cap")).collect();
        let of = |name: &str| {
            sets.iter().find_map(|set| u64::from_str_radix(set.strip_prefix(name)?.trim(), 16).ok())
        };
        assert_eq!(of("Bnd:"), Some(NET_ADMIN_NET_RAW_SYS_ADMIN), "{sets:?}");
        assert_eq!(of("Eff:"), of("Bnd:"), "{sets:?}");
    }
    Ok(())
}

fn tunnelled(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    let (marker, capture) = (Marker::random()?, mesh.capture()?);
    for ip in server.ips() {
        let local = echoed(&client, (*ip, echo.port()).into(), &marker.payload(100_000))?;
        let ours = outbound(mesh.daemon("node1"), local)?;
        assert_eq!((ours.path.as_str(), ours.error), ("hbone", None));
        assert_eq!(ours.hbone_addr, Some((*ip, 15008).into()));
        assert_identities(ours.source_identity, ours.destination_identity, &client, &server);
        assert!(ours.bytes_sent >= 100_000 && ours.bytes_received == ours.bytes_sent);
    }
    let theirs = inbound(mesh.daemon("node2"), &client, &server)?;
    assert_eq!((theirs.path.as_str(), theirs.error), ("hbone", None));
    assert_identities(theirs.source_identity, theirs.destination_identity, &client, &server);
    assert_eq!(sources(&echo), client.ips());
    let packets = capture.stop(&mesh)?;
    assert_eq!(packets.holding(marker.as_bytes()), 0);
    assert!(seen(&packets.of_port(15008), &client, &server, &marker).1 > 10);
    assert_eq!(seen(&packets.of_port(echo.port()), &client, &server, &marker).1, 0);
    Ok(())
}

#[test]
fn without_original_sources_servers_see_calls_of_their_own_pod_and_the_mesh_knows_who_calls()
-> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(called_from_the_own_pod)
}

fn called_from_the_own_pod(stack: Stack) -> Result<(), LabError> {
    let config = serde_json::json!({ "path": { "originalSource": false } });
    let mesh = Mesh::with(&shop(stack), &MeshOptions { config, ..MeshOptions::default() })?;
    let callers = ["shop/client", "shop/near", "legacy/batch"].map(|name| mesh.pod(name));
    // In a tunnel or in plaintext from the other node, and within the node.
    for (target, node) in [("shop/server", "node2"), ("shop/near", "node1")] {
        let target = mesh.pod(target);
        let echo = target.serve(0, serve::echo())?;
        for caller in callers.iter().filter(|caller| caller.ip() != target.ip()) {
            let local = echoed(caller, target.at(echo.port()), b"from whom?")?;
            assert_eq!(sources(&echo).last(), Some(&target.ip()), "{} calls", caller.name());
            let record = inbound(mesh.daemon(node), caller, &target)?;
            assert_eq!((record.source.ip(), record.error), (local.ip(), None), "{} calls", caller.name());
        }
    }
    // Policies about addresses mean those of callers.
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    mesh.apply(&format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: far, namespace: shop}}\n\
         spec: {{action: DENY, rules: [{{from: [{{source: {{ipBlocks: [\"{}\"]}}}}]}}]}}\n",
        client.ip()
    ))?;
    e2e::calls::until_refused("the client is denied", &client, server.at(echo.port()))?;
    echoed(&mesh.pod("shop/near"), server.at(echo.port()), b"others are not")?;
    Ok(())
}

fn assert_identities(source: Option<String>, destination: Option<String>, client: &Pod, server: &Pod) {
    assert_eq!((source, destination), (Some(client.identity()), Some(server.identity())));
}

/// The addresses that a server saw, oldest first.
fn sources(server: &serve::Server) -> Vec<std::net::IpAddr> {
    server.peers().iter().map(std::net::SocketAddr::ip).collect()
}
