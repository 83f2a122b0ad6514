//! Later certificates, and times.

use std::time::Duration;

use tokio::time::Instant;

use super::super::{IdentityChange, IdentityState};
use super::{Node, id, pass};

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_soon_after_half_its_life() {
    let node = Node::new();
    node.want(&["a"]);
    let first = node.ready("a").await;
    let (started, mut changes) = (Instant::now(), node.identities.changes());
    assert_eq!(changes.next().await, Some(IdentityChange::Renewed { identity: id("a"), epoch: 2 }));
    let hours = started.elapsed().as_secs_f64() / 3600.0;
    assert!((12.0..14.5).contains(&hours), "{hours}");
    let second = node.identities.current(&id("a")).unwrap();
    assert_ne!(first.credential().key().public(), second.credential().key().public());
}

#[tokio::test(start_paused = true)]
async fn identities_of_one_moment_are_not_renewed_at_one_moment() {
    let node = Node::new();
    node.want(&["a", "b", "c", "d"]);
    pass(Duration::from_secs(23 * 3600)).await;
    let gaps = node.ca.gaps();
    assert_eq!(gaps.len(), 7);
    assert!(gaps[4..].iter().all(|gap| *gap > 100), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_valid_certificate_stays_in_use_while_the_ca_is_away_and_goes_when_it_ends() {
    let node = Node::new();
    node.want(&["a"]);
    node.ready("a").await;
    node.ca.set(|state| state.down = true);
    pass(Duration::from_secs(23 * 3600)).await;
    assert_eq!(node.identities.current(&id("a")).unwrap().epoch(), 1);
    let status = node.status("a");
    assert_eq!(status.state, IdentityState::Available);
    assert!(status.failures > 0 && status.last_error.is_some());

    let mut changes = node.identities.changes();
    assert_eq!(changes.next().await, Some(IdentityChange::Gone(id("a"))));
    assert!(node.identities.current(&id("a")).is_none());
    pass(Duration::from_secs(1)).await;
    assert_eq!(node.state("a"), IdentityState::Failed);

    node.ca.set(|state| state.down = false);
    node.ready("a").await;
}

#[tokio::test(start_paused = true)]
async fn a_ca_whose_clock_is_five_minutes_off_is_believed() {
    for ahead in [-300, 300, 15 * 60] {
        let node = Node::new();
        // The CA dates back by ten minutes: one that is fifteen ahead signs what begins in five.
        node.ca.set(|state| state.ahead = ahead);
        node.want(&["a"]);
        let configs = node.ready("a").await;
        let not_before = configs.leaf().not_before.as_secs();
        pass(Duration::from_secs(3600)).await;
        assert_eq!(node.ca.asked().len(), 1, "not renewed early, {ahead} {not_before}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_another_time_is_refused_with_a_hint() {
    for (ahead, want) in [(20 * 60, "begins in"), (-25 * 3600, "ended")] {
        let node = Node::new();
        node.ca.set(|state| {
            // An hour short of a day, so that the authority itself has begun.
            state.authority = authority_since_long();
            state.ahead = ahead;
        });
        node.want(&["a"]);
        pass(Duration::from_secs(1)).await;
        let error = node.status("a").last_error.unwrap();
        assert!(error.contains(want) && error.contains("is the clock right?"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_is_noticed_within_a_minute() {
    let node = Node::new();
    node.want(&["a"]);
    node.ready("a").await;
    node.clock.set_forward(Duration::from_secs(15 * 3600));
    pass(Duration::from_secs(61)).await;
    assert_eq!(node.ca.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn short_lives_are_not_renewed_in_a_rush() {
    let node = Node::new();
    node.ca.set(|state| state.lifetime = Duration::from_secs(20));
    node.want(&["a"]);
    pass(Duration::from_secs(100)).await;
    // Every 10 to 13 seconds.
    let calls = node.ca.asked().len();
    assert!((7..=11).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_peers_would_refuse_does_not_replace_one_that_they_accept() {
    let node = Node::new();
    node.want(&["a"]);
    node.ready("a").await;
    node.ca.set(|state| {
        // Signed by one root, but handing out another.
        state.authority = crate::Authority::ephemeral("other").unwrap();
        state.more_roots = vec![crate::Authority::ephemeral("third").unwrap().root().clone()];
        state.hand_out_own_root = false;
    });
    pass(Duration::from_secs(15 * 3600)).await;
    assert_eq!(node.identities.current(&id("a")).unwrap().epoch(), 1);
    assert!(node.status("a").last_error.unwrap().contains("does not verify"));
}

fn authority_since_long() -> crate::Authority {
    let long_ago = rustls_pki_types::UnixTime::now().as_secs() - 30 * 24 * 3600;
    let long_ago = rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(long_ago));
    let lifetime = Duration::from_secs(365 * 24 * 3600);
    let files = crate::Authority::make_root("old", lifetime, long_ago).unwrap();
    crate::Authority::from_pem(&files.certificate, &files.key).unwrap()
}
