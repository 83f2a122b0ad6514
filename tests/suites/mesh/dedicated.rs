//! Pods that are captured by a proxy of their own, which runs inside of them: Istio's dedicated mode.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;

use e2e::calls::{
    cut_soon, echoed, exchange, greeted, inbound, opened, outbound, refused, seen, shop, until_refused,
    until_served,
};
use harness::{
    Daemon, Lab, LabError, Marker, Mesh, MeshOptions, Pod, PodSpec, Stack, WIRE_V4, WIRE_V6, eventually,
    serve,
};
use serde_json::{Value, json};

/// Where servers serve.
pub(crate) const PORT: u16 = 8080;

const STACKS: [Stack; 3] = [Stack::V4, Stack::V6, Stack::Dual];

/// Both ends of calls between nodes.
const BOTH: &[&str] = &["shop/client", "shop/server"];

#[test]
fn a_pod_with_a_proxy_of_its_own_calls_a_server_outside_the_mesh() -> Result<(), LabError> {
    STACKS.into_iter().try_for_each(out_of_the_mesh)
}

fn out_of_the_mesh(stack: Stack) -> Result<(), LabError> {
    let mesh = with_own_proxies(stack, &["shop/client"], json!({}))?;
    let (client, printer) = (mesh.pod("shop/client"), mesh.pod("legacy/printer"));
    let echo = printer.serve(0, serve::echo())?;
    let (marker, capture) = (Marker::random()?, mesh.capture()?);
    for ip in printer.ips() {
        let local = echoed(&client, (*ip, echo.port()).into(), &marker.payload(10_000))?;
        let record = outbound(daemon_of(&mesh, &client), local)?;
        assert_eq!((record.path.as_str(), record.error), ("direct", None));
        assert_eq!(record.source_identity, Some(client.identity()));
        assert_eq!(record.destination_workload.as_deref(), Some("printer"));
    }
    assert_eq!(sources(&echo), client.ips());
    let (marked, _) = seen(&capture.stop(&mesh)?, &client, &printer, &marker);
    assert!(marked > 2, "a marker in plaintext must be found, or its absence proves nothing");
    Ok(())
}

#[test]
fn a_client_outside_the_mesh_calls_a_pod_with_a_proxy_of_its_own() -> Result<(), LabError> {
    STACKS.into_iter().try_for_each(into_the_mesh)
}

