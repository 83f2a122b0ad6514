//! Who is at an address, and what becomes of those who are not whom they should be.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::calls::{exchange, opened, outbound, refused, shop, until_refused, until_served};
use harness::{AccessRecord, Cluster, LabError, Mesh, MeshOptions, PodSpec, Stack, eventually, serve};
use serde_json::json;

/// Where servers serve.
const PORT: u16 = 8080;

#[test]
fn a_pod_of_another_service_account_is_another_caller_at_once() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(another_account)
}

fn another_account(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let client = mesh.pod("shop/client");
    let targets = [mesh.pod("shop/server"), mesh.pod("shop/near")];
    let _echo = targets.iter().map(|it| it.serve(PORT, serve::echo())).collect::<Result<Vec<_>, _>>()?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: guard, namespace: shop}\n\
         spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/client]}}]}]}\n",
    )?;
    let mut live = targets
        .iter()
        .map(|target| {
            until_refused("others are kept out", &mesh.pod("legacy/batch"), target.at(PORT))?;
            Ok(opened(&client, target.at(PORT))?)
        })
        .collect::<Result<Vec<_>, LabError>>()?;
    mesh.patch("Pod", "shop", "client", &json!({ "spec": { "serviceAccountName": "other" } }))?;
    let changed = Instant::now();
    for stream in &mut live {
        while exchange(stream).is_ok() && changed.elapsed() < harness::PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(changed.elapsed() < Duration::from_secs(1), "it took {:?}", changed.elapsed());
    }
    for node in ["node1", "node2"] {
        let reason = [("reason", "peer_changed")];
        mesh.daemon(node).wait_metric("ambient_connections_cut_total", &reason, |cut| cut >= 1.0)?;
    }
    for target in &targets {
        assert!(opened(&client, target.at(PORT)).is_err(), "{} lets in who it was", target.name());
    }
    mesh.delete("AuthorizationPolicy", "shop", "guard")?;
    for target in &targets {
        until_served("without a policy anybody is served", &client, target.at(PORT))?;
        let local = opened(&client, target.at(PORT))?.local_addr()?;
        let known_as = outbound(mesh.daemon("node1"), local)?.source_identity;
        assert_eq!(known_as.as_deref(), Some("spiffe://cluster.local/ns/shop/sa/other"));
    }
    Ok(())
}

#[test]
fn whoever_answers_in_anothers_place_is_not_spoken_to() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(impostor)
}

fn impostor(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(PORT, serve::echo())?;
    let ip: IpAddr =
        if stack == Stack::V6 { "2001:db8::10" } else { "192.0.2.10" }.parse().expect("an address");
    // The entry says who answers there, and it is not so.
    let entry = |account: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: vm, namespace: shop}}\n\
             spec: {{hosts: [vm.test], addresses: [\"{ip}\"], resolution: STATIC, \
             ports: [{{name: tcp, number: {PORT}, protocol: TCP}}], endpoints: [{{address: \"{}\", \
             serviceAccount: {account}, labels: {{networking.istio.io/tunnel: http}}}}]}}\n",
            server.ip()
        )
    };
    let address = (ip, PORT).into();
    mesh.apply(&entry("impostor"))?;
    let error = eventually("the impostor is found out", || {
        let (local, stream) = client.attempt(address)?;
        drop(stream);
        Ok(outbound(mesh.daemon("node1"), local)?.error.filter(|error| error.contains("sa/impostor")))
    })?;
    assert!(error.contains(&server.identity()), "{error}");
    assert_eq!(echo.peers().len(), 0);
    let flags = [("reporter", "source"), ("response_flags", "IDENTITY_ERROR")];
    let here = mesh.daemon("node1");
    here.wait_metric("istio_tcp_connections_failed_total", &flags, |count| count >= 1.0)?;
    let cause = [("direction", "outbound"), ("cause", "identity")];
    here.wait_metric("ambient_tunnel_handshake_failures_total", &cause, |count| count >= 1.0)?;
    mesh.apply(&entry("server"))?;
    until_served("who is expected is spoken to", &client, address)
}

#[test]
fn an_address_that_passes_from_pod_to_pod_never_stands_for_the_one_before() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(passes)
}

