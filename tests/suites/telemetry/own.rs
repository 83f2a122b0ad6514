//! The daemons' own metrics, in tunnels of the mesh.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{
    Cluster, LabError, Marker, Mesh, MeshOptions, Pod, PodSpec, ServiceSpec, Stack, eventually, serve,
};
use serde_json::{Value, json};

const METRICS: u16 = 15020;
const ZTUNNEL: &str = "spiffe://cluster.local/ns/ambient-system/sa/ztunnel";

#[test]
fn a_scrape_goes_by_tunnel_under_the_daemons_own_identity() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(scraped)
}

fn scraped(stack: Stack) -> Result<(), LabError> {
    let mesh = mesh(stack, json!({ "path": { "strangers": "refuse" } }))?;
    let prometheus = mesh.pod("monitoring/prometheus");
    let here = mesh.daemon("node1");
    for node in ["node2", "node1"] {
        let (there, to) = (mesh.daemon(node), metrics_of(&mesh, node, &prometheus));
        let (marker, capture) = (Marker::random()?, mesh.capture()?);
        let told = scrape(&prometheus, &format!("{to}/metrics?{marker}"))?;
        assert!(told.contains("istio_build{component=\"ztunnel\""), "{told}");
        let packets = capture.stop(&mesh)?;
        assert_eq!(packets.holding(marker.as_bytes()), 0, "nobody else can read it");
        assert_eq!(
            packets.of_port(15008).is_empty(),
            node == "node1",
            "within a node nothing is on the wire"
        );

        let sent = here.wait_record(|it| it.direction == "outbound" && it.destination == to)?;
        let tunnel = SocketAddr::new(to.ip(), 15008);
        assert_eq!((&*sent.path, sent.hbone_addr), ("hbone", Some(tunnel)), "{sent:?}");
        let heard = there.wait_record(|it| it.direction == "inbound" && it.destination == to)?;
        for record in [&sent, &heard] {
            assert_eq!(record.source_identity, Some(prometheus.identity()), "{record:?}");
            assert_eq!(record.destination_identity.as_deref(), Some(ZTUNNEL), "{record:?}");
            assert!(record.joins("prometheus", &format!("ztunnel-{node}")), "{record:?}");
            assert!(record.error.is_none() && record.bytes_received > 1000, "{record:?}");
        }
        for (daemon, reporter) in [(here, "source"), (there, "destination")] {
            let of = [
                ("reporter", reporter),
                ("source_workload", "prometheus"),
                ("destination_workload", &format!("ztunnel-{node}")),
                ("destination_principal", ZTUNNEL),
                ("connection_security_policy", "mutual_tls"),
            ];
            daemon.wait_metric("istio_tcp_connections_opened_total", &of, |count| count == 1.0)?;
            daemon.wait_metric("istio_tcp_sent_bytes_total", &of, |bytes| bytes > 0.0)?;
        }
    }
    here.wait_metric("ambient_metrics_pod_served", &[], |served| served == 1.0)?;
    here.status(&["--check"])?;
    // By the name of a headless Service it is the same.
    let told = scrape(&prometheus, &format!("ztunnel.ambient-system:{METRICS}/metrics"))?;
    assert!(told.contains("istio_build"), "{told}");
    let by_name = here.records()?.into_iter().filter(|it| it.direction == "outbound");
    let plain = by_name.filter(|it| it.destination.port() == METRICS && it.path != "hbone");
    assert_eq!(plain.count(), 0);
    Ok(())
}

#[test]
fn nobody_else_gets_metrics_and_the_rest_of_the_node_is_as_it_was() -> Result<(), LabError> {
    let mesh = mesh(Stack::V4, Value::Null)?;
    let prometheus = mesh.pod("monitoring/prometheus");
    let node = mesh.node("node2");
    let to = metrics_of(&mesh, "node2", &prometheus);
    // Not in the mesh, or not in it at that moment, as the node itself.
    let curl = format!("curl -sS -m 5 http://{to}/metrics");
    for refused in [mesh.pod("legacy/batch").output(&curl)?, node.output(&curl)?] {
        assert!(!refused.success && refused.stdout.is_empty(), "{refused:?}");
    }
    let curl = "curl -sS -m 5 --http0.9 http://";
    let tunnel = mesh.pod("legacy/batch").output(&format!("{curl}{}:15008/metrics", to.ip()))?;
    assert!(!tunnel.stdout.contains("istio_build"), "{tunnel:?}");
    // The tunnel leads to metrics, and not to the admin server.
    for page in
        ["config_dump", "connections", "logging", "healthz/ready", "debug/pprof/profile?seconds=1", ""]
    {
        let told = scrape(&prometheus, &format!("{to}/{page}"))?;
        assert_eq!(told, "no such page\n", "{page}");
    }
    let _echo = node.serve(8082, serve::echo())?;
    let mut stream = prometheus.connect(node.at(8082))?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])?;
    let own = stream.local_addr()?;
    drop(stream);
    let record = mesh.daemon("node1").wait_record(|it| it.direction == "outbound" && it.source == own)?;
    assert_eq!((&*record.path, record.destination), ("passthrough", node.at(8082)));
    Ok(())
}

