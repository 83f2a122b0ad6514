use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::h2::Limits;
use crate::record::tests::{Mesh, both_ours};
use crate::tunnel::{Buffers, Timing, drive};

/// Why a dial of these tests fails.
#[derive(Debug, PartialEq, Eq)]
struct Refused;

/// A pool whose dials wait to be let go, and what they did.
#[derive(Default)]
struct Scene {
    dials: Cell<usize>,
    go: Notify,
    /// What the far ends allow.
    limits: Limits,
    tunnels: RefCell<Vec<Tunnel>>,
}

impl Scene {
    /// A tunnel whose far end is driven too, once the scene lets it.
    async fn tunnel(&self) -> Result<Tunnel, Arc<Refused>> {
        self.dials.set(self.dials.get() + 1);
        self.go.notified().await;
        let (client, server) = both_ours(&Mesh::new()).await;
        let buffers = Buffers::new();
        let tunnel = Tunnel::client(client, Limits::default(), Timing::default(), buffers.clone());
        let far = Tunnel::server(server, self.limits, Timing::default(), buffers);
        self.tunnels.borrow_mut().push(tunnel.clone());
        spawn_local(drive(tunnel.clone(), |_| {}));
        spawn_local(drive(far, |_| {}));
        Ok(tunnel)
    }

    async fn refusal(&self) -> Result<Tunnel, Arc<Refused>> {
        self.dials.set(self.dials.get() + 1);
        self.go.notified().await;
        Err(Arc::new(Refused))
    }
}

fn run<T>(test: impl AsyncFnOnce(Rc<Pool<u8, Refused>>, Rc<Scene>) -> T) -> T {
    run_in(Scene::default(), test)
}

fn run_in<T>(scene: Scene, test: impl AsyncFnOnce(Rc<Pool<u8, Refused>>, Rc<Scene>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async {
        let test = test(Rc::new(Pool::new(10)), Rc::new(scene));
        tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test comes to its end")
    };
    LocalSet::new().block_on(&runtime, bounded)
}

fn request() -> ConnectRequest {
    ConnectRequest::new("app:1")
}

#[test]
fn who_waits_for_a_dial_that_fails_shares_its_failure() {
    let (failures, dials) = run(async |pool, scene| {
        let asked: Vec<_> = (0..5)
            .map(|_| {
                let (pool, scene) = (pool.clone(), scene.clone());
                spawn_local(async move { pool.stream(&1, &request(), async || scene.refusal().await).await })
            })
            .collect();
        tokio::task::yield_now().await;
        scene.go.notify_one();
        let mut failures = 0;
        for asked in asked {
            failures += usize::from(asked.await.unwrap().unwrap_err() == Arc::new(Refused));
        }
        (failures, scene.dials.get())
    });
    assert_eq!((failures, dials), (5, 1));
}

#[test]
fn a_dial_that_is_given_up_is_taken_over_by_who_waits() {
    let dials = run(async |pool, scene| {
        let ask = || {
            let (pool, scene) = (pool.clone(), scene.clone());
            spawn_local(async move { pool.stream(&1, &request(), async || scene.tunnel().await).await })
        };
        let (first, second) = (ask(), ask());
        tokio::task::yield_now().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        scene.go.notify_one();
        assert!(second.await.unwrap().is_ok());
        scene.dials.get()
    });
    assert_eq!(dials, 2);
}

#[test]
fn a_tunnel_dialled_while_its_key_is_evicted_serves_who_waited_and_nobody_else() {
    let dials = run(async |pool, scene| {
        let ask = || {
            let (pool, scene) = (pool.clone(), scene.clone());
            spawn_local(async move { pool.stream(&1, &request(), async || scene.tunnel().await).await })
        };
        let (first, second) = (ask(), ask());
        tokio::task::yield_now().await;
        pool.evict(|key| *key == 1);
        scene.go.notify_one();
        let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
        assert_eq!(first.tunnel().stream_count(), 2, "both are in one tunnel");
        assert!(second.tunnel().is_leaving(), "which takes nothing further");
        let third = ask();
        scene.go.notify_one();
        let third = third.await.unwrap().unwrap();
        assert!(!third.tunnel().is_leaving());
        assert_eq!(third.tunnel().stream_count(), 1);
        scene.dials.get()
    });
    assert_eq!(dials, 2);
}

#[test]
fn tunnels_of_a_peer_that_takes_no_streams_are_not_kept() {
    let no_streams = Limits { max_concurrent_streams: 0, ..Limits::default() };
    let no_headers = Limits { max_header_list: 80, ..Limits::default() };
    for limits in [no_streams, no_headers] {
        let scene = Scene { limits, ..Scene::default() };
        let left = run_in(scene, async |pool, scene| {
            for _ in 0..5 {
                scene.go.notify_one();
                let mut stream = pool.stream(&1, &request(), async || scene.tunnel().await).await.unwrap();
                // Refused, when it was sent before anything was known of the peer.
                stream.response().await.unwrap_err();
            }
            scene.tunnels.borrow().iter().map(Tunnel::is_leaving).collect::<Vec<_>>()
        });
        assert_eq!(left, [true, true, true, true, false]);
    }
}

#[test]
fn a_stream_joins_the_fullest_tunnel_that_has_room() {
    let counts = run(async |pool, scene| {
        let mut streams = Vec::new();
        for _ in 0..11 {
            scene.go.notify_one();
            streams.push(pool.stream(&1, &request(), async || scene.tunnel().await).await.unwrap());
        }
        // All but six of the ten in the first; what is left of a burst must not hold the second one open.
        streams.drain(..4);
        let _another = pool.stream(&1, &request(), async || scene.tunnel().await).await.unwrap();
        scene.tunnels.borrow().iter().map(Tunnel::stream_count).collect::<Vec<_>>()
    });
    assert_eq!(counts, [7, 1]);
}