fn passes(stack: Stack) -> Result<(), LabError> {
    let mut cluster = shop(stack);
    cluster.yaml(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: shop}\n\
         spec: {mtls: {mode: STRICT}}\n",
    )?;
    let mesh = Mesh::up(&cluster)?;
    // To each destination another client: where a port calls a second one, redirection has to give it another number.
    for (client, node, address) in [("shop/client", "node2", 2), ("shop/near", "node1", 1)] {
        let address = match stack {
            Stack::V6 => IpAddr::from([0xfd00, 0x244, address, 0, 0, 0, 0, 0x99]),
            Stack::V4 | Stack::Dual => IpAddr::from([10, 244, u8::try_from(address).expect("small"), 99]),
        };
        let client = mesh.pod(client);
        let (over, heard) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let short = Duration::from_millis(100);
                        let called = client.attempt((address, PORT).into()).and_then(|(local, stream)| {
                            let mut stream = stream?;
                            stream.set_read_timeout(Some(short))?;
                            let mut name = [0; 4];
                            stream.read_exact(&mut name)?;
                            Ok((local, String::from_utf8_lossy(&name).into_owned()))
                        });
                        heard.lock().expect("no caller panics").extend(called.ok());
                    }
                });
            }
            let passed_on = pass_on(&mesh, &mut cluster, node, address, &heard);
            over.store(true, Ordering::Relaxed);
            passed_on
        })?;
        let heard = heard.into_inner().expect("no caller panics");
        assert!(heard.len() >= ROUNDS, "{} calls were served", heard.len());
        let identity = |name| Some(format!("spiffe://cluster.local/ns/shop/sa/{name}"));
        let heard = counted(heard.into_iter().map(|(local, name)| (local, identity(name))));
        // All that was heard, against whom the daemon believed to be there.
        let mut wrong = Vec::new();
        let done = eventually("each answer is on record as that of who gave it", || {
            let mut records = mesh.daemon("node1").records()?;
            records.retain(|it| it.direction == "outbound");
            records.retain(|it| it.error.is_none() || it.destination_identity.is_some());
            assert!(records.iter().all(|it| it.path != "direct" || it.error.is_some()));
            let believed = counted(records.iter().map(|it| (it.source, it.destination_identity.clone())));
            let times = |call: &(_, _)| believed.get(call).copied().unwrap_or_default();
            // Until the daemon hears of a pod, there is nobody at its address, and nobody is taken for another.
            let known = |(from, whom): &(_, _)| times(&(*from, Option::clone(whom))) + times(&(*from, None));
            wrong = heard.iter().filter(|(call, count)| known(call) < **count).collect();
            Ok(wrong.is_empty().then_some(()))
        });
        let records = mesh.daemon("node1").records()?;
        let of = |it: &AccessRecord| wrong.iter().any(|((from, _), _)| *from == it.source);
        let of_them: Vec<_> = records.iter().filter(|it| of(it)).collect();
        assert!(done.is_ok(), "{wrong:?} in {of_them:?}");
    }
    Ok(())
}

/// How often there is each: ports are used again, so a call is not known by its port alone.
fn counted<T: Eq + Hash>(all: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    all.for_each(|it| *counts.entry(it).or_default() += 1);
    counts
}

/// How often an address passes on: each time costs what making and ending a pod costs.
const ROUNDS: usize = 20;

/// Gives an address to one pod after another, each of an identity of its own, once the one before has been heard.
fn pass_on(
    mesh: &Mesh,
    cluster: &mut Cluster,
    node: &str,
    address: IpAddr,
    heard: &Mutex<Vec<(SocketAddr, String)>>,
) -> Result<(), LabError> {
    let mut last: Option<String> = None;
    for round in 0..ROUNDS {
        let name = format!("p{round:03}");
        if let Some(last) = last.replace(name.clone()) {
            cluster.remove("Pod", "shop", &last);
        }
        cluster.pod(PodSpec::new("shop", &name).node(node).addresses(&[address]));
        mesh.update(cluster)?;
        let _server = mesh.pod(&format!("shop/{name}")).serve(PORT, serve::banner(name.clone()))?;
        eventually("the next pod is heard", || {
            let heard = heard.lock().expect("no caller panics");
            Ok(heard.iter().any(|(_, it)| *it == name).then_some(()))
        })?;
    }
    if let Some(last) = last {
        cluster.remove("Pod", "shop", &last);
    }
    mesh.update(cluster)
}

#[test]
fn two_pods_of_one_account_share_its_certificate_and_no_tunnel() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(one_account)
}

