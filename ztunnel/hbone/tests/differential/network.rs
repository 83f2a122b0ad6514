//! Carries bytes between both ends: without bound, so that neither waits for the other to read, and in any pieces.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::End;
use crate::random::Random;
use crate::tap::Tap;

/// The sockets of client and server.
pub(crate) fn network(
    tasks: &mut JoinSet<()>,
    tap: &Rc<RefCell<Tap>>,
    piece: usize,
    random: &mut Random,
) -> [DuplexStream; 2] {
    let (client, near) = duplex(1 + random.below(4 * piece));
    let (server, far) = duplex(1 + random.below(4 * piece));
    let ((near_read, near_write), (far_read, far_write)) = (split(near), split(far));
    for (from, read, write) in [(End::Client, near_read, far_write), (End::Server, far_read, near_write)] {
        let (sender, receiver) = unbounded_channel();
        tasks.spawn_local(take(tap.clone(), from, read, sender));
        tasks.spawn_local(give(receiver, write, piece, random.branch()));
    }
    [client, server]
}

async fn take(
    tap: Rc<RefCell<Tap>>,
    from: End,
    mut read: ReadHalf<DuplexStream>,
    sender: UnboundedSender<Vec<u8>>,
) {
    let mut bytes = Vec::new();
    while read.read_buf(&mut bytes).await.unwrap() > 0 {
        let mut rest = &bytes[..];
        let mut out = Vec::new();
        tap.borrow_mut().pass(from, &mut rest, &mut out);
        let taken = bytes.len() - rest.len();
        bytes.drain(..taken);
        // Whoever is not there any more misses nothing.
        let _gone = sender.send(out);
    }
    assert_eq!(bytes, b"", "{from:?} ends within a frame");
}

async fn give(
    mut receiver: UnboundedReceiver<Vec<u8>>,
    mut write: WriteHalf<DuplexStream>,
    piece: usize,
    mut random: Random,
) {
    while let Some(bytes) = receiver.recv().await {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at((1 + random.below(piece)).min(rest.len()));
            rest = later;
            if write.write_all(now).await.is_err() {
                return;
            }
            if random.chance(10) {
                tokio::task::yield_now().await;
            }
        }
    }
    let _gone = write.shutdown().await;
}
