//! What a peer is told when the pod that its tunnel leads to ends.

use std::time::Duration;

use harness::{LabError, Stack, eventually};
use serde_json::json;

use crate::peer::Answer;
use crate::scene::{ECHO, Scene, cluster};

#[test]
fn a_pod_that_terminates_has_its_peers_dial_anew_and_keeps_what_they_have() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(terminates)
}

fn terminates(stack: Stack) -> Result<(), LabError> {
    let scene = Scene::with(&cluster(stack), json!({}))?;
    let server = scene.server().at(ECHO);
    let mut peer = scene.peer("shop/attacker")?;
    let stream = peer.connect(&server)?;
    assert_eq!(peer.answer(stream)?, Answer::Status(200));
    peer.echoed(stream, b"as ever")?;
    assert_eq!(peer.go_away, None);
    let ending = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    scene.mesh.patch("Pod", "shop", "server", &ending)?;
    eventually("the peer is told to dial anew", || {
        assert!(!peer.listen(Duration::from_millis(20))?, "the tunnel is not closed");
        Ok(peer.go_away)
    })?;
    assert_eq!(peer.go_away, Some(NO_ERROR));
    peer.echoed(stream, b"what it has goes on")?;
    let mut other = scene.peer("shop/attacker")?;
    let anew = other.connect(&server)?;
    assert_eq!(other.answer(anew)?, Answer::Status(200), "what ends has not ended yet");
    other.echoed(anew, b"in a tunnel of its own")?;
    peer.echoed(stream, b"beside the old one")?;
    scene.check_served()
}

const NO_ERROR: u32 = 0;
