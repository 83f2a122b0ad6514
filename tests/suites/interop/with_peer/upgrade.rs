//! One side's daemon is replaced while the other side has a tunnel to it.

use harness::{LabError, PATIENCE, eventually};

use crate::world::{APP, World, beat};

#[test]
fn a_peer_that_drains_is_called_anew_and_its_streams_go_on() -> Result<(), LabError> {
    let mut world = World::up()?;
    let (ours, theirs) = (world.pod("ours"), world.pod("theirs"));
    let mut live = ours.connect(theirs.at(APP))?;
    beat(&mut live)?;
    world.upgrade_peer()?;
    beat(&mut live)?;
    for _ in 0..20 {
        beat(&mut ours.connect(theirs.at(APP))?)?;
    }
    Ok(())
}

#[test]
fn a_peer_calls_our_next_daemon_when_one_has_drained() -> Result<(), LabError> {
    let world = World::up()?;
    let (ours, theirs, daemon) = (world.pod("ours"), world.pod("theirs"), world.mesh.daemon("node1"));
    let mut live = theirs.connect(ours.at(APP))?;
    beat(&mut live)?;
    drop(live);
    daemon.terminate(PATIENCE)?;
    daemon.run()?;
    eventually("the peer does not reach our next daemon", || {
        Ok(theirs.connect(ours.at(APP)).and_then(|mut stream| beat(&mut stream)).ok())
    })?;
    for _ in 0..20 {
        beat(&mut theirs.connect(ours.at(APP))?)?;
    }
    Ok(())
}
