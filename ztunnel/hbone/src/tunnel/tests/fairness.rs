//! Peers that would keep a worker to themselves.

use crate::record::tests::{Driver, Mesh};

use super::stalling::{frame, greeting};
use super::*;

/// HEADERS of a CONNECT, and DATA of one byte.
fn request(stream: u8) -> Vec<u8> {
    let block = b"\x02\x07CONNECT\x01\x04a:80";
    [&frame(1, 4, stream, 15)[..], block].concat()
}

fn byte(stream: u8) -> Vec<u8> {
    [&frame(0, 0, stream, 1)[..], b"x"].concat()
}

#[test]
fn payload_in_crumbs_for_many_streams_keeps_no_worker_for_long() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let most = LocalSet::new().block_on(&runtime, async {
        let (client, server) = both_ours(&Mesh::new()).await;
        let buffers = Buffers::new();
        let server = Tunnel::server(server, Limits::default(), Timing::default(), buffers.clone());
        let mut peer = Driver::from(client);
        let streams = || (0..100).map(|at| 2 * at + 1);
        peer.write(&[greeting(), streams().flat_map(request).collect()].concat()).await;
        let (mut most, mut arrived, mut far) = (0, 0, Vec::new());
        let mut driving = Box::pin(drive(server, |Request { mut stream, .. }| {
            stream.respond(&ConnectResponse::new(200));
            let (theirs, ours) = app();
            far.push(theirs);
            spawn_local(async move { stream.relay(ours, Rc::new(Count::default())).await });
        }));
        let crumbs: Vec<u8> = streams().flat_map(byte).collect();
        // As much as the socket takes: so far nobody reads it.
        let write = async {
            for _ in 0..200 {
                peer.write(&crumbs.repeat(16)).await;
            }
        };
        let turns = std::future::poll_fn(|cx| {
            let before = buffers.arrivals();
            assert!(driving.as_mut().poll(cx).is_pending());
            let count = buffers.arrivals() - before;
            most = most.max(count);
            arrived += count;
            if arrived < 200 * 1600 { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
        });
        tokio::join!(write, turns);
        drop(driving);
        most
    });
    // Two reads, of one record and the rest of another at most.
    assert!(most <= 4 * 1640, "{most} writes in one turn");
}
