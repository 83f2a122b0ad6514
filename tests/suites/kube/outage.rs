//! The API server is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{ControlPlane, LabError, eventually, wait_for};

use crate::scene::Scene;

#[test]
fn while_the_api_server_is_away_callers_are_told_to_come_again_and_get_nothing() -> Result<(), LabError> {
    let scene = Scene::of(Arc::new(ControlPlane::start()?))?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    let ca = scene.ca("ca")?;
    let (used, unused) = (scene.token("ztunnel", Some(&daemon))?, scene.token("ztunnel", Some(&daemon))?);
    ca.ask(&scene, &used, &scene.id("cart"))?.expect("it runs there");
    scene.cluster.stop_server()?;
    let said = ca.ask(&scene, &unused, &scene.id("cart"))?.expect_err("nobody knows whose it is");
    assert_eq!(said.0, "Unavailable", "{}", said.1);
    // What was said of the used token is remembered for ten seconds, and not a moment longer.
    let since = Instant::now();
    wait_for("a word on a token was remembered for too long", Duration::from_secs(12), || {
        match ca.ask(&scene, &used, &scene.id("cart"))? {
            Ok(_) => Ok(None),
            Err((code, _)) => {
                assert_eq!(code, "Unavailable");
                Ok(Some(()))
            }
        }
    })?;
    println!("refused after {:?}", since.elapsed());
    assert!(ca.refusals(&scene, "api_server")? >= 2);
    scene.cluster.start_server()?;
    eventually("nobody was served any more", || {
        Ok(ca.ask(&scene, &used, &scene.id("cart"))?.is_ok().then_some(()))
    })
}
