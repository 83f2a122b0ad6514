//! Policy decides about every connection, also about those that live.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use harness::{LabError, Mesh, MeshOptions, Pod, PodSpec, Stack, eventually, serve};
use serde_json::json;

use e2e::calls::{echoed, exchange, outbound, shop, until_refused, until_served};

#[test]
fn a_policy_that_comes_cuts_a_live_connection_within_a_second() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(cut_within_a_second)
}

fn cut_within_a_second(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    for target in [&server, &near] {
        let echo = target.serve(0, serve::echo())?;
        let mut stream = client.connect(target.at(echo.port()))?;
        exchange(&mut stream)?;
        mesh.apply(&deny("wall", target.name(), "shop/sa/client"))?;
        let applied = Instant::now();
        let mut rest = [0];
        let ended = stream.read(&mut rest);
        assert!(!matches!(ended, Ok(1..)), "{ended:?}");
        assert!(applied.elapsed() < Duration::from_secs(1), "it took {:?}", applied.elapsed());
        let node = mesh.daemon(target.node().name());
        node.wait_metric("ambient_connections_cut_total", &[("reason", "policy")], |cut| cut == 1.0)?;
        mesh.delete("AuthorizationPolicy", "shop", "wall")?;
        eventually("the pod lets its client in again", || {
            Ok(echoed(&client, target.at(echo.port()), b"again").ok())
        })?;
    }
    Ok(())
}

#[test]
fn who_is_denied_never_reaches_the_application_and_is_told_by_a_reset() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    for (from, to, path) in [
        ("shop/client", "shop/server", "hbone"),
        ("shop/client", "shop/near", "node-local"),
        ("legacy/batch", "shop/server", "passthrough"),
    ] {
        denied(&mesh, &mesh.pod(from), &mesh.pod(to), path)?;
    }
    Ok(())
}

/// The second rule of a policy denies a client, wherever it is; the rule is in the record, the metric and the list of
/// denials on each side that is in the mesh.
fn denied(mesh: &Mesh, client: &Pod, target: &Pod, path: &str) -> Result<(), LabError> {
    let echo = target.serve(0, serve::echo())?;
    let there = target.at(echo.port());
    let (here, node) = (mesh.daemon(client.node().name()), mesh.daemon(target.node().name()));
    mesh.apply(&format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: wall, namespace: shop}}\n\
         spec:\n  selector: {{matchLabels: {{app: {}}}}}\n  action: DENY\n  \
         rules: [{{from: [{{source: {{namespaces: [nowhere]}}}}]}}, {{from: [{{source: {{ipBlocks: [{}]}}}}]}}]\n",
        target.name(),
        client.ip()
    ))?;
    until_refused("the client is denied", client, there)?;
    // The last one before that may have been cut on its way; who comes behind it is counted behind it.
    echoed(&mesh.pod("legacy/printer"), there, b"not denied")?;
    let before = echo.peers().len();
    let (source, stream) = client.attempt(there)?;
    let end = stream.and_then(|mut stream| stream.read(&mut [0])).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset), "{path}");
    assert_eq!(echo.peers().len(), before);
    echoed(&mesh.pod("legacy/printer"), there, b"not denied")?;

    // A tunnel keeps the source's address and not its port.
    let port = if path == "hbone" { 0 } else { source.port() };
    let refused = node.wait_record(|it| {
        (it.direction == "inbound" && it.source == (source.ip(), port).into())
            && (it.destination == there && it.error.is_some())
    })?;
    assert_eq!((refused.policy.as_deref(), &*refused.path), (Some("shop/wall rule 1"), path), "{refused:?}");
    assert!(refused.joins(client.name(), target.name()), "{refused:?}");
    let mut sides = vec![(node, "inbound", "destination")];
    if client.namespace() == "shop" {
        let told = outbound(here, source)?;
        assert!(told.error.is_some(), "{told:?}");
        // At the other end of a tunnel nobody is told which policy it was.
        assert_eq!(told.policy.is_some(), path == "node-local", "{told:?}");
        sides.push((here, "outbound", "source"));
    }
    for (daemon, direction, reporter) in sides {
        let flags =
            [("reporter", reporter), ("response_flags", "DENY"), ("destination_workload", target.name())];
        daemon.wait_metric("istio_tcp_connections_failed_total", &flags, |count| count >= 1.0)?;
        let denials = daemon.get("/config_dump/denials")?.json()?;
        let found = denials.as_array().into_iter().flatten().rfind(|denial| {
            denial["direction"] == direction && denial["destination"]["address"] == there.to_string()
        });
        let found = found.unwrap_or_else(|| panic!("{direction} of {path} is not in {denials:#}"));
        assert_eq!(found["path"], path);
        assert_eq!(found["source"]["workload"], format!("{}/{}", client.namespace(), client.name()));
        if direction == "inbound" {
            assert_eq!((&found["policy"], &found["rule"]), (&json!("shop/wall"), &json!(1)), "{found}");
        }
    }
    let rule = [("policy_namespace", "shop"), ("policy_name", "wall"), ("rule", "1"), ("decision", "deny")];
    node.wait_metric("ambient_policy_decisions_total", &rule, |count| count >= 1.0)?;
    mesh.delete("AuthorizationPolicy", "shop", "wall")?;
    until_served("the client is let in again", client, there)
}

