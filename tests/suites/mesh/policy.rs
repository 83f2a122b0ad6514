//! Policy decides about every connection, also about those that live.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use harness::{LabError, Mesh, MeshOptions, PodSpec, Stack, eventually, serve};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use e2e::calls::{echoed, exchange, outbound, shop};

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
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    mesh.apply(&deny("wall", "server", "shop/sa/client"))?;
    eventually("the client is denied", || {
        let denied = client.connect(server.at(echo.port())).and_then(|mut stream| exchange(&mut stream));
        Ok(denied.is_err().then_some(()))
    })?;
    let before = echo.peers().len();
    assert!(client.connect(server.at(echo.port())).and_then(|mut it| exchange(&mut it)).is_err());
    assert_eq!(echo.peers().len(), before);
    echoed(&near, server.at(echo.port()), b"not denied")?;
    let node = mesh.daemon("node2");
    let refused = node.wait_record(|it| it.direction == "inbound" && it.policy.is_some())?;
    assert_eq!(refused.policy.as_deref(), Some("shop/wall rule 0"));
    assert!(refused.error.is_some() && refused.joins("client", "server"));
    Ok(())
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
fn what_the_network_denies_between_pods_of_one_node_is_denied_once_a_network_policy_says_so()
-> Result<(), LabError> {
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

    mesh.apply(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: guard, namespace: shop}\n\
         spec: {podSelector: {matchLabels: {app: guarded}}, policyTypes: [Ingress]}\n",
    )?;
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
fn a_policy_that_comes_while_the_application_is_dialled_counts() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let other = server.serve(0, serve::echo())?;
    // An application whose queue is full: the daemon's SYN goes unanswered until there is room.
    let slow = server.netns().within(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([0, 0, 0, 0], 0)).into())?;
        socket.listen(0)?;
        Ok(TcpListener::from(socket))
    })?;
    let port = slow.local_addr()?.port();
    let _filling = server.connect(server.at(port))?;
    let mut dialling = client.connect(server.at(port))?;
    dialling.write_all(b"x")?;
    mesh.apply(&deny("wall", "server", "shop/sa/client"))?;
    eventually("the client is denied", || {
        Ok(echoed_or_not(&client, server.at(other.port())).is_err().then_some(()))
    })?;
    let echoing = std::thread::spawn(move || {
        let _filled = slow.accept()?;
        slow.set_nonblocking(true)?;
        // Longer than the daemon goes on dialling.
        let end = Instant::now() + Duration::from_secs(12);
        while Instant::now() < end {
            if let Ok((mut app, _)) = slow.accept() {
                app.set_nonblocking(false)?;
                let mut byte = [0];
                return Ok(app.read(&mut byte).is_ok_and(|count| count > 0) && app.write_all(&byte).is_ok());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok::<_, std::io::Error>(false)
    });
    let answer = dialling.read(&mut [0]);
    assert!(!matches!(answer, Ok(1..)), "the application answered a client that policy denies");
    let reached = echoing.join().expect("the application does not panic")?;
    assert!(!reached, "the application was reached");
    Ok(())
}
