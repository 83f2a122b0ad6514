//! Pods come into the mesh and leave it while they talk.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::calls::{echoed, exchange, opened, outbound, shop, until_draining, until_refused, until_served};
use harness::{AccessRecord, Daemon, LabError, Marker, Mesh, Pod, PodSpec, Stack, eventually, serve};
use serde_json::{Value, json};

/// Where servers serve.
const PORT: u16 = 8080;

/// What a source that is the node's own probe is called.
const PROBE: &str = "ambient.mesh/probe";

#[test]
fn a_namespace_that_joins_is_captured_and_loses_no_connection() -> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(joins)
}

fn joins(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (batch, printer, server) =
        (mesh.pod("legacy/batch"), mesh.pod("legacy/printer"), mesh.pod("shop/server"));
    let _servers = [&printer, &server, &batch].map(|pod| pod.serve(PORT, serve::echo()));
    let mut live = connections(&batch, &[&printer, &server])?;
    live.extend(connections(&server, &[&batch])?);
    mesh.patch("Namespace", "", "legacy", &label(Some("ambient")))?;
    mesh.wait_settled()?;
    live.iter_mut().try_for_each(exchange)?;
    let (marker, capture) = (Marker::random()?, mesh.capture()?);
    for target in [&printer, &server] {
        for ip in target.ips() {
            let local = echoed(&batch, (*ip, PORT).into(), &marker.payload(10_000))?;
            let record = outbound(mesh.daemon("node1"), local)?;
            assert_eq!(record.path, "hbone", "{record:?}");
            assert_eq!(record.source_identity, Some(batch.identity()));
        }
    }
    assert_eq!(capture.stop(&mesh)?.holding(marker.as_bytes()), 0);
    live.iter_mut().try_for_each(exchange)?;
    Ok(())
}

#[test]
fn a_namespace_that_leaves_loses_no_connection_and_keeps_nothing_of_the_mesh() -> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(leaves)
}

