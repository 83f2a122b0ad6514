//! Daemons that are killed under load, and those that come after them.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::calls::{exchange, opened, outbound, seen, shop, until_served};
use harness::{LabError, Marker, Mesh, Pod, Stack, eventually, serve};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

#[test]
fn a_daemon_killed_under_load_leaks_nothing_and_the_next_serves_within_a_second() -> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(killed_under_load)
}

fn killed_under_load(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let echoes = [server.serve(0, serve::echo())?, near.serve(0, serve::echo())?];
    let mut targets: Vec<SocketAddr> = server.ips().iter().map(|ip| (*ip, echoes[0].port()).into()).collect();
    targets.push(near.at(echoes[1].port()));
    let rules = client.sh("nft list ruleset")?;
    let (marker, capture) = (Marker::random()?, mesh.capture()?);
    for node in ["node1", "node2"] {
        let load = Load { over: AtomicBool::new(false), served: AtomicUsize::new(0) };
        std::thread::scope(|scope| {
            for target in &targets {
                scope.spawn(|| load.call(&client, *target, &marker));
            }
            let outcome = load.wait_for_calls(50).and_then(|()| killed_and_run(&mesh, node, &load));
            load.over.store(true, Ordering::Relaxed);
            outcome
        })?;
    }
    // The rules hold a mark that is random for each enrolment: it is the one of the first.
    assert_eq!(client.sh("nft list ruleset")?, rules, "the pod was found again, not captured anew");
    let packets = capture.stop(&mesh)?;
    assert_eq!(packets.holding(marker.as_bytes()), 0, "plaintext left a node");
    assert!(seen(&packets.of_port(15008), &client, &server, &marker).1 > 100, "there was a load");
    Ok(())
}

#[test]
fn both_daemons_may_be_restarted_at_once() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(both_restarted)
}

fn both_restarted(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    opened(&client, server.at(echo.port()))?;
    for daemon in mesh.daemons() {
        assert!(daemon.terminate(Duration::from_secs(20))?.is_some_and(|it| it.success()));
    }
    assert!(opened(&client, server.at(echo.port())).is_err(), "nothing is served while no daemon runs");
    mesh.daemons().iter().try_for_each(harness::Daemon::run)?;
    mesh.wait_settled()?;
    let local = opened(&client, server.at(echo.port()))?.local_addr()?;
    assert_eq!(outbound(mesh.daemon("node1"), local)?.path, "hbone");
    Ok(())
}

#[test]
fn a_daemon_that_starts_without_a_ca_fails_closed_until_there_is_one() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(without_a_ca)
}

fn without_a_ca(stack: Stack) -> Result<(), LabError> {
    let mut mesh = Mesh::up(&shop(stack))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    let (marker, capture) = (Marker::random()?, mesh.capture()?);
    mesh.kill_ca()?;
    mesh.daemon("node1").kill()?;
    mesh.daemon("node1").run()?;
    mesh.wait_settled()?;
    let (local, stream) = client.attempt(server.at(echo.port()))?;
    let sent = stream.and_then(|mut stream| {
        stream.write_all(&marker.payload(10_000))?;
        exchange(&mut stream)
    });
    assert!(sent.is_err());
    let error = outbound(mesh.daemon("node1"), local)?.error.unwrap_or_default();
    assert!(error.contains("certificate"), "{error}");
    mesh.restart_ca()?;
    until_served("with a CA there are certificates", &client, server.at(echo.port()))?;
    assert_eq!(capture.stop(&mesh)?.holding(marker.as_bytes()), 0);
    Ok(())
}

#[test]
fn a_daemon_that_has_not_read_its_mesh_lives_and_is_not_ready() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let (client, server, daemon) = (mesh.pod("shop/client"), mesh.pod("shop/server"), mesh.daemon("node1"));
    let echo = server.serve(0, serve::echo())?;
    daemon.kill()?;
    // The manifests are in a pipe, which nobody writes to yet.
    let pipe = mesh.folder().join("mesh.yaml");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).map_err(std::io::Error::from)?;
    let mut config: Value = serde_json::from_str(&fs::read_to_string(daemon.config_file())?).expect("JSON");
    config["source"]["manifests"] = json!(pipe);
    fs::write(daemon.config_file(), config.to_string())?;
    daemon.run()?;
    let lives = eventually("it answers", || Ok(daemon.get("/healthz/live").ok()))?;
    assert_eq!(lives.status, 200);
    let waits = daemon.get("/healthz/ready")?;
    assert_eq!((waits.status, waits.body.contains("waiting for: mesh")), (503, true), "{}", waits.body);
    assert!(opened(&client, server.at(echo.port())).is_err(), "nobody says who may be called");

    let files = fs::read_dir(mesh.manifests())?.map(|entry| fs::read_to_string(entry?.path()));
    fs::write(&pipe, files.collect::<Result<Vec<_>, _>>()?.join("\n---\n"))?;
    daemon.wait_ready()?;
    assert_eq!(daemon.get("/healthz/live")?.status, 200);
    until_served("the mesh is known", &client, server.at(echo.port()))
}

/// Calls without end.
struct Load {
    over: AtomicBool,
    served: AtomicUsize,
}

impl Load {
    fn call(&self, from: &Pod, to: SocketAddr, marker: &Marker) {
        let payload = marker.payload(2000);
        while !self.over.load(Ordering::Relaxed) {
            let called = from.connect(to).and_then(|mut stream| {
                stream.set_read_timeout(Some(Duration::from_millis(200)))?;
                stream.write_all(&payload)?;
                exchange(&mut stream)
            });
            if called.is_ok() {
                self.served.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn wait_for_calls(&self, count: usize) -> Result<(), LabError> {
        let before = self.served.load(Ordering::Relaxed);
        eventually("calls are served", || {
            Ok((self.served.load(Ordering::Relaxed) >= before + count).then_some(()))
        })
    }
}

/// Kills a node's daemon, and holds the next to a second.
fn killed_and_run(mesh: &Mesh, node: &str, load: &Load) -> Result<(), LabError> {
    let daemon = mesh.daemon(node);
    daemon.kill()?;
    let before = load.served.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(500));
    let served = load.served.load(Ordering::Relaxed) - before;
    // One call of each may have been on its way back.
    assert!(node != "node1" || served <= 3, "{served} calls were served by nobody");
    let began = Instant::now();
    daemon.run()?;
    mesh.wait_settled()?;
    load.wait_for_calls(10)?;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "the next daemon of {node} served after {took:?}");
    load.wait_for_calls(50)
}