#[test]
fn strict_mode_refuses_plaintext_and_lets_the_mesh_in() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(strictly)
}

fn strictly(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, batch, server) =
        (mesh.pod("shop/client"), mesh.pod("legacy/batch"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    echoed(&batch, server.at(echo.port()), b"permissive")?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {name: strict, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n",
    )?;
    eventually("plaintext is refused", || {
        Ok(echoed_or_not(&batch, server.at(echo.port())).is_err().then_some(()))
    })?;
    echoed(&client, server.at(echo.port()), b"by tunnel")?;
    Ok(())
}

#[test]
fn what_the_network_keeps_from_a_pod_of_one_node_is_kept_once_a_network_policy_says_so()
-> Result<(), LabError> {
    denied_by_the_network("{podSelector: {matchLabels: {app: guarded}}, policyTypes: [Ingress]}")
}

#[test]
fn what_the_network_keeps_a_pod_from_on_its_own_node_is_kept_once_a_network_policy_says_so()
-> Result<(), LabError> {
    denied_by_the_network("{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]}")
}

/// Between a client and a pod of its node, of which the network would drop all packets, with a NetworkPolicy.
fn denied_by_the_network(policy: &str) -> Result<(), LabError> {
    let mut cluster = shop(Stack::Dual);
    cluster.pod(PodSpec::new("shop", "guarded").node("node1"));
    let config = json!({"timeouts": {"connect": "1s"}});
    let mesh = Mesh::with(&cluster, &MeshOptions { config, ..MeshOptions::default() })?;
    let (node, client, guarded) = (mesh.node("node1"), mesh.pod("shop/client"), mesh.pod("shop/guarded"));
    let echo = guarded.serve(0, serve::echo())?;
    // What a CNI that enforces the policy does to packets between the two.
    node.sh("nft 'add table inet cni; add chain inet cni forward { type filter hook forward priority 0; }'")?;
    for (from, to) in client.ips().iter().zip(guarded.ips()) {
        let family = if from.is_ipv4() { "ip" } else { "ip6" };
        node.sh(&format!("nft add rule inet cni forward {family} saddr {from} {family} daddr {to} drop"))?;
    }
    for ip in guarded.ips() {
        let local = echoed(&client, (*ip, echo.port()).into(), b"the network is not asked")?;
        assert_eq!(outbound(mesh.daemon("node1"), local)?.path, "node-local");
    }

    mesh.apply(&format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: guard, namespace: shop}}\n\
         spec: {policy}\n"
    ))?;
    for ip in guarded.ips() {
        eventually("the network's decision does not count", || {
            Ok(echoed_or_not(&client, (*ip, echo.port()).into()).is_err().then_some(()))
        })?;
    }
    node.sh("nft delete table inet cni")?;
    for ip in guarded.ips() {
        let local = echoed(&client, (*ip, echo.port()).into(), b"seen by the network")?;
        assert_eq!(outbound(mesh.daemon("node1"), local)?.path, "hbone");
    }
    Ok(())
}

fn deny(name: &str, app: &str, principal: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  selector: {{matchLabels: {{app: {app}}}}}\n  action: DENY\n  \
         rules: [{{from: [{{source: {{principals: [cluster.local/ns/{principal}]}}}}]}}]\n"
    )
}

fn echoed_or_not(from: &harness::Pod, to: std::net::SocketAddr) -> std::io::Result<()> {
    exchange(&mut from.connect(to)?)
}

#[test]
fn a_policy_that_comes_while_the_application_is_dialled_resets_both_ends() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let server = mesh.pod("shop/server");
    let near = mesh.pod("shop/near");
    for (from, target) in [("shop/client", &server), ("shop/client", &near), ("legacy/batch", &server)] {
        let (client, other) = (mesh.pod(from), target.serve(0, serve::echo())?);
        let slow = serve::Full::start(target.netns(), target.ip())?;
        let mut dialling = client.connect(slow.address()?)?;
        slow.dialled_from(target.netns())?;
        mesh.apply(&wall(target.name()))?;
        eventually("the client is denied", || {
            Ok(echoed_or_not(&client, target.at(other.port())).is_err().then_some(()))
        })?;
        // Neither end may take it for a connection on which the other had nothing to say.
        for said in [slow.next()?, dialling.read(&mut [0])] {
            let said = said.map_err(|error| error.kind());
            assert_eq!(said, Err(ErrorKind::ConnectionReset), "from {from} to {}", target.name());
        }
        mesh.delete("AuthorizationPolicy", "shop", "wall")?;
    }
    Ok(())
}

/// Nobody may come in.
fn wall(app: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: wall, namespace: shop}}\n\
         spec: {{selector: {{matchLabels: {{app: {app}}}}}, action: DENY, rules: [{{}}]}}\n"
    )
}
