//! What one peer or pod can take, and what is left to others.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use e2e::calls::{exchange, opened, until_served};
use harness::{Lab, LabError, Mesh, MeshOptions, Pod, PodSpec, Stack, eventually, serve};
use serde_json::json;

use crate::peer::{Answer, Peer};
use crate::scene::{ECHO, Scene, cluster};

/// What counts connections that are turned away.
const TURNED_AWAY: &str = "ambient_connections_turned_away_total";

#[test]
fn a_peer_that_takes_all_connections_it_can_get_leaves_some_to_others() -> Result<(), LabError> {
    let scene = Scene::up(json!({ "limits": { "connectionsPerPod": 90 } }))?;
    let to = scene.server().at(ECHO);
    let mut greedy = scene.peer("shop/attacker")?;
    let asked = (0..90).map(|_| greedy.connect(&to)).collect::<Result<Vec<_>, _>>()?;
    let mut got = Vec::new();
    for stream in asked {
        match greedy.answer(stream)? {
            Answer::Status(200) => got.push(stream),
            answer => assert_eq!(answer, Answer::Status(503)),
        }
    }
    assert_eq!(got.len(), 60, "one alone gets two thirds");
    scene.check_served()?;
    let mut other = scene.peer("shop/bystander")?;
    let stream = other.connect(&to)?;
    assert_eq!(other.answer(stream)?, Answer::Status(200));
    for stream in got {
        greedy.echoed(stream, b"what it has goes on")?;
    }
    let refused =
        scene.mesh.daemon("node2").scrape()?.sum(TURNED_AWAY, &[("limit", "connections_per_source")]);
    assert_eq!(refused, Some(30.0));
    drop(greedy);
    eventually("its places are free again", || {
        let stream = other.connect(&to)?;
        Ok((other.answer(stream)? == Answer::Status(200)).then_some(()))
    })
}

#[test]
fn a_pod_that_opens_all_connections_it_can_get_leaves_others_theirs() -> Result<(), LabError> {
    let mut cluster = cluster(Stack::V4);
    cluster.pod(PodSpec::new("shop", "second").node("node1"));
    let scene = Scene::with(&cluster, json!({ "limits": { "connectionsPerPod": 50 } }))?;
    // Outside of the mesh, so that nothing but its own share ends it.
    let echo = scene.mesh.pod("legacy/batch").serve(0, serve::echo())?;
    let to = scene.mesh.pod("legacy/batch").at(echo.port());
    let (greedy, second) = (scene.client(), scene.mesh.pod("shop/second"));
    let mut got = greed(&greedy, to, 80);
    assert_eq!(got.len(), 34, "two thirds: the rest is for who calls it");
    let to_server = scene.server().at(ECHO);
    let mut theirs = (0..20).map(|_| opened(&second, to_server)).collect::<Result<Vec<_>, _>>()?;
    let _echo = greedy.serve(ECHO, serve::echo())?;
    theirs.push(opened(&second, greedy.at(ECHO))?);
    got.iter_mut().chain(&mut theirs).try_for_each(exchange)?;
    assert!(opened(&greedy, to_server).is_err(), "it has all that it gets");
    let refused = scene.mesh.daemon("node1").scrape()?.sum(TURNED_AWAY, &[]);
    assert_eq!(refused, Some(47.0));
    drop(got);
    until_served("its places are free again", &greedy, to_server)
}

#[test]
fn a_pod_that_takes_all_descriptors_it_can_get_leaves_others_some() -> Result<(), LabError> {
    const FILES: usize = 400;
    let mut cluster = cluster(Stack::V4);
    cluster.pod(PodSpec::new("shop", "second").node("node1"));
    let lab = Lab::up(&cluster)?;
    let program = lab.folder().join("ztunnel-with-few-files");
    let script = format!("#!/bin/sh\nulimit -n {FILES}\nexec {} \"$@\"\n", harness::ztunnel()?.display());
    fs::write(&program, script)?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    let mesh = Mesh::on(lab, &MeshOptions { program: Some(program), ..MeshOptions::default() })?;
    let echo = mesh.pod("legacy/batch").serve(0, serve::echo())?;
    let to = mesh.pod("legacy/batch").at(echo.port());
    let (greedy, second) = (mesh.pod("shop/client"), mesh.pod("shop/second"));
    let mut got = greed(&greedy, to, FILES);
    assert!(got.len() < FILES / 2, "{} connections, of two descriptors each", got.len());
    let mut theirs = (0..20).map(|_| opened(&second, to)).collect::<Result<Vec<_>, _>>()?;
    got.iter_mut().chain(&mut theirs).try_for_each(exchange)?;
    drop(got);
    until_served("its places are free again", &greedy, to)
}

/// The connections that a pod gets of so many that it asks for.
fn greed(pod: &Pod, to: SocketAddr, count: usize) -> Vec<TcpStream> {
    // One that is turned away is reset, maybe before it knows that it was connected.
    let mut asked: Vec<_> = (0..count).filter_map(|_| pod.connect(to).ok()).collect();
    asked.retain_mut(|stream| exchange(stream).is_ok());
    asked
}

#[test]
fn a_peer_that_opens_tunnels_without_an_end_is_refused_at_its_bound() -> Result<(), LabError> {
    let scene = Scene::up(json!({ "limits": { "tunnelsPerSource": 20 } }))?;
    let to = scene.server().at(ECHO);
    let mut tunnels: Vec<Peer> = Vec::new();
    for _ in 0..40 {
        // A certificate is no obstacle, so nothing else bounds them.
        tunnels.extend(scene.peer("shop/attacker").ok());
    }
    let daemon = scene.mesh.daemon("node2");
    assert_eq!(daemon.scrape()?.sum(TURNED_AWAY, &[("limit", "tunnels_per_source")]), Some(20.0));
    assert_eq!(tunnels.len(), 20);
    for tunnel in &mut tunnels {
        let stream = tunnel.connect(&to)?;
        assert_eq!(tunnel.answer(stream)?, Answer::Status(200));
    }
    scene.check_served()?;
    let mut other = scene.peer("shop/bystander")?;
    let stream = other.connect(&to)?;
    assert_eq!(other.answer(stream)?, Answer::Status(200));
    assert_eq!(daemon.log()?.matches("connections are turned away").count(), 1, "a flood is one line");
    drop(tunnels);
    eventually("the peer may come again", || Ok(scene.peer("shop/attacker").ok())).map(drop)
}

#[test]
fn a_tunnel_without_streams_is_given_back_by_goaway() -> Result<(), LabError> {
    let scene = Scene::up(json!({ "timeouts": { "idleTunnel": "1s", "idleInbound": "2s" } }))?;
    let mut peer = scene.peer("shop/attacker")?;
    let stream = peer.connect(&scene.server().at(ECHO))?;
    peer.echoed(stream, b"not idle")?;
    // One with a stream is kept, however quiet.
    assert!(!peer.listen(Duration::from_secs(14))?);
    assert_eq!(peer.go_away, None);
    peer.end(stream)?;
    assert!(peer.listen(Duration::from_secs(25))?, "it was not closed");
    assert_eq!(peer.go_away, Some(0));
    scene.check_served()
}