#[test]
fn policies_of_the_daemons_namespace_decide_who_may_scrape() -> Result<(), LabError> {
    let mesh = mesh(Stack::V4, Value::Null)?;
    let (prometheus, stranger) = (mesh.pod("monitoring/prometheus"), mesh.pod("monitoring/stranger"));
    let to = metrics_of(&mesh, "node2", &prometheus);
    let there = mesh.daemon("node2");
    scrape(&stranger, &format!("{to}/metrics"))?;
    let mut live = kept_alive(&stranger, to)?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: scrape, namespace: ambient-system}\n\
         spec:\n  selector: {matchLabels: {app: ztunnel}}\n  action: DENY\n  rules:\n  \
         - from: [{source: {notPrincipals: [cluster.local/ns/monitoring/sa/prometheus]}}]\n",
    )?;
    ends_soon(&mut live)?;
    let denied = stranger.output(&format!("curl -sS -m 5 http://{to}/metrics"))?;
    assert!(!denied.success && denied.stdout.is_empty(), "{denied:?}");
    let record = there.wait_record(|it| {
        it.joins("stranger", "ztunnel-node2") && it.policy.as_deref() == Some("ambient-system/scrape rule 0")
    })?;
    assert!(record.direction == "inbound" && record.error.is_some(), "{record:?}");
    scrape(&prometheus, &format!("{to}/metrics"))?;

    // One that lets in only whom it names, and a mesh that speaks to nobody without an identity.
    mesh.delete("AuthorizationPolicy", "ambient-system", "scrape")?;
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/metrics/only-prometheus.yaml");
    mesh.apply(&std::fs::read_to_string(example)?)?;
    eventually("the policy lets in whom it names", || {
        let refused = stranger.output(&format!("curl -sS -m 5 http://{to}/metrics"))?;
        let record = there.records()?.into_iter().rfind(|it| it.direction == "inbound");
        let by = record.and_then(|it| it.policy.filter(|_| it.error.is_none()));
        scrape(&prometheus, &format!("{to}/metrics"))?;
        Ok((!refused.success && by.as_deref() == Some("ambient-system/only-prometheus rule 0")).then_some(()))
    })
}

#[test]
fn metrics_are_served_while_the_mesh_knows_the_daemons_pod() -> Result<(), LabError> {
    let mesh = mesh(Stack::V4, Value::Null)?;
    let prometheus = mesh.pod("monitoring/prometheus");
    let to = metrics_of(&mesh, "node2", &prometheus);
    let mut live = kept_alive(&prometheus, to)?;
    let gone = json!({ "metadata": { "labels": { "networking.istio.io/tunnel": null } } });
    mesh.delete("Pod", "ambient-system", "ztunnel-node2")?;
    ends_soon(&mut live)?;
    eventually("nobody is known there", || {
        let curl = prometheus.output(&format!("curl -sS -m 5 http://{to}/metrics"))?;
        Ok((!curl.success).then_some(()))
    })?;
    // Its successor has another uid.
    let mut again = cluster(Stack::V4);
    again.pod(daemon("node2").uid("00000000-0000-4000-8000-00000000abcd"));
    mesh.update(&again)?;
    eventually("the successor is served", || {
        Ok(scrape(&prometheus, &format!("{to}/metrics")).ok().map(drop))
    })?;
    // One that does not say that it speaks HBONE is part of the node.
    mesh.patch("Pod", "ambient-system", "ztunnel-node2", &gone)?;
    eventually("it is the node's own", || {
        let curl = prometheus.output(&format!("curl -sS -m 5 http://{to}/metrics"))?;
        Ok((!curl.success).then_some(()))
    })?;
    let there = mesh.daemon("node2");
    there.wait_metric("ambient_metrics_pod_served", &[], |served| served == 0.0)?;
    let told = there.status(&[])?;
    let said = "ambient-system/ztunnel-node2: nobody asks for metrics in tunnels: the pod has no address, lacks the label";
    assert!(told.contains(said), "{told}");
    Ok(())
}