fn into_the_mesh(stack: Stack) -> Result<(), LabError> {
    let mesh = with_own_proxies(stack, &["shop/server"], json!({}))?;
    let (batch, server) = (mesh.pod("legacy/batch"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    for ip in server.ips() {
        echoed(&batch, (*ip, echo.port()).into(), b"hello")?;
    }
    assert_eq!(sources(&echo), batch.ips());
    let record = inbound(daemon_of(&mesh, &server), &batch, &server)?;
    assert_eq!((record.path.as_str(), record.source_identity, record.error), ("passthrough", None, None));
    assert_eq!(record.destination_identity, Some(server.identity()));
    Ok(())
}

#[test]
fn between_nodes_pods_with_own_proxies_and_a_nodes_pods_talk_by_tunnel() -> Result<(), LabError> {
    for stack in STACKS {
        for own in [&["shop/client"], BOTH] {
            let mesh = with_own_proxies(stack, own, json!({}))?;
            let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
            tunnelled(&mesh, &client, &server)?;
            tunnelled(&mesh, &server, &client)?;
        }
    }
    Ok(())
}

#[test]
fn pods_of_one_node_talk_by_tunnel_where_one_has_a_proxy_of_its_own() -> Result<(), LabError> {
    for stack in [Stack::Dual, Stack::V6] {
        let mesh = with_own_proxies(stack, &["shop/client"], json!({}))?;
        let (client, near) = (mesh.pod("shop/client"), mesh.pod("shop/near"));
        let echo = client.serve(0, serve::echo())?;
        for ip in client.ips() {
            echoed(&client, (*ip, echo.port()).into(), b"hello, me")?;
        }
        drop(echo);
        tunnelled(&mesh, &client, &near)?;
        tunnelled(&mesh, &near, &client)?;
    }
    Ok(())
}

/// Calls with a marker, over each address of the server, by tunnel and under both names.
fn tunnelled(mesh: &Mesh, from: &Pod, to: &Pod) -> Result<(), LabError> {
    let echo = to.serve(0, serve::echo())?;
    let (marker, capture) = (Marker::random()?, mesh.capture()?);
    for ip in to.ips() {
        let local = echoed(from, (*ip, echo.port()).into(), &marker.payload(50_000))?;
        let ours = outbound(daemon_of(mesh, from), local)?;
        assert_eq!((ours.path.as_str(), &ours.error), ("hbone", &None), "{ours:?}");
        assert_eq!(ours.hbone_addr, Some((*ip, 15008).into()));
        assert_eq!(ours.source_identity, Some(from.identity()));
        assert_eq!(ours.destination_identity, Some(to.identity()));
    }
    let theirs = inbound(daemon_of(mesh, to), from, to)?;
    assert_eq!((theirs.path.as_str(), &theirs.error), ("hbone", &None), "{theirs:?}");
    assert_eq!(theirs.source_identity, Some(from.identity()));
    assert_eq!(theirs.destination_identity, Some(to.identity()));
    assert_eq!(sources(&echo), from.ips());
    let packets = capture.stop(mesh)?;
    assert_eq!(packets.holding(marker.as_bytes()), 0, "plaintext left a node");
    if from.node().name() != to.node().name() {
        assert!(seen(&packets.of_port(15008), from, to, &marker).1 > 10);
    }
    Ok(())
}

#[test]
fn policy_is_enforced_by_a_pods_own_proxy_on_live_connections_too() -> Result<(), LabError> {
    for stack in [Stack::V4, Stack::V6] {
        let mesh = with_own_proxies(stack, &["shop/server"], json!({}))?;
        let (client, near, server) =
            (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
        let _echo = server.serve(PORT, serve::echo())?;
        let (mut live, mut other) = (opened(&client, server.at(PORT))?, opened(&near, server.at(PORT))?);
        mesh.apply(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: wall, namespace: shop}\n\
             spec: {action: DENY, selector: {matchLabels: {app: server}}, \
             rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/client]}}]}]}\n",
        )?;
        until_refused("the client is denied", &client, server.at(PORT))?;
        cut_soon(&mut live)?;
        let daemon = daemon_of(&mesh, &server);
        let denied = daemon.wait_record(|it| it.direction == "inbound" && it.error.is_some())?;
        assert_eq!(denied.policy.as_deref(), Some("shop/wall rule 0"));
        assert_eq!(denied.source_identity, Some(client.identity()));
        exchange(&mut other)?;
        opened(&near, server.at(PORT))?;
    }
    Ok(())
}

#[test]
fn strict_mode_shuts_a_pod_with_its_own_proxy_but_not_the_proxys_probes() -> Result<(), LabError> {
    for stack in [Stack::V4, Stack::V6] {
        let mesh = with_own_proxies(stack, &["shop/server"], json!({}))?;
        let (batch, client, server) =
            (mesh.pod("legacy/batch"), mesh.pod("shop/client"), mesh.pod("shop/server"));
        let _echo = server.serve(PORT, serve::echo())?;
        mesh.apply(STRICT)?;
        until_refused("plaintext is refused", &batch, server.at(PORT))?;
        opened(&client, server.at(PORT))?;
        let ready =
            format!("curl -s -o /dev/null -w '%{{http_code}}' http://{}/healthz/ready", server.at(15021));
        assert_eq!(mesh.node("node2").sh(&ready)?, "200", "the kubelet has to hear that it is ready");
    }
    Ok(())
}

