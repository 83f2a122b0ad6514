//! What peers reach of a node through the tunnel to its daemon's metrics.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use harness::{LabError, Pod, PodSpec, Stack, serve};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};

use crate::peer::{Answer, Credential, Peer};
use crate::scene::{ECHO, HBONE, Scene, cluster};

#[test]
fn nothing_of_the_node_is_reached_but_its_daemons_metrics() -> Result<(), LabError> {
    let scene = scene()?;
    let node = scene.mesh.node("node2");
    // Beside the daemon's own admin server on loopback.
    let _public = node.serve(2222, serve::echo())?;
    let attacker = scene.mesh.pod("shop/attacker");
    let mut peer = shake(&scene, &attacker, node.at(HBONE))?;
    let metrics = peer.connect(&node.at(METRICS))?;
    assert_eq!(peer.answer(metrics)?, Answer::Status(200));
    for port in [22, 80, 2222, 10250, 15000, 15001, 15006, HBONE, 15012, 15021] {
        let asked = peer.connect(&node.at(port))?;
        assert_eq!(peer.answer(asked)?, Answer::Status(503), "{port}");
    }
    for authority in
        ["127.0.0.1:15020", "[::1]:15020", "0.0.0.0:15020", "localhost:15020", "server.shop:15020"]
    {
        let asked = peer.connect(&authority)?;
        assert_eq!(peer.answer(asked)?, Answer::Status(400), "{authority}");
    }
    let others = scene.server().at(8080);
    let asked = peer.connect(&others)?;
    assert_eq!(peer.answer(asked)?, Answer::Status(400), "pods of the node are none of it");
    assert_eq!(scene.echo.peers(), []);
    // Addresses that the node has for its pods, and which no pod has.
    let gateway: IpAddr = [10, 244, 2, 1].into();
    let mut peer = shake(&scene, &attacker, (gateway, HBONE).into())?;
    let asked = peer.connect(&SocketAddr::new(gateway, METRICS))?;
    assert_eq!(peer.answer(asked)?, Answer::Status(503));
    scene.check_served()
}

#[test]
fn who_is_not_whom_its_certificate_names_gets_no_metrics() -> Result<(), LabError> {
    let scene = scene()?;
    let node = scene.mesh.node("node2");
    let (attacker, bystander) = (scene.mesh.pod("shop/attacker"), scene.mesh.pod("shop/bystander"));
    let stolen = Credential::new(&scene.authority, &bystander.identity(), UnixTime::now());
    for credential in [None, Some(&stolen)] {
        let closed = match Peer::shake(attacker.connect(node.at(HBONE))?, credential) {
            Ok(mut peer) => peer.connect(&node.at(METRICS)).is_err() || peer.listen(SOON)?,
            Err(_) => true,
        };
        assert!(closed);
    }
    let records = scene.mesh.daemon("node2").records()?;
    assert!(records.iter().all(|it| it.destination_workload.as_deref() != Some("ztunnel")), "{records:?}");
    scene.check_served()
}

#[test]
fn a_peer_that_holds_as_many_scrapes_as_it_gets_leaves_some_to_others() -> Result<(), LabError> {
    let scene = scene()?;
    let node = scene.mesh.node("node2");
    let mut peer = shake(&scene, &scene.mesh.pod("shop/attacker"), node.at(HBONE))?;
    let held = (0..100).map(|_| peer.connect(&node.at(METRICS))).collect::<Result<Vec<_>, _>>()?;
    let answers = held.into_iter().map(|it| peer.answer(it)).collect::<Result<Vec<_>, _>>()?;
    let let_in = answers.iter().filter(|it| **it == Answer::Status(200)).count();
    let refused = answers.iter().filter(|it| **it == Answer::Status(503)).count();
    assert!((1..32).contains(&let_in) && let_in + refused == 100, "{answers:?}");
    let told = scene.client().sh(&format!("curl -sS -m 5 http://{}/metrics", node.at(METRICS)))?;
    assert!(told.contains("istio_build"), "{told}");
    scene.check_served()
}

#[test]
fn who_takes_all_handshakes_of_a_node_takes_none_of_its_pods() -> Result<(), LabError> {
    let scene = scene_with(&json!({ "handshakes": 40, "handshakesPerSource": 40}))?;
    let to = scene.mesh.node("node2").at(HBONE);
    // More than all that pods have together, of several, as nobody gets all alone.
    let silent: Vec<_> = CROWD
        .iter()
        .flat_map(|name| {
            let pod = scene.mesh.pod(&format!("shop/{name}"));
            (0..100).filter_map(|_| pod.connect(to).ok()).collect::<Vec<_>>()
        })
        .collect();
    let daemon = scene.mesh.daemon("node2");
    // Each of the four has 16.
    daemon.wait_metric(TURNED_AWAY, &[], |count| count >= 336.0)?;
    let mut peer = scene.peer("shop/bystander")?;
    let asked = peer.connect(&scene.server().at(ECHO))?;
    assert_eq!(peer.answer(asked)?, Answer::Status(200));
    assert_eq!(daemon.scrape()?.sum(TURNED_AWAY, &[("limit", "metrics_pod")]), Some(336.0));
    // Nor do they keep others from scraping.
    let mut peer = shake(&scene, &scene.mesh.pod("shop/attacker"), to)?;
    let metrics = peer.connect(&scene.mesh.node("node2").at(METRICS))?;
    assert_eq!(peer.answer(metrics)?, Answer::Status(200));
    drop(silent);
    scene.check_served()
}

/// A mesh where the daemon of `node2` serves its metrics in tunnels, and only there.
fn scene() -> Result<Scene, LabError> {
    scene_with(&json!({}))
}

/// The same, with such limits.
fn scene_with(limits: &Value) -> Result<Scene, LabError> {
    let mut cluster = cluster(Stack::V4);
    CROWD.iter().for_each(|name| cluster.pod(PodSpec::new("shop", name).node("node3")));
    let container = json!({ "name": "ztunnel", "ports": [{ "containerPort": METRICS }] });
    let own = json!({ "hostNetwork": true, "containers": [container] });
    let own = PodSpec::new("mesh", "ztunnel").node("node2").merge(json!({ "spec": own }));
    let nothing = json!({ "status": { "podIP": null, "podIPs": null } });
    cluster.pod(own.label("networking.istio.io/tunnel", "http").merge(nothing));
    let listen = json!({ "metrics": "off", "metricsPod": "mesh/ztunnel" });
    Scene::with(&cluster, json!({ "listen": listen, "limits": limits }))
}

/// A tunnel to an address of a node, under the pod's own identity.
fn shake(scene: &Scene, pod: &Pod, to: SocketAddr) -> std::io::Result<Peer> {
    let credential = Credential::new(&scene.authority, &pod.identity(), UnixTime::now());
    Peer::shake(pod.connect(to)?, Some(&credential))
}

/// Pods of a node without a daemon, that hold what they can get.
const CROWD: [&str; 4] = ["first", "second", "third", "fourth"];

/// What counts connections that are turned away.
const TURNED_AWAY: &str = "ambient_connections_turned_away_total";

const METRICS: u16 = 15020;

/// How long a connection that is refused may take to be closed.
const SOON: Duration = Duration::from_secs(5);