#[test]
fn a_network_that_masquerades_pods_towards_nodes_hides_no_identity() -> Result<(), LabError> {
    let mesh = mesh(Stack::V4, Value::Null)?;
    let prometheus = mesh.pod("monitoring/prometheus");
    let (here, to) = (mesh.node("node1"), metrics_of(&mesh, "node2", &prometheus));
    here.sh("nft 'add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; }'")?;
    here.sh(&format!("nft add rule ip nat out ip daddr {} masquerade", to.ip()))?;
    scrape(&prometheus, &format!("{to}/metrics"))?;
    let record = mesh.daemon("node2").wait_record(|it| it.direction == "inbound" && it.destination == to)?;
    assert_eq!((record.source.ip(), record.source_identity), (here.ip(), Some(prometheus.identity())));
    Ok(())
}

#[test]
fn a_scrape_that_is_kept_alive_does_not_hold_up_the_daemons_end() -> Result<(), LabError> {
    let mesh = mesh(Stack::V4, Value::Null)?;
    let prometheus = mesh.pod("monitoring/prometheus");
    let live = kept_alive(&prometheus, metrics_of(&mesh, "node2", &prometheus))?;
    let mut ends = live.try_clone()?;
    let ended = std::thread::spawn(move || ends_soon(&mut ends).map(|()| ends.shutdown(Shutdown::Both)));
    let status = mesh.daemon("node2").terminate(Duration::from_secs(10))?;
    assert!(status.is_some_and(|status| status.success()));
    ended.join().expect("no panic")??;
    drop(live);
    Ok(())
}

fn mesh(stack: Stack, config: Value) -> Result<Mesh, LabError> {
    let own = |node: &str| {
        let pod = format!("ambient-system/ztunnel-{node}");
        (node.to_owned(), json!({ "listen": { "metrics": "off", "metricsPod": pod } }))
    };
    let nodes = ["node1", "node2"].map(own).into();
    Mesh::with(&cluster(stack), &MeshOptions { config, nodes, ..MeshOptions::default() })
}

/// Two pods that scrape, one that is not in the mesh, and the daemons' own, which are not captured.
fn cluster(stack: Stack) -> Cluster {
    let mut cluster = Cluster::with_stack(stack);
    // Metrics are reached from where nothing is that nobody knows.
    cluster.add(
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "monitoring", "labels": {
        "istio.io/dataplane-mode": "ambient", "ambient.mesh/egress": "deny", "ambient.mesh/udp": "deny",
    } } }),
    );
    cluster.namespace("legacy");
    cluster.namespace("ambient-system");
    cluster.pod(PodSpec::new("monitoring", "prometheus"));
    cluster.pod(PodSpec::new("monitoring", "stranger"));
    cluster.pod(PodSpec::new("legacy", "batch"));
    ["node1", "node2"].into_iter().for_each(|node| cluster.pod(daemon(node)));
    cluster.service(ServiceSpec::new("ambient-system", "ztunnel").headless().port(METRICS, METRICS));
    cluster
}

/// A daemon's own pod as the example has it, at its node's addresses.
fn daemon(node: &str) -> PodSpec {
    let example = include_str!("../../../deploy/examples/metrics/daemonset.yaml");
    let example: Value = serde_saphyr::from_str(example).expect("a manifest");
    let template = &example["spec"]["template"];
    assert_eq!(template["spec"]["containers"][0]["ports"][0]["containerPort"], METRICS);
    PodSpec::new("ambient-system", &format!("ztunnel-{node}"))
        .node(node)
        .account("ztunnel")
        .merge(template.clone())
        .merge(json!({ "status": { "podIP": null, "podIPs": null } }))
}

/// Where a client finds the metrics of a node's daemon.
fn metrics_of(mesh: &Mesh, node: &str, client: &Pod) -> SocketAddr {
    SocketAddr::new(mesh.node(node).ip_for(client), METRICS)
}

fn scrape(from: &Pod, url: &str) -> Result<String, LabError> {
    from.sh(&format!("curl -sS -m 10 'http://{url}'"))
}

/// A connection that has brought some metrics and may bring more.
fn kept_alive(from: &Pod, to: SocketAddr) -> Result<std::net::TcpStream, LabError> {
    let mut stream = from.connect(to)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")?;
    stream.read_exact(&mut [0; 100])?;
    Ok(stream)
}

/// Waits until a connection is cut, long before the server of metrics would close it.
fn ends_soon(stream: &mut std::net::TcpStream) -> Result<(), LabError> {
    let (began, mut buffer) = (Instant::now(), [0; 4096]);
    loop {
        match stream.read(&mut buffer).map_err(|error| error.kind()) {
            Ok(0) | Err(ErrorKind::ConnectionReset) => break,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
    Ok(())
}
