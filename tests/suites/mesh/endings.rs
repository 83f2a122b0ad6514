//! However a connection goes on and ends, both applications see what they would see without a mesh.

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use e2e::calls::shop;
use harness::serve::Handler;
use harness::{LabError, Mesh, PATIENCE, Pod, Stack};
use socket2::SockRef;

/// What each side does, and tells of what it saw.
struct Script {
    name: &'static str,
    client: Part,
    server: Part,
}

type Part = fn(&TcpStream, &Held) -> io::Result<String>;

/// Whether one side is held up, as the other one waits for.
#[derive(Default)]
struct Held {
    is_held: Mutex<bool>,
    changed: Condvar,
}

impl Held {
    fn tell(&self) {
        *self.is_held.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn wait(&self) -> io::Result<()> {
        let is_held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(is_held, PATIENCE, |it| !*it);
        let (is_held, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *is_held { Ok(()) } else { Err(ErrorKind::TimedOut.into()) }
    }
}

#[test]
fn connections_end_as_they_do_without_a_mesh() -> Result<(), LabError> {
    play_all(Stack::V4)
}

#[test]
fn connections_over_ipv6_end_as_they_do_without_a_mesh() -> Result<(), LabError> {
    play_all(Stack::V6)
}

fn play_all(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let pod = &|name: &str| mesh.pod(name);
    for script in SCRIPTS {
        let pairs = std::iter::once(("legacy/batch", "legacy/printer")).chain(PATHS);
        let seen = std::thread::scope(|scope| {
            let plays = pairs.map(|(from, to)| scope.spawn(move || play(script, &pod(from), &pod(to))));
            let plays: Vec<_> = plays.collect();
            plays.into_iter().map(|it| it.join().expect("no play panics")).collect::<Result<Vec<_>, _>>()
        })?;
        for ((from, to), meshed) in PATHS.iter().zip(&seen[1..]) {
            assert_eq!(*meshed, seen[0], "{} from {from} to {to}", script.name);
        }
    }
    Ok(())
}

#[test]
fn a_port_where_nobody_listens_refuses_at_once() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::Dual))?;
    for (from, to) in PATHS {
        for ip in mesh.pod(to).ips() {
            let began = Instant::now();
            let heard = mesh.pod(from).connect((*ip, 9).into()).and_then(|mut it| it.read(&mut [0]));
            assert!(heard.is_err(), "{heard:?}");
            // A SYN that is not answered is sent again after a second.
            let took = began.elapsed();
            assert!(took < Duration::from_millis(900), "{from} was refused by {to} after {took:?}");
        }
    }
    // Of two addresses each: three ways out; within the node, and from outside of the mesh and by tunnel on the other.
    for (node, reporter, failed) in
        [("node1", "source", 6.0), ("node1", "destination", 2.0), ("node2", "destination", 4.0)]
    {
        let flags = [("reporter", reporter), ("response_flags", "CONNECT")];
        let daemon = mesh.daemon(node);
        daemon.wait_metric("istio_tcp_connections_failed_total", &flags, |count| count == failed)?;
    }
    Ok(())
}

/// Between nodes and within one by the mesh, out of it, and into it.
const PATHS: [(&str, &str); 4] = [
    ("shop/client", "shop/server"),
    ("shop/client", "shop/near"),
    ("shop/client", "legacy/printer"),
    ("legacy/batch", "shop/server"),
];

