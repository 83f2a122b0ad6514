//! What pods can reach of the daemon itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use harness::{LabError, Node, Pod, Stack, eventually};
use serde_json::json;

use crate::scene::{HBONE, Scene, cluster};

#[test]
fn pods_reach_nothing_of_the_daemon_but_what_is_for_everyone() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(little_is_reached)
}

fn little_is_reached(stack: Stack) -> Result<(), LabError> {
    let scene = Scene::with(&cluster(stack), json!({}))?;
    let node = scene.mesh.node("node1");
    let every = addresses(node)?;
    assert!(every.contains(&node.ip()) && every.len() > 2, "loopback, wire and pods' gateway: {every:?}");
    for pod in [scene.client(), scene.mesh.pod("legacy/batch")] {
        for ip in &every {
            // One that the pod has no route to counts as well.
            assert_eq!(ask(&pod, (*ip, ADMIN).into(), "GET /config_dump"), None, "{ip} from {}", pod.name());
        }
        let (loopback, node) = (loopback(stack), node.ip_for(&pod));
        for (ip, port) in
            [(loopback, ADMIN), (loopback, METRICS), (loopback, READY), (node, ADMIN), (pod.ip(), ADMIN)]
        {
            let heard = ask(&pod, (ip, port).into(), "GET /config_dump");
            assert_eq!(heard, None, "{ip}:{port} from {}", pod.name());
        }
        // For Prometheus and the kubelet, and nothing of the admin server is there.
        for (port, path) in [(METRICS, "/metrics"), (READY, "/healthz/ready")] {
            let heard = |request: &str| ask(&pod, (node, port).into(), request).unwrap_or_default();
            assert!(heard(&format!("GET {path}")).starts_with("HTTP/1.1 200"), "{path}");
            let index = scene.mesh.daemon("node1").get("/")?.body;
            for request in [
                "GET /config_dump",
                "GET /connections",
                "POST /logging?level=off",
                "POST /quitquitquit",
                "GET /debug/pprof/profile?seconds=1",
                "POST /debug/pprof/heap/profiling?activate=true",
            ] {
                let page = request.split('?').next().unwrap_or(request).replace("GET ", "GET  ");
                assert!(index.contains(&page), "{page} is no page of the admin server: {index}");
                let answer = heard(request);
                assert!(
                    answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 405"),
                    "{request}: {answer}"
                );
            }
        }
    }
    for daemon in scene.mesh.daemons() {
        for socket in [daemon.admin_socket(), daemon.enrol_socket()] {
            let mode = std::fs::metadata(&socket)?.permissions().mode() & 0o777;
            assert_eq!(mode & 0o077, 0, "{} is for its owner only", socket.display());
        }
    }
    scene.check_served()
}

#[test]
fn metrics_and_readiness_stay_on_the_node_where_they_are_told_to() -> Result<(), LabError> {
    let scene = Scene::up(json!({ "listen": {
        "metrics": format!("127.0.0.1:{METRICS}"), "readiness": format!("127.0.0.1:{READY}"),
    } }))?;
    let node = scene.mesh.node("node1").ip();
    for pod in [scene.client(), scene.mesh.pod("legacy/batch")] {
        for port in [METRICS, READY] {
            assert_eq!(ask(&pod, (node, port).into(), "GET /metrics"), None);
        }
    }
    Ok(())
}

#[test]
fn calls_to_the_ports_of_capture_end_in_no_circle() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(no_circles)
}

fn no_circles(stack: Stack) -> Result<(), LabError> {
    let scene = Scene::with(&cluster(stack), json!({}))?;
    let (client, server) = (scene.client(), scene.server());
    let loopback = loopback(stack);
    let pods = [client, scene.mesh.pod("legacy/batch"), scene.mesh.pod("shop/attacker")];
    for port in [15001, 15006, HBONE] {
        for pod in &pods {
            for ip in [loopback, pod.ip(), server.ip(), scene.mesh.pod("shop/near").ip()] {
                assert_eq!(ask(pod, (ip, port).into(), "GET /"), None, "{ip}:{port} from {}", pod.name());
            }
        }
        // And from the node itself, whose packets look like those of a kubelet.
        let node = scene.mesh.node("node2");
        let curl = node.output(&format!("curl -sm 3 --http0.9 http://{}", server.at(port)))?;
        // TLS says by an alert that this is none.
        let said = curl.stdout.bytes().next();
        assert!(said.is_none_or(|first| first == TLS_ALERT), "{curl:?}");
    }
    assert_eq!(scene.echo.peers(), []);
    let daemon = scene.mesh.daemon("node1");
    // Whatever was opened for them is gone: nothing calls itself for ever.
    eventually("no connection is left", || {
        let left = daemon.get("/connections")?.json()?;
        Ok(left.as_array().is_some_and(Vec::is_empty).then_some(()))
    })?;
    let opened: usize = daemon.records()?.len();
    assert!(opened < 100, "{opened} connections of a few calls");
    scene.check_served()
}

fn loopback(stack: Stack) -> IpAddr {
    if stack == Stack::V6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}

/// All addresses of a node, those that no scope is asked for excepted.
fn addresses(node: &Node) -> Result<Vec<IpAddr>, LabError> {
    let shown = node.sh("ip -o addr")?;
    let all = shown.lines().filter_map(|line| {
        let address = line.split_whitespace().nth(3)?;
        address.split('/').next()?.parse::<IpAddr>().ok()
    });
    // Of a link-local one, what counts is the link that it is on: pods have their own.
    let global = |ip: &IpAddr| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    Ok(all.filter(global).collect())
}

/// What comes back for a request; none when the connection is refused, reset or closed without a word.
fn ask(pod: &Pod, to: SocketAddr, request: &str) -> Option<String> {
    let mut stream = pod.connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let host = "HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(format!("{request} {host}").as_bytes()).ok()?;
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("{to} keeps the connection"),
        // An alert at most is what a TLS server says to such a thing.
        _ if heard.first().is_none_or(|first| *first == TLS_ALERT) => None,
        _ => Some(String::from_utf8_lossy(&heard).into_owned()),
    }
}

const ADMIN: u16 = 15000;
const METRICS: u16 = 15020;
const READY: u16 = 15021;

/// RFC 8446 §B.1.
const TLS_ALERT: u8 = 21;
