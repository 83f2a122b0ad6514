//! Applications on both sides of what is measured, on its own thread: what they do takes turns with it in one order.

use std::future::poll_fn;

use hbone::socket::Socket;
use hbone::tunnel::Meter;
use socket2::{Domain, Socket as RawSocket, Type};
use tokio::runtime::Runtime;

/// A thread's runtime, as workers have one.
pub(super) fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("there are descriptors")
}

/// Two ends of a connection. Not of TCP, whose bytes arrive when the kernel finds the time.
pub(super) fn connection() -> (Socket, Socket) {
    let (one, other) = RawSocket::pair(Domain::UNIX, Type::STREAM, None).expect("there are descriptors");
    let socket = |raw| Socket::new(raw).expect("there are descriptors");
    (socket(one), socket(other))
}

/// Sends some bytes at one end, and receives them at the other.
pub(super) async fn carry(from: &Socket, to: &Socket, bytes: &[u8], room: &mut [u8]) {
    let mut rest = bytes;
    let mut received = 0;
    while !rest.is_empty() {
        let sent = poll_fn(|cx| from.poll_send(cx, rest)).await.expect("it is connected");
        rest = &rest[sent..];
    }
    while received < bytes.len() {
        let count = poll_fn(|cx| to.poll_recv(cx, room)).await.expect("it is connected");
        assert_ne!(count, 0, "the connection ended");
        received += count;
    }
}

/// Waits for the other end's end.
pub(super) async fn end(of: &Socket) {
    let count = poll_fn(|cx| of.poll_recv(cx, &mut [0; 16])).await.expect("it is connected");
    assert_eq!(count, 0, "there was more to come");
}

/// Counts nothing.
#[derive(Debug)]
pub(super) struct Uncounted;

impl Meter for Uncounted {
    fn sent(&self, _bytes: usize) {}

    fn received(&self, _bytes: usize) {}
}

/// What one write of a busy application has.
pub(super) const BULK: usize = 64 << 10;

/// A small request, or its answer.
pub(super) const MESSAGE: usize = 256;
