//! The daemon of the server's node ends, hangs, or does not answer, while clients of other nodes call.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use e2e::calls::{exchange, opened, outbound, refused, shop};
use harness::serve::Server;
use harness::{
    Cluster, LabError, Mesh, MeshOptions, PATIENCE, Pod, PodSpec, ServiceSpec, Stack, eventually, serve,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Where servers serve.
const PORT: u16 = 8080;

/// How long a peer may be silent: two looks at it ten seconds apart, and twenty for its answer. With time to spare.
const SWALLOWED: Duration = Duration::from_secs(60);

/// The pods of the Service, which are on `node2` and `node3`.
const WEBS: [&str; 2] = ["web-1", "web-2"];

#[test]
fn the_servers_daemon_lets_streams_end_and_no_new_call_is_lost_when_it_is_told_to_end() -> Result<(), LabError>
{
    [Stack::V4, Stack::V6].into_iter().try_for_each(drained)
}

fn drained(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&pair(stack))?;
    let _servers = serve_names(&mesh)?;
    let (client, service) = (mesh.pod("shop/client"), service(stack));
    let daemon = mesh.daemon("node2");
    let mut live = Vec::new();
    while live.len() < 20 {
        let (name, stream) = named(&client, service)?;
        live.extend((name == "web-1").then_some(stream));
    }
    let load = Load::default();
    std::thread::scope(|scope| {
        let callers = [(); 4].map(|()| scope.spawn(|| load.call(&client, service)));
        let ended = (|| {
            load.wait_for_calls(50)?;
            daemon.signal(Signal::SIGTERM)?;
            eventually("what is new goes to the other node", || {
                let names =
                    (0..20).map(|_| Ok(named(&client, service)?.0)).collect::<io::Result<Vec<_>>>()?;
                Ok(names.iter().all(|name| name == "web-2").then_some(()))
            })?;
            load.wait_for_calls(50)?;
            // Nothing of what was there has been touched.
            live.iter_mut().try_for_each(exchange)?;
            assert!(daemon.pid().is_some(), "it waits for them");
            drop(live);
            let status = daemon.terminate(Duration::from_secs(10))?;
            assert!(status.is_some_and(|status| status.success()));
            // Nobody is there any more: the pod's rules stay, and their ports are closed.
            load.wait_for_calls(50)
        })();
        load.over.store(true, Ordering::Relaxed);
        callers.into_iter().for_each(|it| it.join().expect("a caller does not panic"));
        ended
    })?;
    let lost = load.lost.into_inner().expect("no caller panics");
    assert!(lost.is_empty(), "{} of {} calls were lost: {lost:?}", lost.len(), load.served.into_inner());
    Ok(())
}

#[test]
fn what_is_left_when_the_servers_daemon_has_drained_is_reset_and_both_ends_have_it_on_record()
-> Result<(), LabError> {
    const COUNT: usize = 20;
    let nodes = [("node2".to_owned(), json!({ "timeouts": { "drain": "1s" } }))].into();
    let mesh = Mesh::with(&shop(Stack::V4), &MeshOptions { nodes, ..MeshOptions::default() })?;
    let server = mesh.pod("shop/server");
    let _echo = server.serve(PORT, serve::echo())?;
    // In a tunnel, and in plaintext from outside of the mesh.
    let clients = ["shop/client", "legacy/batch"].map(|name| mesh.pod(name));
    let mut streams = Vec::new();
    for at in 0..COUNT {
        streams.push(opened(&clients[at % clients.len()], server.at(PORT))?);
    }
    let daemon = mesh.daemon("node2");
    assert!(daemon.terminate(PATIENCE)?.is_some_and(|status| status.success()));
    let ends = streams.iter_mut().map(|stream| stream.read(&mut [0]).map_err(|error| error.kind()));
    let kinds: Vec<_> = ends.collect();
    let reset = kinds.iter().filter(|end| **end == Err(ErrorKind::ConnectionReset)).count();
    assert_eq!(reset, COUNT, "an end would say that all is well: {kinds:?}");
    let records = daemon.records()?;
    let said = |error: &String| error.contains("the daemon ends");
    let told = records.iter().filter(|it| it.direction == "inbound" && it.error.as_ref().is_some_and(said));
    assert_eq!(told.count(), COUNT);
    for stream in streams.iter().step_by(clients.len()) {
        let record = outbound(mesh.daemon("node1"), stream.local_addr()?)?;
        assert!(record.error.as_ref().is_some_and(|error| error.starts_with("tunnel ended")), "{record:?}");
    }
    Ok(())
}

#[test]
fn a_peer_that_does_not_answer_a_request_is_given_up_for_the_next_endpoint() -> Result<(), LabError> {
    let mesh = Mesh::with(&pair(Stack::V4), &impatient())?;
    let _servers = serve_names(&mesh)?;
    let (client, silent) = (mesh.pod("shop/client"), mesh.pod("shop/web-1"));
    let daemon = mesh.daemon("node1");
    // The daemon of its node waits for an application that never says a word.
    for rule in [
        "add table inet mute",
        "add chain inet mute in '{ type filter hook input priority 0; }'",
        "add rule inet mute in tcp dport 8080 drop",
    ] {
        silent.sh(&format!("nft {rule}"))?;
    }
    let given_up = || {
        let failures =
            daemon.scrape()?.sum("ambient_dials_total", &[("path", "hbone"), ("outcome", "timeout")]);
        Ok::<_, LabError>(failures.is_some_and(|count| count > 0.0))
    };
    eventually("the silent one is tried", || {
        assert_eq!(named(&client, service(Stack::V4))?.0, "web-2");
        Ok(given_up()?.then_some(()))
    })?;
    // Where there is no other, the client is told.
    let record = refused(daemon, &client, silent.at(PORT))?;
    assert_eq!(record.error.as_deref(), Some("peer did not answer the request within 1s"));
    assert_eq!((record.path.as_str(), record.destination_workload.as_deref()), ("hbone", Some("web-1")));
    let theirs = mesh.daemon("node2").wait_record(|it| it.joins("client", "web-1") && it.error.is_some())?;
    assert_eq!(theirs.direction, "inbound");
    Ok(())
}

