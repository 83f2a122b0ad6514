//! Tunnels within tunnels.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

/// What a test is given: the outer tunnel, the inner one, and the inner one's far end.
struct Ends {
    outer: Tunnel,
    inner: Tunnel,
    far: Tunnel,
    /// Why the inner tunnel ended, once it has.
    ended: Rc<RefCell<Option<Ended>>>,
    /// Streams of the inner tunnel that were relayed to the far application, and how that ended.
    relayed: Rc<Cell<Option<bool>>>,
}

/// Runs `test` with a tunnel in a stream of another, whose server joins each stream to what `application` does.
fn with_nested<T>(
    application: impl Fn(UnixStream) + Clone + Send + 'static,
    test: impl AsyncFnOnce(Ends) -> T,
) -> T {
    let (sender, mut handed_over) = mpsc::unbounded_channel();
    // What the outer stream leads to is the far end of the inner connection.
    let gateway = move |app: UnixStream| sender.send(app).unwrap();
    with_tunnel(gateway, async move |outer| {
        let (stream, status) = open(&outer, "app:1").await;
        assert_eq!(status, 200);
        let (mut carrier, near) = Carrier::new(stream).unwrap();
        let far = handed_over.recv().await.unwrap();
        let far = Socket::new(RawSocket::from(std::os::fd::OwnedFd::from(far))).unwrap();
        let mesh = Mesh::new();
        let (near, far) = carrier.during(both_over(&mesh, near, far)).await.unwrap();
        let buffers = Buffers::new();
        let inner = Tunnel::client(near, Limits::default(), Timing::default(), buffers.clone());
        let far = Tunnel::server(far, Limits::default(), Timing::default(), buffers);
        let (ended, relayed) = (Rc::default(), Rc::<Cell<Option<bool>>>::default());
        let (told, outcome) = (Rc::clone(&ended), relayed.clone());
        let driven = drive_nested(inner.clone(), carrier, PATIENCE);
        spawn_local(async move { *RefCell::borrow_mut(&told) = Some(driven.await) });
        spawn_local(drive(far.clone(), move |Request { mut stream, .. }| {
            stream.respond(&ConnectResponse::new(200));
            let (theirs, ours) = app();
            let (application, outcome) = (application.clone(), outcome.clone());
            std::thread::spawn(move || application(theirs));
            spawn_local(async move {
                outcome.set(Some(stream.relay(ours, Rc::new(Count::default())).await.is_ok()));
            });
        }));
        test(Ends { outer, inner, far, ended, relayed }).await
    })
}

impl Ends {
    /// Waits until something is so.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    fn ended(&self) -> Option<Ended> {
        self.ended.borrow().clone()
    }
}

#[test]
fn bulk_and_ends_are_carried_and_nothing_is_left() {
    const LENGTH: usize = 24 << 20;
    let pattern = |at: usize| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0];
    with_nested(echo, async move |ends| {
        let (result, thread, count) = call(&ends.inner, move |app| {
            let mut reader = app.try_clone().unwrap();
            let writer = std::thread::spawn(move || {
                let mut app = app;
                app.write_all(&(0..LENGTH).map(pattern).collect::<Vec<u8>>()).unwrap();
                app.shutdown(Shutdown::Write).unwrap();
            });
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            writer.join().unwrap();
            all
        })
        .await;
        result.unwrap();
        let all = thread.join().unwrap();
        assert!(all.len() == LENGTH && all.iter().enumerate().all(|(at, byte)| *byte == pattern(at)));
        assert_eq!((count.sent.get(), count.received.get()), (LENGTH, LENGTH));
        ends.inner.leave();
        ends.until("the inner tunnel is over", |it| matches!(it.ended(), Some(Ended::Closed))).await;
        ends.until("the outer stream is gone", |it| it.outer.stream_count() == 0).await;
        assert!(ends.outer.can_open(), "the outer tunnel serves others");
        assert_eq!(ends.relayed.get(), Some(true), "the far application saw both ends");
    });
}

#[test]
fn the_last_bytes_get_through_when_the_tunnel_leaves_behind_them() {
    // The far application reads to the end, and says what it has read when the near one is gone already.
    let (sender, read) = std::sync::mpsc::channel();
    let application = move |mut app: UnixStream| {
        app.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        let read = app.read_to_end(&mut all).map(|_| all.len());
        sender.send(read.map_err(|error| error.kind())).unwrap();
    };
    with_nested(application, async move |ends| {
        let (result, thread, _) = call(&ends.inner, |mut app| {
            assert_eq!(app.read(&mut [0]).unwrap(), 0);
            app.write_all(&vec![7; 3 << 20]).unwrap();
        })
        .await;
        result.unwrap();
        thread.join().unwrap();
        ends.inner.leave();
        ends.until("the inner tunnel is over", |it| it.ended().is_some()).await;
        ends.until("the far application is done", |it| it.relayed.get().is_some()).await;
        assert_eq!(read.recv().unwrap(), Ok(3 << 20));
    });
}

#[test]
fn a_reset_of_the_near_application_is_one_of_the_far_one() {
    with_nested(echo, async |ends| {
        let (stream, status) = open(&ends.inner, "app:1").await;
        assert_eq!(status, 200);
        drop(stream);
        ends.until("the far relay ends", |it| it.relayed.get() == Some(false)).await;
        ends.inner.leave();
        ends.until("the outer stream is gone", |it| it.outer.stream_count() == 0).await;
    });
}

#[test]
fn when_the_outer_tunnel_goes_the_inner_one_says_so() {
    for revoked in [false, true] {
        with_nested(echo, async move |ends| {
            let (mut stream, status) = open(&ends.inner, "app:1").await;
            assert_eq!(status, 200);
            ends.outer.cut_for(if revoked { Ended::Revoked } else { Ended::Closed });
            let error = stream.response().await.unwrap_err();
            let StreamError::TunnelEnded(Ended::Carrier(carrier)) = error else { panic!("{error:?}") };
            let RelayError::TunnelEnded(why) = &*carrier else { panic!("{carrier:?}") };
            assert_eq!(matches!(why, Ended::Revoked), revoked);
            ends.until("the far relay ends", |it| it.relayed.get() == Some(false)).await;
        });
    }
}

#[test]
fn a_far_end_that_never_ends_is_not_waited_for_for_ever() {
    with_nested(echo, async |ends| {
        // Nobody drives the far end any more, and its socket stays open.
        let held = ends.far.clone();
        let (stream, _) = open(&ends.inner, "app:1").await;
        drop(stream);
        ends.inner.leave();
        ends.until("the inner tunnel is over", |it| it.ended().is_some()).await;
        ends.until("the outer stream is gone", |it| it.outer.stream_count() == 0).await;
        drop(held);
    });
}

#[test]
fn what_goes_on_with_the_socket_is_given_up_with_the_stream() {
    with_tunnel(drop, async |outer| {
        let (stream, _) = open(&outer, "app:1").await;
        let (mut carrier, socket) = Carrier::new(stream).unwrap();
        outer.cut();
        let waiting = carrier.during(std::future::pending::<()>());
        let error = timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap_err();
        assert!(matches!(error, RelayError::TunnelEnded(Ended::Closed)), "{error:?}");
        drop(socket);
    });
}

const PATIENCE: Duration = Duration::from_millis(200);
