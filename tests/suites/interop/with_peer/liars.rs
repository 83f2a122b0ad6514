//! Pods that are somebody else in the eyes of the other side.

use harness::{LabError, eventually};

use crate::world::{APP, World, beat};

#[test]
fn we_refuse_a_server_that_presents_another_identity() -> Result<(), LabError> {
    let world = World::up()?;
    let mut stream = world.pod("ours").connect(world.pod("their-liar").at(APP))?;
    assert!(beat(&mut stream).is_err(), "nothing comes from whoever is there");
    let record = world.mesh.daemon("node1").wait_record(|it| it.direction == "outbound")?;
    let error = record.error.unwrap_or_default();
    assert!(error.contains("/sa/theirs") && error.contains("/sa/honest"), "{error}");
    assert!(world.callers_of("their-liar").is_empty(), "no application was reached");
    Ok(beat(&mut world.pod("ours").connect(world.pod("theirs").at(APP))?)?)
}

#[test]
fn we_refuse_a_client_that_presents_another_identity() -> Result<(), LabError> {
    let world = World::up()?;
    let mut stream = world.pod("their-liar").connect(world.pod("ours").at(APP))?;
    assert!(beat(&mut stream).is_err(), "nothing is served to it");
    eventually("the refusal was not logged", || {
        let log = world.mesh.daemon("node1").log()?;
        Ok(log.lines().any(|line| line.contains("/sa/theirs") && line.contains("/sa/honest")).then_some(()))
    })?;
    assert!(world.callers_of("ours").is_empty(), "no application was reached");
    Ok(beat(&mut world.pod("theirs").connect(world.pod("ours").at(APP))?)?)
}

#[test]
fn the_peer_refuses_us_where_we_present_another_identity() -> Result<(), LabError> {
    let world = World::up()?;
    let mut stream = world.pod("theirs").connect(world.pod("our-liar").at(APP))?;
    assert!(beat(&mut stream).is_err(), "nothing comes from us");
    assert!(world.callers_of("our-liar").is_empty(), "no application was reached");
    Ok(beat(&mut world.pod("theirs").connect(world.pod("ours").at(APP))?)?)
}
