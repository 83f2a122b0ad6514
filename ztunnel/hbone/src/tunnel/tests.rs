//! Two ends of a tunnel with applications behind them.

mod expiry;
mod fairness;
mod nested;
mod stalling;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use socket2::Socket as RawSocket;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use super::*;
use crate::h2::{ConnectResponse, ErrorCode};
use crate::record::tests::{Mesh, both_ours, both_over, socket_pair};
use crate::relay::tests::Count;

/// An application's socket, and the end that the relay gets.
fn app() -> (UnixStream, Socket) {
    let (theirs, ours) = UnixStream::pair().unwrap();
    (theirs, Socket::new(RawSocket::from(std::os::fd::OwnedFd::from(ours))).unwrap())
}

/// Runs `test` with a client's tunnel whose server answers 200 and joins each stream to what `application` does.
fn with_tunnel<T>(
    application: impl Fn(UnixStream) + Clone + Send + 'static,
    test: impl AsyncFnOnce(Tunnel) -> T,
) -> T {
    with_connection(async || both_ours(&Mesh::new()).await, application, test)
}

/// [`with_tunnel`], over a connection of the caller's.
fn with_connection<T>(
    connect: impl AsyncFnOnce() -> (Established, Established),
    application: impl Fn(UnixStream) + Clone + Send + 'static,
    test: impl AsyncFnOnce(Tunnel) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (client, server) = connect().await;
        let buffers = Buffers::new();
        let client = Tunnel::client(client, Limits::default(), Timing::default(), buffers.clone());
        let server = Tunnel::server(server, Limits::default(), Timing::default(), buffers);
        spawn_local(drive(client.clone(), |_| {}));
        spawn_local(drive(server, move |Request { mut stream, request }| {
            if &*request.authority != "app:1" {
                return stream.refuse(&ConnectResponse::new(503));
            }
            stream.respond(&ConnectResponse::new(200));
            let (theirs, ours) = app();
            let application = application.clone();
            std::thread::spawn(move || application(theirs));
            spawn_local(async move { stream.relay(ours, Rc::new(Count::default())).await });
        }));
        test(client).await
    })
}

fn echo(mut app: UnixStream) {
    let mut buffer = vec![0; 100_000];
    while let Ok(count @ 1..) = app.read(&mut buffer) {
        app.write_all(&buffer[..count]).unwrap();
    }
}

async fn open(tunnel: &Tunnel, authority: &str) -> (Stream, u16) {
    let mut stream = tunnel.open(&ConnectRequest::new(authority)).unwrap();
    let status = stream.response().await.unwrap().status;
    (stream, status)
}

/// Joins a stream to a client that runs on a thread.
async fn call<T: Send + 'static>(
    tunnel: &Tunnel,
    client: impl FnOnce(UnixStream) -> T + Send + 'static,
) -> (Result<(), RelayError>, JoinHandle<T>, Rc<Count>) {
    let (stream, status) = open(tunnel, "app:1").await;
    assert_eq!(status, 200);
    let (theirs, ours) = app();
    let thread = std::thread::spawn(move || client(theirs));
    let count = Rc::new(Count::default());
    (stream.relay(ours, count.clone()).await, thread, count)
}

#[test]
fn bytes_go_both_ways_and_the_end_is_carried() {
    let (result, thread, count) = with_tunnel(echo, async |tunnel| {
        call(&tunnel, |mut app| {
            app.write_all(b"hello").unwrap();
            app.shutdown(Shutdown::Write).unwrap();
            let mut all = String::new();
            app.read_to_string(&mut all).unwrap();
            all
        })
        .await
    });
    result.unwrap();
    assert_eq!(thread.join().unwrap(), "hello");
    assert_eq!((count.sent.get(), count.received.get()), (5, 5));
}

#[test]
fn bulk_arrives_unchanged_in_both_directions_at_once() {
    const LENGTH: usize = 48 << 20;
    let pattern = |at: usize| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0];
    let (result, thread, _) = with_tunnel(echo, async move |tunnel| {
        call(&tunnel, move |app| {
            let mut reader = app.try_clone().unwrap();
            let writer = std::thread::spawn(move || {
                let mut app = app;
                let bytes: Vec<u8> = (0..LENGTH).map(pattern).collect();
                app.write_all(&bytes).unwrap();
                app.shutdown(Shutdown::Write).unwrap();
            });
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            writer.join().unwrap();
            all
        })
        .await
    });
    result.unwrap();
    let all = thread.join().unwrap();
    assert_eq!(all.len(), LENGTH);
    assert!(all.iter().enumerate().all(|(at, byte)| *byte == pattern(at)));
}