const SCRIPTS: &[Script] = &[
    Script {
        name: "the server resets",
        client: |mut it, _| told(it.write_all(b"x").and_then(|()| it.read(&mut [0]))),
        server: |mut it, _| reset(it, it.read_exact(&mut [0])),
    },
    Script {
        name: "the client resets",
        client: |mut it, _| reset(it, it.write_all(b"x").and_then(|()| it.read_exact(&mut [0]))),
        server: |mut it, _| {
            told(it.read_exact(&mut [0]).and_then(|()| it.write_all(b"y")).and_then(|()| it.read(&mut [0])))
        },
    },
    Script {
        name: "the server resets after the client has ended",
        client: |mut it, _| {
            told(
                it.write_all(b"x")
                    .and_then(|()| it.shutdown(Shutdown::Write))
                    .and_then(|()| it.read(&mut [0])),
            )
        },
        server: |mut it, _| reset(it, it.read_to_end(&mut Vec::new())),
    },
    Script {
        name: "the client resets after the server has ended",
        client: |mut it, _| reset(it, it.write_all(b"x").and_then(|()| it.read_to_end(&mut Vec::new()))),
        server: |mut it, _| {
            told(
                it.read_exact(&mut [0])
                    .and_then(|()| it.shutdown(Shutdown::Write))
                    .and_then(|()| it.read(&mut [0])),
            )
        },
    },
    Script {
        name: "the server closes with bytes unread",
        client: |mut it, _| told(it.write_all(&[0; 1000]).and_then(|()| it.read_to_end(&mut Vec::new()))),
        // So many bytes are there when a byte of them has come: they are one segment.
        server: |mut it, _| told(it.read_exact(&mut [0])),
    },
    Script {
        name: "the client closes with bytes unread",
        client: |mut it, _| told(it.write_all(b"x").and_then(|()| it.read_exact(&mut [0]))),
        server: |mut it, _| {
            told(
                it.read_exact(&mut [0])
                    .and_then(|()| it.write_all(&[0; 1000]))
                    .and_then(|()| it.read(&mut [0])),
            )
        },
    },
    Script {
        name: "the client writes on after the server has closed",
        client: |mut it, _| {
            it.write_all(b"x")?;
            let end = it.read(&mut [0])?;
            Ok(format!("{end} bytes, then {}", write_until_refused(it)))
        },
        server: |mut it, _| told(it.read_exact(&mut [0])),
    },
    Script {
        name: "the server ends first and reads on",
        client: |mut it, _| {
            let heard = it.read_to_end(&mut Vec::new())?;
            it.write_all(&[7; 1 << 20])?;
            it.shutdown(Shutdown::Write)?;
            Ok(format!("{heard} bytes"))
        },
        server: |mut it, _| {
            told(
                it.write_all(b"bye")
                    .and_then(|()| it.shutdown(Shutdown::Write))
                    .and_then(|()| it.read_to_end(&mut Vec::new())),
            )
        },
    },
    Script {
        name: "both end at once",
        client: |mut it, _| {
            told(
                it.write_all(b"x")
                    .and_then(|()| it.shutdown(Shutdown::Write))
                    .and_then(|()| it.read_to_end(&mut Vec::new())),
            )
        },
        server: |mut it, _| {
            told(
                it.write_all(b"yz")
                    .and_then(|()| it.shutdown(Shutdown::Write))
                    .and_then(|()| it.read_to_end(&mut Vec::new())),
            )
        },
    },
    Script {
        name: "the client resets behind its end, and the server is silent",
        client: |it, _| reset(it, ended_and_seen(it)),
        server: silent_behind_the_end,
    },
    Script {
        name: "the server resets behind its end, and the client is silent",
        client: silent_behind_the_end,
        server: |it, _| reset(it, ended_and_seen(it)),
    },
    Script {
        name: "the client closes with bytes unread behind its end, and the server is silent",
        client: |it, _| told(ended_and_seen(it)),
        server: silent_behind_the_end,
    },
    Script {
        name: "the server closes with bytes unread behind its end, and the client is silent",
        client: silent_behind_the_end,
        server: |it, _| told(ended_and_seen(it)),
    },
    Script {
        name: "nothing is said at all",
        client: |mut it, _| told(it.shutdown(Shutdown::Write).and_then(|()| it.read(&mut [0]))),
        server: |mut it, _| told(it.read(&mut [0])),
    },
    Script {
        name: "a server that rests holds the client up, and gets everything",
        client: write_to_one_that_rests,
        server: rest_and_read,
    },
    Script {
        name: "a client that rests holds the server up, and gets everything",
        client: rest_and_read,
        server: write_to_one_that_rests,
    },
    Script {
        name: "the client resets while the server does not read",
        client: |it, held| reset(it, held_up(it, held)),
        server: rest_and_read,
    },
    Script {
        name: "the server resets while the client does not read",
        client: rest_and_read,
        server: |it, held| reset(it, held_up(it, held)),
    },
    Script {
        name: "the server resets while it is written to and does not read",
        client: write_to_one_that_resets,
        server: |it, held| reset(it, held.wait()),
    },
    Script {
        name: "the client resets while it is written to and does not read",
        client: |it, held| reset(it, held.wait()),
        server: write_to_one_that_resets,
    },
];