fn leaves(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (batch, printer) = (mesh.pod("legacy/batch"), mesh.pod("legacy/printer"));
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let _servers = [&batch, &printer, &server].map(|pod| pod.serve(PORT, serve::echo()));
    // What there was before a pod was ever captured, and what the daemons held for the pods of namespace shop.
    warm_up(&client, &[&server, &batch])?;
    let before = (traces(&batch)?, traces(&printer)?);
    let held = mesh.daemons().iter().map(settled).collect::<Result<Vec<_>, _>>()?;
    mesh.patch("Namespace", "", "legacy", &label(Some("ambient")))?;
    mesh.wait_settled()?;
    let mut live = connections(&batch, &[&printer, &server])?;
    live.extend(connections(&client, &[&batch, &printer])?);
    let used: Vec<_> = mesh.daemons().iter().map(holds).collect::<Result<_, _>>()?;
    let more = |used: &Held, held: &Held| used.files > held.files && used.tasks > held.tasks;
    assert!(used.iter().zip(&held).all(|(used, held)| more(used, held)), "{used:?} after {held:?}");

    mesh.patch("Namespace", "", "legacy", &label(None))?;
    let left = Instant::now();
    until_draining(&mesh, &[&batch, &printer])?;
    let local = opened(&batch, printer.at(PORT))?.local_addr()?;
    assert!(left.elapsed() < Duration::from_secs(1), "what is new was captured for {:?}", left.elapsed());
    live.iter_mut().try_for_each(exchange)?;
    drop(live);
    for (pod, node) in [(&batch, "node1"), (&printer, "node2")] {
        eventually("the pod is let go of", || Ok(mesh.daemon(node).phase(pod)?.is_none().then_some(())))?;
        mesh.daemon(node).wait_metric("workload_manager_proxies_stopped_total", &[], |pods| pods == 1.0)?;
    }
    for daemon in mesh.daemons() {
        assert!(daemon.records()?.iter().all(|it| it.source != local), "what is new is captured");
    }
    assert_eq!((traces(&batch)?, traces(&printer)?), before);
    warm_up(&client, &[&server, &batch])?;
    for (daemon, held) in mesh.daemons().iter().zip(held) {
        eventually("the daemon holds what it held before", || {
            let now = holds(daemon)?;
            Ok((now.files <= held.files && now.tasks <= held.tasks).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn a_pod_that_holds_a_port_of_the_mesh_is_refused_until_it_lets_go() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(held)
}

fn held(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let batch = mesh.pod("legacy/batch");
    let held = batch.listen(15006)?;
    mesh.patch("Namespace", "", "legacy", &label(Some("ambient")))?;
    let daemon = mesh.daemon("node1");
    let told = eventually("the pod is refused", || {
        Ok(daemon.phase(&batch)?.filter(|it| it.phase == "failed").and_then(|it| it.problem))
    })?;
    assert!(told.contains("15006"), "{told}");
    let shown = daemon.get("/config_dump/pods")?.body;
    assert!(shown.contains("15006"), "{shown}");
    for (metric, labels) in [
        ("ambient_pods_missing", &[][..]),
        ("ambient_pods", &[("phase", "failed")]),
        ("workload_manager_pending_proxy_count", &[]),
    ] {
        daemon.wait_metric(metric, labels, |pods| pods == 1.0)?;
    }
    // It is nobody's pod: what it says and hears is in plaintext, and it works.
    let printer = mesh.pod("legacy/printer");
    let _echo = printer.serve(PORT, serve::echo())?;
    until_served("it still talks", &batch, printer.at(PORT))?;
    drop(held);
    daemon.wait_captured(&batch)?;
    for metric in ["ambient_pods_missing", "workload_manager_pending_proxy_count"] {
        daemon.wait_metric(metric, &[], |pods| pods == 0.0)?;
    }
    Ok(())
}

#[test]
fn the_nodes_probes_pass_in_strict_mode_and_masqueraded_clients_do_not() -> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(probed)
}

fn probed(stack: Stack) -> Result<(), LabError> {
    let mut cluster = shop(stack);
    let probed = json!({ "spec": { "containers": [
        { "name": "app", "livenessProbe": { "tcpSocket": { "port": PORT } } },
    ] } });
    cluster.pod(PodSpec::new("shop", "probed").node("node2").merge(probed));
    let mesh = Mesh::up(&cluster)?;
    let (batch, probed) = (mesh.pod("legacy/batch"), mesh.pod("shop/probed"));
    let _servers = [PORT, PORT + 1].map(|port| probed.serve(port, serve::http("alive")));
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: shop}\n\
         spec: {mtls: {mode: STRICT}}\n",
    )?;
    let (node, daemon) = (mesh.node("node2"), mesh.daemon("node2"));
    let asks = |ip: &std::net::IpAddr, port| {
        let host = SocketAddr::new(*ip, port);
        node.output(&format!("curl -s --max-time 5 http://{host}/"))
    };
    for ip in probed.ips() {
        eventually("plaintext is refused", || {
            Ok((!batch
                .output(&format!("curl -s --max-time 5 http://{}/", SocketAddr::new(*ip, PORT)))?
                .success)
                .then_some(()))
        })?;
        assert_eq!(asks(ip, PORT)?.stdout, "alive", "the node probes {ip}");
        assert!(!asks(ip, PORT + 1)?.success, "what is no probe's port is none of the node's business");
        for (port, class) in [(PORT, Some(PROBE)), (PORT + 1, None)] {
            let there = SocketAddr::new(*ip, port);
            let record = daemon.wait_record(|it| it.destination == there && it.source_workload.is_none())?;
            assert_eq!((&*record.path, record.source_class.as_deref()), ("passthrough", class));
            assert_eq!(record.error.is_none(), class.is_some(), "{record:?}");
        }
    }
    let probes = daemon.get("/metrics")?.body;
    let counted = format!("ambient_probes_total {}", probed.ips().len());
    assert!(probes.lines().any(|line| line == counted), "each probe is counted: {probes}");
    let live = node.netns().within(|| TcpStream::connect(probed.at(PORT)))?;
    assert_eq!(shown(daemon, live.local_addr()?)?["source"]["class"], PROBE);

    // As kube-proxy does it: the client's address becomes the node's, which is the kubelet's.
    let (port, family) = (30_080, if probed.ip().is_ipv4() { "ip" } else { "ip6" });
    for rule in [
        format!("add table {family} nodeport"),
        format!("add chain {family} nodeport pre '{{ type nat hook prerouting priority -100; }}'"),
        format!("add chain {family} nodeport post '{{ type nat hook postrouting priority 100; }}'"),
        format!("add rule {family} nodeport pre tcp dport {port} dnat to {}", probed.at(PORT)),
        format!("add rule {family} nodeport post {family} daddr {} masquerade", probed.ip()),
    ] {
        node.sh(&format!("nft {rule}"))?;
    }
    let there = SocketAddr::new(node.ip_for(&probed), port);
    let through_node = || batch.output(&format!("curl -s --max-time 5 http://{}/", there));
    assert!(!through_node()?.success, "a client of a NodePort is no probe");
    let is_told = |it: &AccessRecord, class: Option<&str>| {
        (it.destination == probed.at(PORT) && it.source_workload.is_none())
            && it.source_class.as_deref() == class
    };
    let record = daemon.wait_record(|it| is_told(it, None) && it.error.is_some())?;
    assert!(record.policy.is_some(), "{record:?}");
    mesh.delete("PeerAuthentication", "shop", "strict")?;
    eventually("the NodePort works where plaintext may come", || {
        Ok((through_node()?.stdout == "alive").then_some(()))
    })?;
    daemon.wait_record(|it| is_told(it, None) && it.error.is_none())?;
    // A probe is told from those also where nobody would have refused it.
    let probes = || Ok::<_, LabError>(daemon.records()?.iter().filter(|it| is_told(it, Some(PROBE))).count());
    let before = probes()?;
    assert_eq!(asks(&probed.ip(), PORT)?.stdout, "alive");
    eventually("the probe is told", || Ok((probes()? > before).then_some(())))
}

/// The live connection from an address, as the daemon shows it.
fn shown(daemon: &Daemon, from: SocketAddr) -> Result<Value, LabError> {
    eventually("the connection is shown", || {
        let all = daemon.get("/connections")?.json()?;
        let mut all = all.as_array().into_iter().flatten();
        Ok(all.find(|it| it["source"]["address"] == from.to_string()).cloned())
    })
}

#[test]
fn rules_that_somebody_deletes_are_put_back_and_that_is_counted() -> Result<(), LabError> {
    repaired(Stack::V4, "ip -4")?;
    repaired(Stack::V6, "ip -6")
}

fn repaired(stack: Stack, ip: &str) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let _echo = server.serve(PORT, serve::echo())?;
    let daemon = mesh.daemon("node1");
    let mut live = opened(&client, server.at(PORT))?;
    let rules = client.sh("nft list ruleset")?;
    let damages = [
        "nft delete table inet ambient_mesh",
        &format!("{ip} rule del priority 32764"),
        &format!("{ip} route flush table 100"),
    ];
    for (round, damage) in damages.into_iter().enumerate() {
        client.sh(damage)?;
        eventually("the damage is repaired", || {
            let phase = daemon.phase(&client)?;
            Ok(phase.is_some_and(|it| it.repairs as usize > round && it.phase == "captured").then_some(()))
        })?;
        assert_eq!(client.sh("nft list ruleset")?, rules);
        let local = opened(&client, server.at(PORT))?.local_addr()?;
        assert_eq!(outbound(daemon, local)?.path, "hbone");
    }
    exchange(&mut live)?;
    let metrics = daemon.get("/metrics")?.body;
    let counted = metrics.lines().find_map(|line| line.strip_prefix("ambient_capture_repairs_total "));
    assert!(counted.is_some_and(|count| count.parse().is_ok_and(|count: u64| count >= 3)), "{counted:?}");
    Ok(())
}