#[test]
fn an_unproxied_pod_that_asks_for_a_proxy_of_its_own_is_open_to_nobody_under_strict_mode()
-> Result<(), LabError> {
    for stack in [Stack::V4, Stack::V6] {
        let mut cluster = shop(stack);
        cluster.pod(PodSpec::new("shop", "bare").node("node2").dedicated());
        let mesh = Mesh::up(&cluster)?;
        let (client, bare) = (mesh.pod("shop/client"), mesh.pod("shop/bare"));
        let echo = bare.serve(PORT, serve::echo())?;
        until_served("plaintext passes while nobody forbids it", &client, bare.at(PORT))?;
        assert!(mesh.daemon("node2").phase(&bare)?.is_none(), "its node's daemon leaves it alone");
        mesh.apply(STRICT)?;
        until_refused("plaintext is refused", &client, bare.at(PORT))?;
        let before = echo.peers().len();
        let error = refused(mesh.daemon("node1"), &client, bare.at(PORT))?.error.unwrap_or_default();
        assert!(error.contains("has no tunnel yet"), "{error}");
        assert_eq!(echo.peers().len(), before);
    }
    Ok(())
}

#[test]
fn a_pods_own_proxy_that_is_killed_leaves_it_shut_and_the_next_takes_it_up() -> Result<(), LabError> {
    for stack in [Stack::V4, Stack::V6] {
        let mesh = with_own_proxies(stack, &["shop/client"], json!({}))?;
        let (client, server, printer) =
            (mesh.pod("shop/client"), mesh.pod("shop/server"), mesh.pod("legacy/printer"));
        let _servers = [&server, &printer].map(|pod| pod.serve(PORT, serve::echo()));
        let daemon = daemon_of(&mesh, &client);
        let (marker, capture) = (Marker::random()?, mesh.capture()?);
        daemon.kill()?;
        for target in [&server, &printer] {
            assert!(spoken(&client, target, &marker).is_err(), "nobody serves it");
        }
        let rules = client.sh("nft list ruleset")?;
        daemon.run()?;
        mesh.wait_settled()?;
        assert_ne!(client.sh("nft list ruleset")?, rules, "marks are drawn for each process");
        // It has got a certificate in spite of what was left: its CA was dialled once the rules were its own.
        until_served("it is served", &client, server.at(PORT))?;
        let local = opened(&client, server.at(PORT))?.local_addr()?;
        assert_eq!(outbound(daemon, local)?.path, "hbone");
        no_call_to_the_ca(daemon)?;
        assert_eq!(capture.stop(&mesh)?.holding(marker.as_bytes()), 0);
    }
    Ok(())
}

#[test]
fn rules_that_a_killed_proxy_left_never_lead_the_next_ones_calls_to_the_application() -> Result<(), LabError>
{
    for stack in [Stack::V4, Stack::V6] {
        let mesh = with_own_proxies(stack, &["shop/client"], json!({}))?;
        let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
        let _echo = server.serve(PORT, serve::echo())?;
        let daemon = daemon_of(&mesh, &client);
        daemon.kill()?;
        let instead = client.listen(15001)?;
        instead.set_nonblocking(true)?;
        daemon.run()?;
        let told = eventually("it is refused", || {
            let phase = daemon.phase(&client).ok().flatten();
            Ok(phase.filter(|it| it.phase == "failed").and_then(|it| it.problem))
        })?;
        assert!(told.contains("already listens on port 15001"), "{told}");
        let fetched = "ambient_certificate_fetches_total";
        daemon.wait_metric(fetched, &[("outcome", "unreachable")], |count| count >= 1.0)?;
        let heard = instead.accept().map_err(|error| error.kind());
        assert!(matches!(heard, Err(ErrorKind::WouldBlock)), "the application heard {heard:?}");
        drop(instead);
        daemon.wait_ready()?;
        until_served("it is captured after all", &client, server.at(PORT))?;
    }
    Ok(())
}