/// Writes until nothing more is taken: the other end's window is shut, and so are all on the way. How much went out.
fn held_up(mut stream: &TcpStream, held: &Held) -> io::Result<usize> {
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let block = [7; 64 << 10];
    let mut sent = 0;
    while sent <= HELD_AT_MOST {
        match stream.write(&block) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                held.tell();
                return Ok(sent);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("nobody held the writer up"))
}

/// Ends its half, and has the word of the other side that it saw the end: the first of bytes that came together.
fn ended_and_seen(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.read_exact(&mut [0])
}

/// Says when it has seen the end, and neither reads nor writes from then on: how it learns that the connection failed.
fn silent_behind_the_end(mut stream: &TcpStream, _: &Held) -> io::Result<String> {
    stream.read_to_end(&mut Vec::new())?;
    stream.write_all(&[0; 1000])?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok("it never fails".to_owned())
}

fn write_to_one_that_rests(mut stream: &TcpStream, held: &Held) -> io::Result<String> {
    let sent = held_up(stream, held)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.shutdown(Shutdown::Write)?;
    let mut counted = String::new();
    stream.read_to_string(&mut counted)?;
    Ok(format!("all arrived: {}", counted == sent.to_string()))
}

fn rest_and_read(mut stream: &TcpStream, held: &Held) -> io::Result<String> {
    held.wait()?;
    let count = io::copy(&mut { stream }, &mut io::sink())?;
    stream.write_all(count.to_string().as_bytes())?;
    Ok("read".to_owned())
}

fn write_to_one_that_resets(stream: &TcpStream, held: &Held) -> io::Result<String> {
    held_up(stream, held)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let refused = { stream }.write_all(&[7; HELD_AT_MOST]).map_err(|error| error.kind());
    Ok(format!("{refused:?}"))
}

/// More than kernel and mesh may hold between two applications.
const HELD_AT_MOST: usize = 64 << 20;

fn play(script: &Script, client: &Pod, server: &Pod) -> Result<[String; 2], LabError> {
    let (sender, told) = channel();
    let (play, held) = (script.server, Arc::new(Held::default()));
    let theirs = held.clone();
    let serving = server.serve(
        0,
        Handler::each(move |stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            let _nobody_asks = sender.send(play(stream, &theirs));
            Ok(())
        }),
    )?;
    let stream = client.connect(server.at(serving.port()))?;
    let seen = saw((script.client)(&stream, &held));
    drop(stream);
    let theirs = told.recv_timeout(PATIENCE).map_err(io::Error::other)?;
    Ok([seen, saw(theirs)])
}

/// Does not end but reset a connection.
fn reset<T>(stream: &TcpStream, before: io::Result<T>) -> io::Result<String> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    before.map(|_| "reset".to_owned())
}

fn told<T: Debug>(outcome: io::Result<T>) -> io::Result<String> {
    outcome.map(|value| format!("{value:?}"))
}

fn saw(outcome: io::Result<String>) -> String {
    outcome.unwrap_or_else(|error| format!("{:?}", error.kind()))
}

/// What a writer is told in the end: that it is not read, as a reset or a broken pipe.
fn write_until_refused(mut stream: &TcpStream) -> &'static str {
    let refusals = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    for _ in 0..500 {
        match stream.write(b"x") {
            Ok(_) => std::thread::sleep(Duration::from_millis(10)),
            Err(error) if refusals.contains(&error.kind()) => return "it is refused",
            Err(_) => return "it fails otherwise",
        }
    }
    "nobody says so"
}
