//! A daemon's second life.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Identities, IdentityState};
use super::{Ca, Node, TestClock, id, pass, write_roots};
use crate::{Authority, CredentialCache, TrustFiles};

use tokio::task::JoinSet;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn what_was_kept_is_used_while_the_ca_is_away_and_replaced_when_it_is_back() {
    let first = Life::new();
    let before = first.node.ready("a").await.credential().key().public();
    first.node.ca.set(|state| state.down = true);
    let second = first.again();
    let kept = second.node.ready("a").await;
    assert_eq!(kept.credential().key().public(), before);
    pass(Duration::from_secs(3600)).await;
    assert_eq!(second.node.state("a"), IdentityState::Available);
    second.node.ca.set(|state| state.down = false);
    pass(Duration::from_secs(600)).await;
    let fresh = second.node.identities.current(&id("a")).unwrap();
    assert_ne!(fresh.credential().key().public(), before, "a stopgap is renewed before half of its life");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_before_the_mesh_is_known_gets_what_was_kept() {
    let first = Life::new();
    first.node.ready("a").await;
    first.node.ca.set(|state| state.down = true);
    let second = first.restarted();
    let soon = Instant::now() + Duration::from_millis(100);
    second.node.identities.ready(&id("a"), soon).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_not_used_and_removed() {
    let first = Life::new();
    first.node.ready("a").await;
    first.node.ca.set(|state| state.down = true);
    first.node.clock.set_forward(Duration::from_secs(25 * 3600));
    let second = first.again();
    pass(Duration::from_secs(1)).await;
    assert!(second.node.identities.current(&id("a")).is_none());
    assert_eq!(second.files(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_for_another_identity_is_not_used() {
    let first = Life::new();
    first.node.want(&["a", "b"]);
    first.node.ready("a").await;
    first.node.ready("b").await;
    first.node.ca.set(|state| state.down = true);
    let mut files: Vec<_> =
        fs::read_dir(first.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    fs::copy(&files[0], &files[1]).unwrap();
    let second = first.restarted();
    second.node.want(&["a", "b"]);
    pass(Duration::from_secs(1)).await;
    let served = ["a", "b"].into_iter().filter_map(|name| second.node.identities.current(&id(name)));
    assert_eq!(served.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_its_own_roots_do_not_vouch_for_is_not_used() {
    let first = Life::new();
    first.node.ca.set(|state| {
        let old = state.authority.root().clone();
        state.authority = Authority::ephemeral("other").unwrap();
        state.hand_out_own_root = false;
        state.more_roots = vec![old];
    });
    write_roots(&first.node.folder.path().join("roots.pem"), &[first.node.ca.root()]);
    pass(Duration::from_secs(6)).await;
    first.node.ready("a").await;
    assert_eq!(first.files(), 1);
    let stranger = Authority::ephemeral("stranger").unwrap();
    write_roots(&first.node.folder.path().join("roots.pem"), &[stranger.root().clone()]);
    first.node.ca.set(|state| state.down = true);
    let second = first.again();
    pass(Duration::from_secs(1)).await;
    assert!(second.node.identities.current(&id("a")).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_is_forgotten_leaves_nothing_behind() {
    let first = Life::new();
    first.node.ready("a").await;
    assert_eq!(first.files(), 1);
    first.node.want(&[]);
    pass(Duration::from_secs(1)).await;
    assert_eq!(first.files(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_identity_of_an_earlier_life_that_nobody_has_any_more_leaves_nothing_behind() {
    let first = Life::new();
    first.node.ready("a").await;
    let second = first.restarted();
    assert_eq!(second.files(), 1);
    second.node.want(&["b"]);
    second.node.ready("b").await;
    pass(Duration::from_secs(1)).await;
    assert_eq!(second.files(), 1);
}

/// A node with a cache.
struct Life {
    node: Node,
    cache: tempfile::TempDir,
}

impl Life {
    /// The first life, in which `a` is wanted.
    fn new() -> Self {
        let (node, cache) = (Node::new(), tempfile::tempdir_in("/dev/shm").unwrap());
        let Node { ca, clock, folder, .. } = node;
        let this = Self::with(ca, clock, folder, cache);
        this.node.want(&["a"]);
        this
    }

    /// The next life, with the same CA, roots and cache.
    fn restarted(self) -> Self {
        let Self { node: Node { ca, clock, folder, .. }, cache } = self;
        Self::with(ca, clock, folder, cache)
    }

    /// The next life, in which `a` is wanted.
    fn again(self) -> Self {
        let this = self.restarted();
        this.node.want(&["a"]);
        this
    }

    fn with(ca: Arc<Ca>, clock: Arc<TestClock>, folder: tempfile::TempDir, cache: tempfile::TempDir) -> Self {
        let trust = TrustFiles {
            domain: "cluster.local".parse().unwrap(),
            aliases: [].into(),
            roots: folder.path().join("roots.pem"),
            federated: [].into(),
            revocations: [].into(),
        };
        let (identities, upkeep) = Identities::start(ca.clone(), trust, clock.clone()).unwrap();
        let kept = CredentialCache::open(&cache.path().join("keys")).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(upkeep.with_cache(kept).run());
        Self { node: Node { identities, ca, clock, folder, _upkeep: tasks }, cache }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.cache.path().join("keys")
    }

    fn files(&self) -> usize {
        fs::read_dir(self.folder()).unwrap().count()
    }
}