#[test]
fn a_pod_whose_namespace_is_gone_is_not_looked_for_in_another_by_its_address() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let (client, daemon) = (mesh.pod("shop/client"), mesh.daemon("node1"));
    let mount = |command: &[&dyn AsRef<OsStr>]| {
        let done = Command::new(command[0]).args(&command[1..]).status()?;
        if done.success() { Ok(()) } else { Err(LabError::from(std::io::Error::other("mount failed"))) }
    };
    // A namespace with the same address, before the mesh has heard that the pod is gone.
    let next = client.node().pod_netns().join("next");
    std::fs::File::create(&next)?;
    mount(&[&"mount", &"--bind", &client.netns().path(), &next])?;
    mount(&[&"umount", &"--lazy", &client.mounted()])?;
    let told = eventually("the pod is given up", || {
        Ok(daemon.phase(&client)?.filter(|it| it.phase == "failed").and_then(|it| it.problem))
    });
    mount(&[&"umount", &"--lazy", &next])?;
    std::fs::remove_file(&next)?;
    let told = told?;
    assert!(told.contains("namespace is gone"), "{told}");
    Ok(())
}

#[test]
fn a_pod_on_its_own_label_joins_and_leaves() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let (client, printer) = (mesh.pod("shop/client"), mesh.pod("legacy/printer"));
    let _echo = printer.serve(PORT, serve::echo())?;
    let path = || {
        let local = opened(&client, printer.at(PORT))?.local_addr()?;
        Ok::<_, LabError>(outbound(mesh.daemon("node1"), local)?.path)
    };
    assert_eq!(path()?, "direct");
    for (mode, wanted) in [(Some("ambient"), "hbone"), (Some("none"), "direct")] {
        mesh.patch("Pod", "legacy", "printer", &label(mode))?;
        eventually("calls take the other path", || Ok((path()? == wanted).then_some(())))?;
    }
    Ok(())
}

