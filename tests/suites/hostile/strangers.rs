//! Tunnels from addresses that nobody in the mesh has, under a key of somebody who is in it.

use std::io;
use std::net::TcpStream;

use harness::{LabError, Stack, eventually};
use rustls_pki_types::UnixTime;
use serde_json::json;

use crate::peer::{Answer, Credential, Peer};
use crate::scene::{ECHO, HBONE, Scene, cluster};

#[test]
fn a_certificate_is_not_enough_where_strangers_are_refused() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(refused)
}

fn refused(stack: Stack) -> Result<(), LabError> {
    let scene = Scene::with(&cluster(stack), json!({ "path": { "strangers": "refuse" } }))?;
    let known = scene.peer("shop/attacker")?;
    let error = asked(&scene, known).map_err(|error| error.to_string());
    assert_eq!(error, Ok(Answer::Status(200)), "who is known there is let in");
    let failures = |cause: &str| {
        let of = [("cause", cause)];
        Ok::<_, LabError>(scene.mesh.daemon("node2").scrape()?.sum(FAILURES, &of).unwrap_or_default())
    };
    let before = failures("identity")?;
    let echoed = scene.echo.peers().len();
    assert!(stranger(&scene).and_then(|peer| asked(&scene, peer)).is_err());
    assert_eq!(failures("identity")?, before + 1.0);
    assert_eq!(scene.echo.peers().len(), echoed);
    let told = eventually("the log says so", || {
        let log = scene.mesh.daemon("node2").log()?;
        Ok(log.lines().find(|line| line.contains("tunnel is refused")).map(str::to_owned))
    })?;
    assert!(told.contains("but nobody is known to be there"), "{told}");
    assert!(told.contains(&scene.client().identity()), "{told}");
    scene.check_served()
}

#[test]
fn a_certificate_is_enough_where_strangers_are_accepted() -> Result<(), LabError> {
    let scene = Scene::up(json!({}))?;
    assert_eq!(asked(&scene, stranger(&scene)?)?, Answer::Status(200));
    scene.check_served()
}

/// A tunnel to the server from a node without a daemon, under the client's identity.
fn stranger(scene: &Scene) -> io::Result<Peer> {
    let node = scene.mesh.node("node3");
    let credential = Credential::new(&scene.authority, &scene.client().identity(), UnixTime::now());
    let server = scene.server().at(HBONE);
    Peer::shake(node.netns().within(|| TcpStream::connect(server))?, Some(&credential))
}

/// What a peer's request for the server is answered.
fn asked(scene: &Scene, mut peer: Peer) -> io::Result<Answer> {
    let stream = peer.connect(&scene.server().at(ECHO))?;
    peer.answer(stream)
}

const FAILURES: &str = "ambient_tunnel_handshake_failures_total";