fn one_account(stack: Stack) -> Result<(), LabError> {
    let mut cluster = shop(stack);
    cluster.pod(PodSpec::new("shop", "twin").node("node1").account("client"));
    cluster.pod(PodSpec::new("shop", "other").node("node2"));
    // What one worker alone has, all connections of a pod may share.
    let config = json!({ "workers": 1 });
    let mut mesh = Mesh::with(&cluster, &MeshOptions { config, ..MeshOptions::default() })?;
    let (client, twin) = (mesh.pod("shop/client"), mesh.pod("shop/twin"));
    let (server, other) = (mesh.pod("shop/server"), mesh.pod("shop/other"));
    assert_eq!(client.identity(), twin.identity());
    let echo = server.serve(PORT, serve::echo())?;
    let _other = other.serve(PORT, serve::echo())?;
    let tunnels = |mesh: &Mesh, count: f64| {
        let outbound = [("direction", "outbound")];
        mesh.daemon("node1").wait_metric("ambient_tunnels_open", &outbound, |open| open == count)
    };
    let mut live = Vec::new();
    for caller in [&client, &twin, &client, &twin] {
        live.push((caller, opened(caller, server.at(PORT))?));
        assert_eq!(echo.peers().last().map(SocketAddr::ip), Some(caller.ip()));
    }
    tunnels(&mesh, 2.0)?;

    cluster.remove("Pod", "shop", "twin");
    mesh.update(&cluster)?;
    tunnels(&mesh, 1.0)?;
    live.retain(|(caller, _)| caller.ip() == client.ip());
    for (_, stream) in &mut live {
        exchange(stream)?;
    }
    // Nobody gives out another certificate: what the two had is still there.
    mesh.kill_ca()?;
    let local = opened(&client, other.at(PORT))?.local_addr()?;
    assert_eq!(outbound(mesh.daemon("node1"), local)?.source_identity, Some(client.identity()));
    tunnels(&mesh, 2.0)?;
    Ok(())
}

#[test]
fn strict_mode_of_one_port_and_permissive_mode_of_one_port() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(one_port)
}

fn one_port(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, batch, server) =
        (mesh.pod("shop/client"), mesh.pod("legacy/batch"), mesh.pod("shop/server"));
    let _echo = server.serve(PORT, serve::echo())?;
    let _other = server.serve(PORT + 1, serve::echo())?;
    let modes = |all: &str, one: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: modes, namespace: shop}}\n\
             spec: {{selector: {{matchLabels: {{app: server}}}}, mtls: {{mode: {all}}}, \
             portLevelMtls: {{8080: {{mode: {one}}}}}}}\n"
        )
    };
    mesh.apply(&modes("PERMISSIVE", "STRICT"))?;
    until_refused("plaintext is refused at the port", &batch, server.at(PORT))?;
    until_served("and served at the other", &batch, server.at(PORT + 1))?;
    mesh.apply(&modes("STRICT", "PERMISSIVE"))?;
    until_served("plaintext is served at the port", &batch, server.at(PORT))?;
    until_refused("and refused at the other", &batch, server.at(PORT + 1))?;
    for port in [PORT, PORT + 1] {
        until_served("the mesh is served at both", &client, server.at(port))?;
    }
    Ok(())
}

#[test]
fn what_asks_for_a_waypoint_that_is_not_there_is_refused_with_its_name() -> Result<(), LabError> {
    for (stack, service) in [(Stack::V4, "10.96.0.1:80"), (Stack::V6, "[fd00:96::1]:80")] {
        waypoint_missing(stack, service.parse().expect("an address"))?;
    }
    Ok(())
}

fn waypoint_missing(stack: Stack, service: SocketAddr) -> Result<(), LabError> {
    let mut cluster = shop(stack);
    cluster.service(harness::ServiceSpec::new("shop", "server").port(80, PORT));
    let mesh = Mesh::up(&cluster)?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(PORT, serve::echo())?;
    let asks = |name| json!({ "metadata": { "labels": { "istio.io/use-waypoint": name } } });
    for (kind, namespace, name) in [("Service", "shop", "server"), ("Namespace", "", "shop")] {
        until_served("without a waypoint", &client, service)?;
        mesh.patch(kind, namespace, name, &asks(json!("absent")))?;
        until_refused("the waypoint is missing", &client, service)?;
        let before = echo.peers().len();
        let error = refused(mesh.daemon("node1"), &client, service)?.error.unwrap_or_default();
        assert!(error.contains("waypoint shop/absent is not ready"), "{error}");
        assert_eq!(echo.peers().len(), before);
        let notes = mesh.daemon("node1").get("/config_dump/source")?.body;
        assert!(notes.contains("waypoint does not exist: traffic for it is refused"), "{notes}");
        mesh.patch(kind, namespace, name, &asks(json!(null)))?;
    }
    until_served("without a waypoint", &client, service)
}