#[test]
fn strict_mode_refuses_a_pod_that_is_wanted_and_not_captured() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(not_captured)
}

fn not_captured(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, printer) = (mesh.pod("shop/client"), mesh.pod("legacy/printer"));
    let echo = printer.serve(PORT, serve::echo())?;
    let _held = printer.listen(15008)?;
    mesh.patch("Namespace", "", "legacy", &label(Some("ambient")))?;
    let here = mesh.daemon("node1");
    eventually("plaintext is accepted while nobody forbids it, and counted", || {
        let local = opened(&client, printer.at(PORT))?.local_addr()?;
        assert_eq!(outbound(here, local)?.path, "direct");
        let unprotected = here.scrape()?.sum("ambient_unprotected_connections_total", &[]);
        Ok(unprotected.filter(|count| *count >= 1.0).map(drop))
    })?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: legacy}\n\
         spec: {mtls: {mode: STRICT}}\n",
    )?;
    until_refused("plaintext is refused", &client, printer.at(PORT))?;
    let before = echo.peers().len();
    let record = e2e::calls::refused(here, &client, printer.at(PORT))?;
    let error = record.error.unwrap_or_default();
    assert!(error.contains("has no tunnel yet, and policy refuses plaintext"), "{error}");
    let (namespace, name) = record.policy.as_deref().and_then(|it| it.split_once('/')).unwrap_or_default();
    let name = name.split_once(' ').map_or(name, |(name, _)| name);
    let decision = [("policy_namespace", namespace), ("policy_name", name), ("decision", "deny")];
    here.wait_metric("ambient_policy_decisions_total", &decision, |count| count >= 1.0)?;
    let flags = [("reporter", "source"), ("response_flags", "DENY")];
    here.wait_metric("istio_tcp_connections_failed_total", &flags, |count| count >= 1.0)?;
    assert_eq!(echo.peers().len(), before);
    Ok(())
}

fn label(mode: Option<&str>) -> Value {
    json!({ "metadata": { "labels": { "istio.io/dataplane-mode": mode } } })
}

/// A connection to each address of these pods.
fn connections(from: &Pod, to: &[&Pod]) -> Result<Vec<TcpStream>, LabError> {
    let addresses = to.iter().flat_map(|pod| pod.ips().iter().map(|ip| (*ip, PORT).into()));
    addresses.map(|address| Ok(opened(from, address)?)).collect()
}

fn warm_up(from: &Pod, to: &[&Pod]) -> Result<(), LabError> {
    connections(from, to).map(drop)
}

/// All that capture could leave in a pod's namespace.
pub(crate) fn traces(pod: &Pod) -> Result<Vec<String>, LabError> {
    let commands = [
        "nft list ruleset",
        "ip rule",
        "ip -6 rule",
        "ip route show table all",
        "ip -6 route show table all",
        "ss -Hlntu",
    ];
    commands.iter().map(|command| pod.sh(&format!("{command} | grep -v {PORT} || true"))).collect()
}

/// What a daemon has of what could be left when a pod has gone.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    files: usize,
    tasks: f64,
}

fn holds(daemon: &Daemon) -> Result<Held, LabError> {
    let pid = daemon.pid().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))?;
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let tasks = daemon.scrape()?.sum("tokio_alive_tasks", &[]);
    Ok(Held { files, tasks: tasks.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))? })
}

/// The same once it stands still.
fn settled(daemon: &Daemon) -> Result<Held, LabError> {
    let mut last = (holds(daemon)?, 0);
    eventually("what the daemon holds stands still", || {
        let now = holds(daemon)?;
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        std::thread::sleep(Duration::from_millis(20));
        Ok((last.1 == 10).then(|| last.0.clone()))
    })
}
