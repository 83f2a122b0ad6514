//! What one peer or pod can take, and what is left to others.

use std::time::Duration;

use harness::{LabError, eventually};
use serde_json::json;

use crate::peer::{Answer, Peer};
use crate::scene::{ECHO, Scene};

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