#[test]
fn a_daemon_that_hangs_costs_new_calls_a_moment_and_live_ones_nothing() -> Result<(), LabError> {
    let mesh = Mesh::with(&pair(Stack::V4), &impatient())?;
    let _servers = serve_names(&mesh)?;
    let client = mesh.pod("shop/client");
    let hung = mesh.pod("shop/web-1");
    let (_, mut live) = named(&client, hung.at(PORT))?;
    let daemon = mesh.daemon("node2");
    daemon.signal(Signal::SIGSTOP)?;
    let outcome = (|| {
        // In the tunnel that is there it does not answer the request; nor a handshake, where another worker has none.
        let error = refused(mesh.daemon("node1"), &client, hung.at(PORT))?.error.unwrap_or_default();
        assert!(error.ends_with("within 1s"), "{error}");
        for _ in 0..5 {
            assert_eq!(named(&client, service(Stack::V4))?.0, "web-2");
        }
        Ok::<_, LabError>(())
    })();
    daemon.signal(Signal::SIGCONT)?;
    outcome?;
    exchange(&mut live)?;
    eventually("it serves again", || Ok(named(&client, hung.at(PORT)).ok()))?;
    Ok(())
}

#[test]
fn what_the_network_swallows_is_reset_at_both_ends_and_new_calls_are_served_when_it_is_mended()
-> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::Dual))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let (sender, told) = channel();
    let handler = serve::Handler::each(move |mut app| {
        app.write_all(b"x")?;
        app.set_read_timeout(Some(SWALLOWED))?;
        let end = app.read(&mut [0]).map_err(|error| error.kind());
        sender.send(end).map_err(io::Error::other)
    });
    let serving = server.serve(PORT, handler)?;
    let call = |ip: &IpAddr| {
        let mut stream = client.connect((*ip, PORT).into())?;
        stream.read_exact(&mut [0])?;
        Ok::<_, io::Error>(stream)
    };
    let mut live = server.ips().iter().map(call).collect::<Result<Vec<_>, _>>()?;
    let node = mesh.node("node2");
    for rule in [
        "add table inet hole",
        "add chain inet hole forward '{ type filter hook forward priority 0; }'",
        "add rule inet hole forward tcp dport 15008 drop",
        "add rule inet hole forward tcp sport 15008 drop",
    ] {
        node.sh(&format!("nft {rule}"))?;
    }
    let began = Instant::now();
    for stream in &mut live {
        // Nobody says a word, and so nobody hears that it is lost.
        stream.set_read_timeout(Some(SWALLOWED))?;
        let end = stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "after {:?}", began.elapsed());
        let end = told.recv_timeout(SWALLOWED).map_err(io::Error::other)?;
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "after {:?}", began.elapsed());
        let error = outbound(mesh.daemon("node1"), stream.local_addr()?)?.error.unwrap_or_default();
        assert!(error.contains("did not answer a ping within 20s"), "{error}");
    }
    node.sh("nft delete table inet hole")?;
    for ip in server.ips() {
        eventually("new calls are served", || Ok(call(ip).ok()))?;
    }
    drop(serving);
    Ok(())
}

/// Calls of the Service without end.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    served: AtomicUsize,
    lost: Mutex<Vec<io::Error>>,
}

impl Load {
    fn call(&self, from: &Pod, to: SocketAddr) {
        while !self.over.load(Ordering::Relaxed) {
            match named(from, to).and_then(|(_, mut stream)| exchange(&mut stream)) {
                Ok(()) => _ = self.served.fetch_add(1, Ordering::Relaxed),
                Err(error) => self.lost.lock().expect("no caller panics").push(error),
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

/// The usual pods, and a Service of two, each on a node of its own.
fn pair(stack: Stack) -> Cluster {
    let mut cluster = shop(stack);
    cluster.node("node3");
    for (name, node) in WEBS.into_iter().zip(["node2", "node3"]) {
        cluster.pod(PodSpec::new("shop", name).node(node).label("app", "web"));
    }
    cluster.service(ServiceSpec::new("shop", "web").port(80, PORT));
    cluster
}

/// Where that Service is.
fn service(stack: Stack) -> SocketAddr {
    match stack {
        Stack::V6 => ([0xfd00, 0x96, 0, 0, 0, 0, 0, 1], 80).into(),
        Stack::V4 | Stack::Dual => ([10, 96, 0, 1], 80).into(),
    }
}

/// The client's daemon waits a second for whatever it waits for.
fn impatient() -> MeshOptions {
    let config: Value = json!({ "timeouts": { "connect": "1s", "handshake": "1s", "request": "1s" } });
    MeshOptions { nodes: [("node1".to_owned(), config)].into(), ..MeshOptions::default() }
}

/// Has each pod of the Service say its name, and then echo.
fn serve_names(mesh: &Mesh) -> Result<Vec<Server>, LabError> {
    WEBS.iter().map(|name| mesh.pod(&format!("shop/{name}")).serve(PORT, serve::banner(*name))).collect()
}

/// A connection, and who has said his name in it.
fn named(from: &Pod, to: SocketAddr) -> io::Result<(String, TcpStream)> {
    let mut stream = from.connect(to)?;
    let mut name = [0; 5];
    stream.read_exact(&mut name)?;
    Ok((String::from_utf8_lossy(&name).into_owned(), stream))
}
