//! What becomes of connections when a daemon is told to end.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use harness::{LabError, Mesh, MeshOptions, PATIENCE, Stack, eventually, serve};
use nix::sys::signal::Signal;

use e2e::calls::{exchange, opened, outbound, shop};

#[test]
fn connections_that_are_cut_at_the_end_are_reset_and_their_records_say_why() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(cut)
}

fn cut(stack: Stack) -> Result<(), LabError> {
    const COUNT: usize = 200;
    let config = serde_json::json!({ "timeouts": { "drain": "1s" } });
    let mesh = Mesh::with(&shop(stack), &MeshOptions { config, ..MeshOptions::default() })?;
    let client = mesh.pod("shop/client");
    let daemon = mesh.daemon("node1");
    let mut streams = Vec::new();
    // In a tunnel, within the node, and in plaintext.
    let servers = ["shop/server", "shop/near", "legacy/printer"].map(|name| mesh.pod(name));
    let echoes =
        servers.iter().map(|server| server.serve(0, serve::echo())).collect::<Result<Vec<_>, _>>()?;
    for at in 0..COUNT {
        let (server, echo) = (&servers[at % servers.len()], &echoes[at % servers.len()]);
        let mut stream = client.connect(server.at(echo.port()))?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        streams.push(stream);
    }
    assert!(daemon.terminate(PATIENCE)?.is_some_and(|status| status.success()));
    let ends = streams.iter_mut().map(|stream| stream.read(&mut [0]).map_err(|error| error.kind()));
    let kinds: Vec<_> = ends.collect();
    let reset = kinds.iter().filter(|end| **end == Err(ErrorKind::ConnectionReset)).count();
    assert_eq!(reset, COUNT, "an end would say that all is well: {kinds:?}");
    let said = |error: &String| error.contains("the daemon ends");
    let records = daemon.records()?;
    let told = records.iter().filter(|it| it.direction == "outbound" && it.error.as_ref().is_some_and(said));
    assert_eq!(told.count(), COUNT);
    Ok(())
}

#[test]
fn a_daemon_that_is_asked_to_quit_lets_live_connections_come_to_their_end() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let client = mesh.pod("shop/client");
    let daemon = mesh.daemon("node1");
    let servers = ["shop/server", "shop/near", "legacy/printer"].map(|name| mesh.pod(name));
    let echoes =
        servers.iter().map(|server| server.serve(0, serve::echo())).collect::<Result<Vec<_>, _>>()?;
    let targets: Vec<_> = servers.iter().zip(&echoes).map(|(server, echo)| server.at(echo.port())).collect();
    let mut live = targets.iter().map(|to| opened(&client, *to)).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(daemon.get("/quitquitquit")?.status, 405, "a look at it quits nothing");
    assert_eq!(daemon.post("/quitquitquit")?.status, 200);
    for to in &targets {
        let late = eventually("what is new is turned away", || Ok(opened(&client, *to).err()))?;
        assert_eq!(late.kind(), ErrorKind::ConnectionReset);
    }
    live.iter_mut().try_for_each(exchange)?;
    let sources = live.iter().map(std::net::TcpStream::local_addr).collect::<Result<Vec<_>, _>>()?;
    drop(live);
    assert!(daemon.wait_end(PATIENCE)?.is_some_and(|status| status.success()));
    for (source, path) in sources.into_iter().zip(["hbone", "node-local", "direct"]) {
        let record = outbound(daemon, source)?;
        assert_eq!((record.error, &*record.path), (None, path));
    }
    Ok(())
}

#[test]
fn connections_that_wait_to_be_accepted_at_the_end_are_served_and_later_ones_refused() -> Result<(), LabError>
{
    [Stack::V4, Stack::V6].into_iter().try_for_each(waiting)
}

fn waiting(stack: Stack) -> Result<(), LabError> {
    const COUNT: usize = 300;
    let mesh = Mesh::up(&shop(stack))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    let daemon = mesh.daemon("node1");
    daemon.signal(Signal::SIGSTOP)?;
    let mut streams = Vec::new();
    for _ in 0..COUNT {
        // The kernel says that they are connected; nobody has accepted them.
        let mut stream = client.connect(server.at(echo.port()))?;
        stream.write_all(b"queued")?;
        streams.push(stream);
    }
    daemon.signal(Signal::SIGTERM)?;
    daemon.signal(Signal::SIGCONT)?;
    for stream in &mut streams {
        let mut heard = [0; 6];
        stream.read_exact(&mut heard)?;
        assert_eq!(&heard, b"queued");
    }
    // While those live the daemon does, and tells newcomers at once: in its queue they would wait for its end.
    let late = client.connect(server.at(echo.port())).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.read(&mut [0])
    });
    assert_eq!(late.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    drop(streams);
    assert!(daemon.terminate(Duration::from_secs(10))?.is_some_and(|status| status.success()));
    Ok(())
}