#[test]
fn what_a_pods_own_proxy_asks_its_ca_is_asked_past_capture() -> Result<(), LabError> {
    for stack in [Stack::V4, Stack::V6] {
        let mut mesh = with_own_proxies(stack, BOTH, json!({ "ca": { "certificateTtl": "10s" } }))?;
        let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
        let _echo = server.serve(PORT, serve::echo())?;
        let fetched = |mesh: &Mesh, wanted: f64| {
            let outcome = [("outcome", "fetched")];
            [&client, &server].into_iter().try_for_each(|pod| {
                let metric = "ambient_certificate_fetches_total";
                daemon_of(mesh, pod).wait_metric(metric, &outcome, |count| count >= wanted).map(drop)
            })
        };
        fetched(&mesh, 2.0)?;
        // The connection that there was is gone: the next is opened by a pod that is captured.
        mesh.restart_ca()?;
        fetched(&mesh, 3.0)?;
        opened(&client, server.at(PORT))?;
        for pod in [&client, &server] {
            let daemon = daemon_of(&mesh, pod);
            no_call_to_the_ca(daemon)?;
            let certificates = daemon.get("/config_dump/certificates")?.json()?;
            let identities: Vec<_> =
                certificates.as_array().into_iter().flatten().map(|it| it["identity"].as_str()).collect();
            assert_eq!(identities, [Some(&*pod.identity())], "it asks for nobody else");
        }
        for node in ["node1", "node2"] {
            let known = mesh.daemon(node).get("/config_dump/certificates")?.body;
            for pod in [&client, &server] {
                assert!(!known.contains(&pod.identity()), "{node} asks for {}", pod.identity());
            }
        }
    }
    Ok(())
}

#[test]
fn a_pods_own_proxy_resolves_names_for_the_pod_and_for_itself() -> Result<(), LabError> {
    for (stack, wire) in [(Stack::V4, WIRE_V4), (Stack::V6, WIRE_V6)] {
        let lab = Lab::up(&cluster(stack, &["shop/client"]))?;
        let dns = serve::Dns::start(lab.wire(), &[("db.test", &[wire]), ("out.test", &[wire])])?;
        let _outside = lab.serve_outside(PORT, serve::banner("outside"))?;
        let config = json!({ "dns": { "clusterResolvers": [wire] } });
        let mesh = Mesh::on(lab, &options(&["shop/client"], config))?;
        let client = mesh.pod("shop/client");
        mesh.apply(&format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: db, namespace: shop}}\n\
             spec: {{hosts: [db.test], resolution: DNS, \
             ports: [{{name: tcp, number: {PORT}, protocol: TCP}}]}}\n"
        ))?;
        let ask = |name: &str| resolved(&client, name);
        let stand_in =
            eventually("the mesh answers for the name", || Ok(ask("db.test")?.filter(|ip| *ip != wire)))?;
        // The daemon itself asks for the address behind it, and dials that.
        assert_eq!(greeted(&client, (stand_in, PORT).into())?.0, "outside");
        // A name whose answer opens a way is asked for by the daemon itself as well.
        let egress = json!({
            "ambient.mesh/egress": "deny",
            "ambient.mesh/egress-allow": format!("out.test:{PORT}"),
        });
        mesh.patch("Namespace", "", "shop", &json!({ "metadata": { "annotations": egress } }))?;
        until_refused("what nobody lists is denied", &client, (wire, PORT).into())?;
        assert_eq!(ask("out.test")?, Some(wire));
        assert_eq!(greeted(&client, (wire, PORT).into())?.0, "outside");
        assert!(["db.test", "out.test"].iter().all(|name| dns.asked().contains(&(*name).to_owned())));
    }
    Ok(())
}

#[test]
fn two_daemons_never_share_a_pod_and_the_one_that_waits_says_why() -> Result<(), LabError> {
    for stack in [Stack::V4, Stack::V6] {
        let mut mesh = Mesh::up(&shop(stack))?;
        let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
        let _echo = server.serve(PORT, serve::echo())?;
        mesh.start_in("shop/client", &json!({}))?;
        let (shared, own) = (mesh.daemon("node1"), mesh.daemon_in("shop/client"));
        eventually("it says what is missing", || {
            let status = own.status(&[]).unwrap_or_default();
            Ok(status.contains("it lacks the annotation ambient.mesh/proxy: dedicated").then_some(()))
        })?;
        assert_eq!(own.get("/healthz/ready")?.status, 503);
        let mut live = opened(&client, server.at(PORT))?;

        mesh.patch(
            "Pod",
            "shop",
            "client",
            &json!({ "metadata": { "annotations": { "ambient.mesh/proxy": "dedicated" } } }),
        )?;
        let told = eventually("it is refused as long as the other has connections", || {
            Ok(own.phase(&client)?.filter(|it| it.phase == "failed").and_then(|it| it.problem))
        })?;
        assert!(told.contains("another daemon, already listens on port 15001"), "{told}");
        assert_eq!(own.get("/healthz/ready")?.status, 503);
        exchange(&mut live)?;
        drop(live);
        own.wait_ready()?;
        assert!(shared.phase(&client)?.is_none());
        until_served("it is served", &client, server.at(PORT))?;
        let local = opened(&client, server.at(PORT))?.local_addr()?;
        assert_eq!(outbound(own, local)?.path, "hbone");
        assert!(shared.records()?.iter().all(|it| it.source != local));
    }
    Ok(())
}

