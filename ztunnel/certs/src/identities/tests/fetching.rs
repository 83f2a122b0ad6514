//! First certificates.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::super::{FetchOutcome, IdentityChange, IdentityState, UnavailableReason};
use super::{Node, id, pass, unreachable_ca};
use crate::SignError;

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_fetched_before_anyone_asks() {
    let node = Node::new();
    let mut changes = node.identities.changes();
    assert!(node.identities.current(&id("a")).is_none());
    node.want(&["a"]);
    let epoch = 1;
    assert_eq!(changes.next().await, Some(IdentityChange::Renewed { identity: id("a"), epoch }));
    let configs = node.identities.current(&id("a")).unwrap();
    assert_eq!((&configs.leaf().identity, configs.epoch()), (&id("a"), epoch));
    let status = node.status("a");
    assert_eq!((status.state, status.last_error), (IdentityState::Available, None));
    assert_eq!(status.certificate.unwrap().serial.len(), 32);
    assert_eq!(node.identities.fetches(FetchOutcome::Fetched), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_wanted_is_forgotten() {
    let node = Node::new();
    node.want(&["a", "b"]);
    node.ready("a").await;
    let mut changes = node.identities.changes();
    node.want(&["b"]);
    while changes.next().await != Some(IdentityChange::Gone(id("a"))) {}
    assert!(node.identities.current(&id("a")).is_none());
    pass(Duration::from_secs(1)).await;
    assert_eq!(node.identities.statuses().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_comes_back_has_another_epoch() {
    let node = Node::new();
    node.want(&["a"]);
    let before = node.ready("a").await.epoch();
    node.want(&[]);
    pass(Duration::from_secs(1)).await;
    node.want(&["a"]);
    assert_ne!(node.ready("a").await.epoch(), before);
}

#[tokio::test(start_paused = true)]
async fn a_connection_gets_an_identity_that_nobody_wanted_yet() {
    let node = Node::new();
    assert_eq!(node.ready("a").await.leaf().identity, id("a"));
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_only_a_connection_asked_for_is_not_renewed() {
    let node = Node::new();
    node.ready("a").await;
    pass(Duration::from_secs(24 * 3600)).await;
    assert_eq!(node.ca.asked(), ["a"]);
    assert!(node.identities.statuses().is_empty());
}

#[tokio::test(start_paused = true)]
async fn at_most_eight_fetches_are_in_flight() {
    let node = Node::with_mute_ca();
    let names: Vec<_> = (0..20).map(|number| format!("sa-{number}")).collect();
    node.want(&names.iter().map(String::as_str).collect::<Vec<_>>());
    pass(Duration::from_secs(1)).await;
    assert_eq!(node.ca.asked().len(), 8);
    node.ca.answers.add_permits(100);
    pass(Duration::from_secs(1)).await;
    assert_eq!(node.ca.asked().len(), 20);
    node.ca.set(|state| assert_eq!(state.most_in_flight, 8));
}

#[tokio::test(start_paused = true)]
async fn what_a_connection_waits_for_comes_before_prefetches_and_those_before_renewals() {
    let node = Node::with_mute_ca();
    node.want(&["old"]);
    node.ca.answers.add_permits(1);
    node.ready("old").await;
    let occupied = ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"];
    let mut wanted = occupied.to_vec();
    wanted.push("old");
    node.want(&wanted);
    pass(Duration::from_secs(1)).await;
    assert_eq!(node.ca.asked().len(), 9, "all places are taken");

    node.clock.set_forward(Duration::from_secs(20 * 3600));
    wanted.extend(["prefetched", "waited"]);
    node.want(&wanted);
    let identity = id("waited");
    let waiting = node.identities.ready(&identity, Instant::now() + Duration::from_secs(10));
    let answer = async {
        pass(Duration::from_secs(1)).await;
        node.ca.answers.add_permits(100);
    };
    let (configs, ()) = tokio::join!(waiting, answer);
    configs.unwrap();
    pass(Duration::from_secs(1)).await;
    assert_eq!(node.ca.asked()[9..], ["waited", "prefetched", "old"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_waits_through_failures_until_its_deadline() {
    let node = Node::new();
    node.ca.set(|state| state.failures.extend([unreachable_ca(), unreachable_ca(), unreachable_ca()]));
    let deadline = Instant::now() + Duration::from_secs(10);
    assert!(node.identities.ready(&id("a"), deadline).await.is_ok());
    assert_eq!(node.identities.fetches(FetchOutcome::Unreachable), 3);
}

#[tokio::test(start_paused = true)]
async fn a_connection_learns_why_there_is_no_certificate() {
    let node = Node::new();
    node.ca.set(|state| {
        let (code, message) = (tonic::Code::PermissionDenied, "not on this node".to_owned());
        state.failures.push_back(SignError::Refused { code, message });
        state.down = true;
    });
    let started = Instant::now();
    let soon = started + Duration::from_millis(100);
    let refused = node.identities.ready(&id("a"), soon).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no certificate for spiffe://cluster.local/ns/default/sa/a: \
         ca refused: PermissionDenied: not on this node"
    );
    assert_eq!(started.elapsed(), Duration::ZERO, "the next attempt would come too late: no use in waiting");
    assert_eq!(node.identities.fetches(FetchOutcome::Refused), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_does_not_wait_longer_for_a_ca_that_is_silent() {
    let node = Node::with_mute_ca();
    let deadline = Instant::now() + Duration::from_secs(1);
    let refused = node.identities.ready(&id("a"), deadline).await.unwrap_err();
    assert_eq!(refused.reason, UnavailableReason::Unanswered);
    assert_eq!(Instant::now(), deadline);
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_a_workload_that_goes_is_told() {
    let node = Node::with_mute_ca();
    node.want(&["a"]);
    let identity = id("a");
    let waiting = node.identities.ready(&identity, Instant::now() + Duration::from_secs(10));
    let going = async {
        pass(Duration::from_millis(10)).await;
        node.want(&[]);
    };
    let (refused, ()) = tokio::join!(waiting, going);
    assert_eq!(refused.unwrap_err().reason, UnavailableReason::Forgotten);
}

#[tokio::test(start_paused = true)]
async fn failures_are_repeated_ever_more_rarely_up_to_two_and_a_half_minutes() {
    let node = Node::new();
    node.ca.set(|state| state.down = true);
    node.want(&["a"]);
    pass(Duration::from_secs(1000)).await;
    let gaps = node.ca.gaps();
    for (gap, mean) in
        gaps.iter().zip([500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000])
    {
        assert!((mean * 8 / 10..=mean * 12 / 10 + 2).contains(gap), "{gaps:?}");
    }
    assert!(gaps.len() >= 10, "{gaps:?}");
    assert_eq!(node.state("a"), IdentityState::Failed);
    assert!(node.status("a").last_error.unwrap().contains("no route to host"));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_connection_cuts_a_long_pause_short() {
    let node = Node::new();
    node.ca.set(|state| state.down = true);
    node.want(&["a"]);
    pass(Duration::from_secs(600)).await;
    node.ca.set(|state| state.down = false);
    let waited = timeout(Duration::from_secs(3), node.ready("a")).await;
    assert!(waited.is_ok());
}

#[tokio::test(start_paused = true)]
async fn connections_that_come_and_go_do_not_make_a_dead_ca_busier() {
    let node = Node::new();
    node.ca.set(|state| state.down = true);
    node.want(&["a"]);
    for _ in 0..1000 {
        let soon = Instant::now() + Duration::from_millis(10);
        node.identities.ready(&id("a"), soon).await.unwrap_err();
        pass(Duration::from_millis(10)).await;
    }
    assert!(node.ca.asked().len() < 15, "{}", node.ca.asked().len());
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_hangs_is_given_up() {
    let node = Node::with_mute_ca();
    node.want(&["a"]);
    pass(Duration::from_secs(20)).await;
    assert_eq!(node.identities.fetches(FetchOutcome::Timeout), 1);
    assert_eq!(node.ca.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_upkeep() {
    let Node { identities, _upkeep: upkeep, .. } = Node::with_mute_ca();
    drop(upkeep);
    let later = Instant::now() + Duration::from_secs(10);
    let refused = identities.ready(&id("a"), later).await.unwrap_err();
    assert_eq!(refused.reason, UnavailableReason::Stopped);
}
