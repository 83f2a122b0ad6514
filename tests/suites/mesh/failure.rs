//! What happens when parts of the mesh are gone.

use std::io::{Read, Write};
use std::time::Duration;

use harness::{LabError, Marker, Mesh, Stack, eventually, serve};

use e2e::calls::{echoed, opened, opened_on, seen, shop, until_served};

#[test]
fn pods_of_a_killed_daemon_fail_closed_and_are_served_again_by_the_next() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(killed)
}

fn killed(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    let mut live = client.connect(server.at(echo.port()))?;
    live.write_all(b"x")?;
    live.read_exact(&mut [0])?;
    let (marker, capture) = (Marker::random()?, mesh.capture()?);
    mesh.daemon("node1").kill()?;
    assert!(!matches!(live.read(&mut [0]), Ok(1..)), "a connection of a dead daemon ends");
    let attempt = client.connect(server.at(echo.port())).and_then(|mut stream| {
        stream.write_all(&marker.payload(1000))?;
        stream.read_exact(&mut [0])
    });
    assert!(attempt.is_err(), "nothing is served while no daemon runs");
    mesh.daemon("node1").run()?;
    eventually("the next daemon serves the pod", || {
        let served = client.connect(server.at(echo.port())).and_then(|mut stream| {
            stream.write_all(b"x")?;
            stream.read_exact(&mut [0])
        });
        Ok(served.ok())
    })?;
    let (marked, _) = seen(&capture.stop(&mesh)?, &client, &server, &marker);
    assert_eq!(marked, 0, "what could not be protected was not sent");
    Ok(())
}

#[test]
fn nothing_comes_into_a_pod_of_a_killed_daemon_until_the_next_serves() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(closed)
}

fn closed(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let server = mesh.pod("shop/server");
    let echo = server.serve(0, serve::echo())?;
    let there = server.at(echo.port());
    // By tunnel, and in plaintext from another node and from the pod's own.
    let callers = ["shop/client", "legacy/batch", "legacy/printer"].map(|name| mesh.pod(name));
    let mut live = callers.iter().map(|from| opened(from, there)).collect::<Result<Vec<_>, _>>()?;
    live.push(opened_on(mesh.node("node2"), there)?);
    mesh.daemon("node2").kill()?;
    for stream in &mut live {
        let end = stream.read(&mut [0]);
        assert!(!matches!(end, Ok(1..)), "a connection of a dead daemon ends: {end:?}");
    }
    let before = echo.peers().len();
    for from in &callers {
        assert!(opened(from, there).is_err(), "{} is served while no daemon runs", from.name());
    }
    for node in ["node1", "node2"] {
        assert!(opened_on(mesh.node(node), there).is_err(), "{node} is served while no daemon runs");
    }
    assert_eq!(echo.peers().len(), before, "the application has seen whom nobody let in");
    mesh.daemon("node2").run()?;
    for from in &callers {
        until_served("the next daemon serves the pod", from, there)?;
    }
    for node in ["node1", "node2"] {
        opened_on(mesh.node(node), there)?;
    }
    Ok(())
}

#[test]
fn connections_go_on_while_the_ca_is_gone() -> Result<(), LabError> {
    let mut mesh = Mesh::up(&shop(Stack::V4))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    echoed(&client, server.at(echo.port()), b"certificates are there")?;
    mesh.kill_ca()?;
    for _ in 0..20 {
        echoed(&client, server.at(echo.port()), b"still")?;
    }
    Ok(())
}

#[test]
fn a_daemon_that_is_told_to_end_lets_connections_come_to_theirs() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    let mut stream = opened(&client, server.at(echo.port()))?;
    let ending = std::thread::scope(|scope| {
        let ending = scope.spawn(|| mesh.daemon("node1").terminate(Duration::from_secs(10)));
        for round in 0..20_u8 {
            stream.write_all(&[round])?;
            let mut heard = [0];
            stream.read_exact(&mut heard)?;
            assert_eq!(heard, [round]);
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(stream);
        Ok::<_, LabError>(ending.join().expect("terminating does not panic"))
    })?;
    assert!(ending?.is_some_and(|status| status.success()));
    Ok(())
}