#[test]
fn a_slow_reader_holds_up_itself_only() {
    with_tunnel(echo, async |tunnel| {
        let (stream, _) = open(&tunnel, "app:1").await;
        let (mut slow, ours) = app();
        let relay = spawn_local(stream.relay(ours, Rc::new(Count::default())));
        let writer = std::thread::spawn(move || {
            // Echoed, and never read: both directions fill up.
            slow.set_nonblocking(false).unwrap();
            slow.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            let full = loop {
                if let Err(error) = slow.write(&[7; 65536]) {
                    break error.kind();
                }
            };
            (slow, full)
        });
        let (result, thread, _) = call(&tunnel, |mut app| {
            app.write_all(&[1; 1 << 20]).unwrap();
            app.shutdown(Shutdown::Write).unwrap();
            let mut all = Vec::new();
            app.read_to_end(&mut all).unwrap().to_string()
        })
        .await;
        result.unwrap();
        assert_eq!(thread.join().unwrap(), (1 << 20).to_string());
        while !writer.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (slow, full) = writer.join().unwrap();
        assert_eq!(full, io::ErrorKind::WouldBlock);
        drop(slow);
        assert!(relay.await.unwrap().is_err(), "unread bytes are lost by a close, which both sides are told");
    });
}

#[test]
fn an_application_that_goes_without_reading_resets_the_peers_connection() {
    let result = with_tunnel(
        |mut app| {
            let mut first = [0];
            app.read_exact(&mut first).unwrap();
            // What is left unread makes the close a reset.
        },
        async |tunnel| {
            let (result, thread, _) = call(&tunnel, |mut app| {
                app.write_all(&[1; 100_000]).unwrap();
                app.read_to_end(&mut Vec::new()).map(drop)
            })
            .await;
            let _closed_or_reset = thread.join().unwrap();
            result
        },
    );
    assert!(matches!(result, Err(RelayError::Reset(code)) if code == ErrorCode::CANCEL), "{result:?}");
}

/// Ends its half with a byte unread, and closes the connection once the other side has seen the end: a reset.
fn reset_behind_the_end(mut app: &UnixStream, seen: &Receiver<()>) {
    app.read_exact(&mut [0]).unwrap();
    app.shutdown(Shutdown::Write).unwrap();
    seen.recv().unwrap();
}

/// Has the other side leave a byte unread and end its half, and says nothing from then on.
fn silent_behind_the_end(mut app: &UnixStream, seen: &Sender<()>) {
    app.write_all(b"xy").unwrap();
    assert_eq!(app.read(&mut [0]).unwrap(), 0);
    seen.send(()).unwrap();
}

#[test]
fn a_reset_behind_an_end_is_noticed_while_the_peer_is_silent() {
    let ((sender, receiver), (keep, kept)) = (channel(), channel());
    let application = move |app| {
        silent_behind_the_end(&app, &sender);
        keep.send(app).unwrap();
    };
    let result = with_tunnel(application, async |tunnel| {
        let called = call(&tunnel, move |app| reset_behind_the_end(&app, &receiver));
        timeout(Duration::from_secs(20), called).await.expect("nobody says anything any more").0
    });
    assert!(matches!(result, Err(RelayError::App(_))), "{result:?}");
    drop(kept);
}

#[test]
fn a_peers_reset_behind_its_end_reaches_an_application_that_is_silent() {
    let (sender, receiver) = channel();
    let receiver = Arc::new(Mutex::new(receiver));
    let application = move |app| reset_behind_the_end(&app, &receiver.lock().unwrap());
    let result = with_tunnel(application, async |tunnel| {
        let called = call(&tunnel, move |app| {
            silent_behind_the_end(&app, &sender);
            app
        });
        timeout(Duration::from_secs(20), called).await.expect("nobody says anything any more").0
    });
    assert!(matches!(result, Err(RelayError::Reset(ErrorCode::CANCEL))), "{result:?}");
}

#[test]
fn a_refused_stream_says_why_and_leaves_the_tunnel_as_it_is() {
    with_tunnel(echo, async |tunnel| {
        let (refused, status) = open(&tunnel, "nobody:1").await;
        assert_eq!(status, 503);
        drop(refused);
        let (_stream, status) = open(&tunnel, "app:1").await;
        assert_eq!(status, 200);
        assert_eq!(tunnel.stream_count(), 1);
    });
}

