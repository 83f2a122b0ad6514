//! Two applications, joined: what one does, the other sees, as if they were connected directly.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use socket2::{SockRef, Socket as RawSocket};
use tokio::task::LocalSet;

use super::*;

/// Counts bytes.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) sent: Cell<usize>,
    pub(crate) received: Cell<usize>,
}

impl Meter for Count {
    fn sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes);
    }

    fn received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes);
    }
}

/// A TCP connection: an application's end, and the relay's.
pub(crate) fn connection() -> (TcpStream, RawSocket) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    app.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (app, listener.accept().unwrap().0.into())
}

/// Joins two applications, each on a thread of its own; returns how the relay ended, and what they saw.
fn joined<C: Send + 'static, S: Send + 'static>(
    client: impl FnOnce(TcpStream) -> C + Send + 'static,
    server: impl FnOnce(TcpStream) -> S + Send + 'static,
) -> (Result<(), JoinError>, C, S, (usize, usize)) {
    let (near, near_end) = connection();
    let (far, far_end) = connection();
    let client = std::thread::spawn(move || client(near));
    let server = std::thread::spawn(move || server(far));
    let count = Rc::new(Count::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let meter = count.clone();
    let ended = LocalSet::new().block_on(&runtime, async move {
        let (near, far) = (Socket::new(near_end).unwrap(), Socket::new(far_end).unwrap());
        join(near, far, Buffers::new(), meter).await
    });
    (ended, client.join().unwrap(), server.join().unwrap(), (count.sent.get(), count.received.get()))
}

fn read_all(mut app: &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    app.read_to_end(&mut all).map(|_| all)
}

#[test]
fn a_half_close_leaves_the_other_half_open() {
    let (ended, answer, question, counts) = joined(
        |mut app| {
            app.write_all(b"question").unwrap();
            app.shutdown(Shutdown::Write).unwrap();
            read_all(&app).unwrap()
        },
        |mut app| {
            let question = read_all(&app).unwrap();
            app.write_all(b"late answer").unwrap();
            question
        },
    );
    ended.unwrap();
    assert_eq!((&*question, &*answer), (&b"question"[..], &b"late answer"[..]));
    assert_eq!(counts, (8, 11));
}

#[test]
fn bulk_arrives_unchanged_in_both_directions_at_once() {
    const LENGTH: usize = 64 << 20;
    fn pattern(salt: usize) -> Vec<u8> {
        (0..LENGTH).map(|at| (at.wrapping_mul(2_654_435_761 + salt) >> 11).to_le_bytes()[0]).collect()
    }
    fn exchange(app: &TcpStream, own: usize, others: usize) -> bool {
        let mut writer = app.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(&pattern(own)).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let all = read_all(app).unwrap();
        writing.join().unwrap();
        all == pattern(others)
    }
    let (ended, client, server, counts) = joined(|app| exchange(&app, 1, 2), |app| exchange(&app, 2, 1));
    ended.unwrap();
    assert!(client && server);
    assert_eq!(counts, (LENGTH, LENGTH));
}

#[test]
fn a_reset_is_carried_as_a_reset() {
    let (ended, seen, (), _) = joined(
        |mut app| {
            app.write_all(b"x").unwrap();
            read_all(&app).unwrap_err().kind()
        },
        |mut app| {
            app.read_exact(&mut [0]).unwrap();
            SockRef::from(&app).set_linger(Some(Duration::ZERO)).unwrap();
        },
    );
    assert!(matches!(ended, Err(JoinError::Server(_))), "{ended:?}");
    assert_eq!(seen, ErrorKind::ConnectionReset);
}

/// Ends its half, and resets the connection once the other side has seen the end.
fn reset_behind_the_end(app: &TcpStream, seen: &Receiver<()>) {
    app.shutdown(Shutdown::Write).unwrap();
    seen.recv().unwrap();
    SockRef::from(app).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Reads to the end, and neither reads nor writes from then on.
fn silent_behind_the_end(app: &TcpStream, seen: &Sender<()>) -> Option<ErrorKind> {
    assert_eq!(read_all(app).unwrap(), b"");
    seen.send(()).unwrap();
    wait_for_error(app)
}

#[test]
fn a_clients_reset_behind_its_end_reaches_a_server_that_is_silent() {
    let (sender, receiver) = channel();
    let (ended, (), seen, _) = joined(
        move |app| reset_behind_the_end(&app, &receiver),
        move |app| silent_behind_the_end(&app, &sender),
    );
    assert!(matches!(ended, Err(JoinError::Client(_))), "{ended:?}");
    assert_eq!(seen, Some(ErrorKind::BrokenPipe), "what a reset is called behind an end");
}

#[test]
fn a_servers_reset_behind_its_end_reaches_a_client_that_is_silent() {
    let (sender, receiver) = channel();
    let (ended, seen, (), _) = joined(
        move |app| silent_behind_the_end(&app, &sender),
        move |app| reset_behind_the_end(&app, &receiver),
    );
    assert!(matches!(ended, Err(JoinError::Server(_))), "{ended:?}");
    assert_eq!(seen, Some(ErrorKind::BrokenPipe), "what a reset is called behind an end");
}

#[test]
fn who_does_not_read_holds_up_the_sender() {
    let (ended, sent, (), _) = joined(
        |mut app| {
            app.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut sent = 0;
            while let Ok(count) = app.write(&[0; 65536]) {
                sent += count;
            }
            app.set_write_timeout(None).unwrap();
            sent
        },
        |app| {
            std::thread::sleep(Duration::from_secs(2));
            read_all(&app).unwrap();
        },
    );
    ended.unwrap();
    assert!(sent < 64 << 20, "{sent} bytes went into buffers");
}

#[test]
fn a_reset_is_noticed_while_the_other_side_does_not_read() {
    let (ended, (), seen, _) = joined(
        |mut app| {
            app.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
            while app.write(&[0; 65536]).is_ok() {}
            SockRef::from(&app).set_linger(Some(Duration::ZERO)).unwrap();
        },
        |app| {
            // Reads nothing: the failure shows by itself.
            wait_for_error(&app)
        },
    );
    assert!(matches!(ended, Err(JoinError::Client(_))), "{ended:?}");
    assert_eq!(seen, Some(ErrorKind::ConnectionReset));
}

/// Waits until the connection has failed, without reading.
fn wait_for_error(app: &TcpStream) -> Option<ErrorKind> {
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while std::time::Instant::now() < until {
        if let Some(error) = app.take_error().unwrap() {
            return Some(error.kind());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}