/// All that the other tests see, they see of daemons like this.
#[test]
fn a_pods_own_proxy_needs_no_right_to_enter_namespaces() -> Result<(), LabError> {
    const NET_ADMIN_NET_RAW: u64 = 1 << 12 | 1 << 13;
    let mesh = with_own_proxies(Stack::V4, &["shop/client"], json!({}))?;
    let pid = mesh.daemon_in("shop/client").pid().unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    for set in ["CapBnd:", "CapEff:", "CapPrm:"] {
        let found =
            status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix(set)?.trim(), 16).ok());
        assert_eq!(found, Some(NET_ADMIN_NET_RAW), "{set}");
    }
    Ok(())
}

/// The usual cluster, in which these pods ask for proxies of their own.
pub(crate) fn cluster(stack: Stack, own: &[&str]) -> harness::Cluster {
    let mut cluster = shop(stack);
    for key in own {
        let (namespace, name) = key.split_once('/').expect("a namespace and a name");
        let node = if name == "server" { "node2" } else { "node1" };
        cluster.pod(PodSpec::new(namespace, name).node(node).dedicated());
    }
    cluster
}

pub(crate) fn options(own: &[&str], config: Value) -> MeshOptions {
    let dedicated = own.iter().map(ToString::to_string).collect();
    MeshOptions { config, dedicated, ..MeshOptions::default() }
}

/// The usual mesh, in which these pods have proxies of their own.
pub(crate) fn with_own_proxies(stack: Stack, own: &[&str], config: Value) -> Result<Mesh, LabError> {
    Mesh::with(&cluster(stack, own), &options(own, config))
}

/// Says what is not for others to read.
pub(crate) fn spoken(from: &Pod, to: &Pod, marker: &Marker) -> std::io::Result<()> {
    let mut stream = from.connect(to.at(PORT))?;
    stream.write_all(&marker.payload(100))?;
    exchange(&mut stream)
}

/// Whoever captures the pod.
pub(crate) fn daemon_of<'a>(mesh: &'a Mesh, pod: &Pod) -> &'a Daemon {
    match mesh.has_own_proxy(pod) {
        true => mesh.daemon_in(&format!("{}/{}", pod.namespace(), pod.name())),
        false => mesh.daemon(pod.node().name()),
    }
}

/// The daemon's own connections are nobody's: a record of one would say that it was captured.
fn no_call_to_the_ca(daemon: &Daemon) -> Result<(), LabError> {
    let records = daemon.records()?;
    let to_ca: Vec<_> = records.iter().filter(|it| it.destination.port() == 15012).collect();
    assert!(to_ca.is_empty(), "{to_ca:?}");
    Ok(())
}

/// The first address of a name, as the pod's resolver is told.
fn resolved(pod: &Pod, name: &str) -> Result<Option<std::net::IpAddr>, LabError> {
    let kind = if pod.ip().is_ipv4() { "A" } else { "AAAA" };
    let answer = pod.output(&format!("dig +short {kind} {name}"))?;
    Ok(answer.stdout.lines().find_map(|line| line.trim().parse().ok()))
}

/// The addresses that a server saw, oldest first.
fn sources(server: &serve::Server) -> Vec<std::net::IpAddr> {
    server.peers().iter().map(SocketAddr::ip).collect()
}

const STRICT: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
     metadata: {name: strict, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n";