#[test]
fn a_thousand_streams_share_a_tunnel() {
    with_tunnel(echo, async |tunnel| {
        let mut threads = Vec::new();
        let mut relays = Vec::new();
        for _ in 0..1000 {
            while !tunnel.can_open() {
                tokio::task::yield_now().await;
            }
            let (stream, status) = open(&tunnel, "app:1").await;
            assert_eq!(status, 200);
            let (mut theirs, ours) = app();
            relays.push(spawn_local(stream.relay(ours, Rc::new(Count::default()))));
            if threads.len() < 50 {
                threads.push(std::thread::spawn(move || {
                    for round in 0..100_u8 {
                        theirs.write_all(&[round; 300]).unwrap();
                        let mut back = [0; 300];
                        theirs.read_exact(&mut back).unwrap();
                        assert_eq!(back, [round; 300]);
                    }
                }));
            }
        }
        for relay in relays {
            relay.await.unwrap().unwrap();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(tunnel.stream_count(), 0);
    });
}

/// What goes in by the stream comes back from the echo at its other end, up to the end of both directions.
async fn serves_to_its_end(stream: Stream) {
    let (mut theirs, ours) = app();
    let relay = spawn_local(stream.relay(ours, Rc::new(Count::default())));
    let thread = std::thread::spawn(move || {
        theirs.write_all(b"still here").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        let mut all = String::new();
        theirs.read_to_string(&mut all).unwrap();
        all
    });
    relay.await.unwrap().unwrap();
    assert_eq!(thread.join().unwrap(), "still here");
}

#[test]
fn a_tunnel_that_leaves_serves_its_streams_to_their_end() {
    let ended = with_tunnel(echo, async |tunnel| {
        let (stream, _) = open(&tunnel, "app:1").await;
        tunnel.leave();
        assert!(tunnel.open(&ConnectRequest::new("app:1")).is_err());
        serves_to_its_end(stream).await;
        tunnel.is_leaving()
    });
    assert!(ended);
}

#[test]
fn a_peer_that_is_doubted_and_answers_keeps_its_streams() {
    let within = Duration::from_millis(500);
    let ended = with_tunnel(echo, async |tunnel| {
        let (_stream, _) = open(&tunnel, "app:1").await;
        tunnel.doubt(within);
        tokio::time::sleep(within * 3).await;
        tunnel.is_leaving()
    });
    assert!(!ended);
}

#[test]
fn a_peer_that_is_doubted_and_silent_is_given_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (client, _silent) = both_ours(&Mesh::new()).await;
        let tunnel = Tunnel::client(client, Limits::default(), Timing::default(), Buffers::new());
        let driven = spawn_local(drive(tunnel.clone(), |_| {}));
        let within = Duration::from_millis(100);
        tunnel.doubt(within);
        let ended = timeout(Timing::default().ping_every / 2, driven).await;
        let Ended::Unresponsive(waited) = ended.unwrap().unwrap() else { panic!("it ended otherwise") };
        assert_eq!(waited, within);
    });
}

#[test]
fn records_that_arrive_in_pieces_need_no_ping_to_go_on() {
    let connect = async || {
        let ((left, near), (right, far)) = (socket_pair(), socket_pair());
        carry_in_pieces(near.try_clone().unwrap(), far.try_clone().unwrap());
        carry_in_pieces(far, near);
        both_over(&Mesh::new(), left, right).await
    };
    let ended = with_connection(connect, echo, async |tunnel| {
        let called = call(&tunnel, |mut app| {
            app.write_all(&[1; 30_000]).unwrap();
            app.shutdown(Shutdown::Write).unwrap();
            app.read_to_end(&mut Vec::new()).unwrap()
        });
        // Well before anybody pings.
        let called = timeout(Timing::default().ping_every / 2, called).await;
        called.ok().map(|(_, thread, _)| thread.join().unwrap())
    });
    assert_eq!(ended, Some(30_000));
}

/// Carries bytes on a thread, so that no record arrives as a whole.
fn carry_in_pieces(mut from: RawSocket, mut to: RawSocket) {
    // They share their mode with nobody: both ends are the thread's.
    from.set_nonblocking(false).unwrap();
    to.set_nonblocking(false).unwrap();
    std::thread::spawn(move || {
        let mut piece = [0; 1448];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            // Time for the other end to look.
            std::thread::sleep(Duration::from_millis(5));
            if to.write_all(&piece[..count]).is_err() {
                break;
            }
        }
    });
}
