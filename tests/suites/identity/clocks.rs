//! Clocks that disagree.

use std::time::Duration;

use harness::{LabError, Mesh, eventually};

use crate::load::Load;
use crate::scene::{certificate, echo, serial, shop};

#[test]
fn a_node_whose_clock_is_five_minutes_off_takes_part() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop())?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let ((_there, there), (_back, back)) = (echo(&server)?, echo(&client)?);
    for ahead in [295, -295] {
        restart(&mesh, ahead)?;
        let found = serial(&mesh, &server)?;
        println!("{ahead} s ahead: certificate {found}");
        // Each side verifies the other's certificate as client and as server.
        let load = Load::start(&[(&client, there), (&server, back)]);
        std::thread::sleep(Duration::from_secs(1));
        assert!(load.finish().opened > 20);
    }
    Ok(())
}

#[test]
fn a_node_whose_clock_is_far_off_gets_no_certificate_and_says_so() -> Result<(), LabError> {
    for (ahead, said) in [(900, "is the clock of its node right?"), (-900, "certificate not valid yet")] {
        let mesh = Mesh::up(&shop())?;
        let server = mesh.pod("shop/server");
        restart(&mesh, ahead)?;
        let daemon = mesh.daemon("node2");
        let before = daemon.log()?.len();
        eventually("the log does not say what is wrong", || {
            let log = daemon.log()?;
            let said = log[before..].lines().find(|line| line.contains(said));
            Ok(said.map(str::to_owned))
        })
        .inspect(|line| println!("{ahead} s ahead: {line}"))?;
        assert!(certificate(daemon, &server.identity())?.is_none());
    }
    Ok(())
}

/// Starts the daemon of node2 anew, with a clock that is so many seconds ahead.
fn restart(mesh: &Mesh, ahead: i64) -> Result<(), LabError> {
    let daemon = mesh.daemon("node2");
    daemon.kill()?;
    daemon.run_ahead(ahead)?;
    daemon.wait_ready()
}
