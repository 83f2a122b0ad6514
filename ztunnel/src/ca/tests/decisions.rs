//! Who gets what, and what is said to the others.

use std::sync::Arc;
use std::time::Duration;

use certs::wire::{CertificateRequest, CertificateResponse, CertificateService};
use certs::{NodeKey, SignedChain, TokenSource};
use identity::SpiffeId;
use mesh::WorkloadKind;
use rustls_pki_types::UnixTime;
use tonic::{Code, Request, Status};

use super::{Lab, csr, id, pod, update};
use crate::ca::issuer::Desk;

#[tokio::test]
async fn a_node_gets_certificates_for_pods_on_it() {
    let lab = Lab::new().await;
    let response = ask(&lab, &lab.node("node-1"), &id("pod")).await.unwrap();
    let chain = SignedChain::from_pem(&response.cert_chain).unwrap();
    assert_eq!(certs::peer_identity(&chain.chain).unwrap(), id("pod"));
    assert_eq!(chain.roots, lab.root.current().trusted);
    assert_eq!(lab.metric("citadel_server_success_cert_issuance_count"), "1");
}

#[tokio::test]
async fn a_node_gets_nothing_for_pods_elsewhere() {
    let lab = Lab::new().await;
    let refused = ask(&lab, &lab.node("node-1"), &id("other")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(
        refused.message(),
        "spiffe://cluster.local/ns/default/sa/other does not run on node \"node-1\""
    );
    assert_eq!(lab.metric("ambient_ca_refusals_total{reason=\"other_node\"}"), "1");
}

#[tokio::test]
async fn an_identity_that_nobody_has_is_refused_so_that_the_caller_comes_again() {
    let lab = Lab::new().await;
    let refused = ask(&lab, &lab.node("node-1"), &id("nobody")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_pod_that_is_known_a_moment_later_is_waited_for() {
    let mut lab = Lab::new().await;
    let (key, identity) = (lab.node("node-1"), id("new"));
    let request = request(&key, &identity, UnixTime::now());
    let desk = desk(&lab);
    let asking = desk.create_certificate(request);
    let scheduling = async {
        tokio::task::yield_now().await;
        lab.store.apply(update([pod("new", "node-1")]));
    };
    let (response, ()) = tokio::join!(asking, scheduling);
    assert!(response.is_ok());
}

#[tokio::test]
async fn an_entry_that_claims_to_be_on_a_node_is_no_pod_of_it() {
    let mut lab = Lab::new().await;
    let mut entry = pod("entry", "node-1");
    Arc::make_mut(&mut entry.profile).kind = WorkloadKind::Entry;
    lab.store.apply(update([entry]));
    assert!(ask(&lab, &lab.node("node-1"), &id("entry")).await.is_err());
}

#[tokio::test]
async fn a_bearer_token_is_good_for_many_calls_where_such_tokens_are_accepted() {
    let open = Lab::with(|config| config.trust.bearers = Some(HOUR)).await;
    let key = open.node("node-1");
    for pod in ["pod", "pod"] {
        desk(&open).create_certificate(bearing(&key, HOUR, &id(pod))).await.unwrap();
    }
    let refused = desk(&open).create_certificate(bearing(&key, HOUR, &id("other"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "it is of one node");
    let refused = desk(&open).create_certificate(bearing(&key, 2 * HOUR, &id("pod"))).await.unwrap_err();
    assert_eq!(refused.message(), "token is refused: token lasts 7200s, longer than 3600s");
    let closed = Lab::new().await;
    let refused = desk(&closed).create_certificate(bearing(&closed.node("node-1"), HOUR, &id("pod"))).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_token_is_good_for_one_call() {
    let lab = Lab::new().await;
    let sent = request(&lab.node("node-1"), &id("pod"), UnixTime::now());
    let copy = |sent: &Request<CertificateRequest>| {
        let mut copy = Request::new(sent.get_ref().clone());
        *copy.metadata_mut() = sent.metadata().clone();
        copy
    };
    desk(&lab).create_certificate(copy(&sent)).await.unwrap();
    let refused = desk(&lab).create_certificate(sent).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "token was used before"));
}

#[tokio::test]
async fn a_token_of_another_time_is_refused() {
    let lab = Lab::new().await;
    let (key, now) = (lab.node("node-1"), UnixTime::now().as_secs());
    for (at, accepted) in [(now - 3600, false), (now - 240, true), (now + 240, true), (now + 3600, false)] {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        let answer = desk(&lab).create_certificate(request(&key, &id("pod"), at)).await;
        assert_eq!(answer.is_ok(), accepted, "{answer:?}");
        assert!(answer.is_ok() || answer.unwrap_err().code() == Code::Unauthenticated);
    }
}

#[tokio::test]
async fn who_has_no_registered_key_is_nobody() {
    let lab = Lab::new().await;
    lab.node("node-1");
    let forged = NodeKey::from_pem("node-1", &NodeKey::generate().unwrap().private).unwrap();
    let stranger = NodeKey::from_pem("node-9", &NodeKey::generate().unwrap().private).unwrap();
    let traversal = NodeKey::from_pem("../nodes/node-1", &NodeKey::generate().unwrap().private).unwrap();
    for key in [forged, stranger, traversal] {
        let refused = ask(&lab, &key, &id("pod")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    }
    assert_eq!(lab.metric("citadel_server_authentication_failure_count"), "3");
    assert_eq!(lab.metric("citadel_server_success_cert_issuance_count"), "0");
}

#[tokio::test]
async fn a_node_that_is_taken_out_is_nobody_at_once() {
    let lab = Lab::new().await;
    let key = lab.node("node-1");
    ask(&lab, &key, &id("pod")).await.unwrap();
    std::fs::remove_file(lab.folder.path().join("nodes/node-1.pem")).unwrap();
    let refused = ask(&lab, &key, &id("pod")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_call_without_a_token_is_refused() {
    let lab = Lab::new().await;
    for header in [None, Some("Basic Zm9v"), Some("Bearer"), Some("Bearer x.y.z")] {
        let mut request = request(&lab.node("node-1"), &id("pod"), UnixTime::now());
        request.metadata_mut().remove("authorization");
        if let Some(header) = header {
            request.metadata_mut().insert("authorization", header.parse().unwrap());
        }
        let refused = desk(&lab).create_certificate(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_request_that_is_none_is_refused_with_its_fault() {
    let lab = Lab::new().await;
    let key = lab.node("node-1");
    let body = CertificateRequest::on_behalf_of(&id("pod"), "no request".to_owned(), HOUR);
    let refused = desk(&lab).create_certificate(signed(&key, body, UnixTime::now())).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("certificate request is refused: malformed"), "{refused}");
}

#[tokio::test]
async fn call_and_request_must_be_for_one_identity() {
    let mut lab = Lab::new().await;
    lab.store.apply(update([pod("second", "node-1")]));
    let key = lab.node("node-1");
    let mismatch = CertificateRequest::on_behalf_of(&id("second"), csr(&id("pod")), HOUR);
    let mut nobody = CertificateRequest::on_behalf_of(&id("pod"), csr(&id("pod")), HOUR);
    nobody.metadata = None;
    for (body, code) in [(mismatch, Code::InvalidArgument), (nobody, Code::PermissionDenied)] {
        let refused = desk(&lab).create_certificate(signed(&key, body, UnixTime::now())).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
}

#[tokio::test]
async fn other_trust_domains_are_refused_unless_they_are_aliases() {
    let lab = Lab::with(|config| config.trust.aliases = vec!["old.example".parse().unwrap()]).await;
    let key = lab.node("node-1");
    let of = |domain: &str| format!("spiffe://{domain}/ns/default/sa/pod").parse().unwrap();
    let refused = ask(&lab, &key, &of("partner.example")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let response = ask(&lab, &key, &of("old.example")).await.unwrap();
    let chain = SignedChain::from_pem(&response.cert_chain).unwrap();
    assert_eq!(certs::peer_identity(&chain.chain).unwrap(), of("old.example"));
    let elsewhere = "spiffe://old.example/ns/default/sa/other".parse().unwrap();
    assert!(ask(&lab, &key, &elsewhere).await.is_err());
}

#[tokio::test]
async fn a_life_is_as_asked_within_its_limits() {
    let lab = Lab::with(|config| {
        config.leaf.ttl = Duration::from_mins(10);
        config.leaf.max_ttl = Duration::from_mins(30);
    })
    .await;
    let key = lab.node("node-1");
    for (asked, minutes) in [(0, 10), (-5, 10), (20 * 60, 20), (3600, 30), (i64::MAX, 30), (i64::MIN, 10)] {
        let mut body = CertificateRequest::on_behalf_of(&id("pod"), csr(&id("pod")), HOUR);
        body.validity_duration = asked;
        let now = UnixTime::now();
        let response = desk(&lab).create_certificate(signed(&key, body, now)).await.unwrap();
        let chain = SignedChain::from_pem(&response.cert_chain).unwrap();
        let life = certs::Leaf::of_chain(&chain.chain).unwrap().not_after.as_secs() - now.as_secs();
        assert!((minutes * 60..=minutes * 60 + 5).contains(&life), "{asked}: {life}");
    }
}

#[tokio::test]
async fn a_node_that_asks_too_often_is_told_so_and_others_are_not() {
    let lab = limited(2).await;
    let (key, other) = (lab.node("node-1"), lab.node("node-2"));
    for _ in 0..2 {
        ask(&lab, &key, &id("pod")).await.unwrap();
    }
    let refused = ask(&lab, &key, &id("pod")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    ask(&lab, &other, &id("other")).await.unwrap();
}

#[tokio::test]
async fn whoever_has_no_key_is_held_back_and_nodes_at_the_same_address_are_not() {
    let lab = limited(3).await;
    let (one, two) = (lab.node("node-1"), lab.node("node-2"));
    let stranger = NodeKey::from_pem("node-1", &NodeKey::generate().unwrap().private).unwrap();
    for _ in 0..3 {
        ask(&lab, &one, &id("pod")).await.unwrap();
        ask(&lab, &two, &id("other")).await.unwrap();
    }
    let from = async |peer: &str| {
        let desk = Desk { issuer: lab.issuer.clone(), peer: peer.parse().unwrap() };
        desk.create_certificate(request(&stranger, &id("pod"), UnixTime::now())).await.unwrap_err()
    };
    for _ in 0..3 {
        assert_eq!(from("127.0.0.1:1").await.code(), Code::Unauthenticated);
    }
    let held_back = from("[::ffff:127.0.0.1]:2").await;
    let said = (held_back.code(), held_back.message());
    assert_eq!(said, (Code::ResourceExhausted, "127.0.0.1 asks too often"));
    for host in 1..=3 {
        assert_eq!(from(&format!("[2001:db8::{host}]:1")).await.code(), Code::Unauthenticated);
    }
    assert_eq!(from("[2001:db8::4]:1").await.message(), "2001:db8::/64 asks too often");
    assert_eq!(from("[2001:db8:0:1::1]:1").await.code(), Code::Unauthenticated);
    assert_eq!(lab.metric("ambient_ca_refusals_total{reason=\"rate_limit\"}"), "2");
    assert_eq!(lab.metric("ambient_ca_refusals_total{reason=\"token\"}"), "7");
}

/// A CA of whom so much may be asked at once, and no more: time stands still.
async fn limited(burst: usize) -> Lab {
    let lab = Lab::with(|config| {
        config.limits.calls_per_second = 1;
        config.limits.burst = burst;
    })
    .await;
    tokio::time::pause();
    lab
}

/// What the CA answers to a node that asks for `identity`.
async fn ask(lab: &Lab, key: &NodeKey, identity: &SpiffeId) -> Result<CertificateResponse, Status> {
    desk(lab).create_certificate(request(key, identity, UnixTime::now())).await
}

fn desk(lab: &Lab) -> Desk {
    Desk { issuer: lab.issuer.clone(), peer: lab.address }
}

fn request(key: &NodeKey, identity: &SpiffeId, now: UnixTime) -> Request<CertificateRequest> {
    signed(key, CertificateRequest::on_behalf_of(identity, csr(identity), HOUR), now)
}

/// The call that `key`'s node makes of a request.
fn signed(key: &NodeKey, body: CertificateRequest, now: UnixTime) -> Request<CertificateRequest> {
    let token = key.token(&body.csr, now).unwrap();
    with_token(body, &token)
}

/// The call that a daemon makes with a token of `key`'s node for any request.
fn bearing(key: &NodeKey, lifetime: Duration, identity: &SpiffeId) -> Request<CertificateRequest> {
    let token = key.bearer(lifetime, UnixTime::now()).unwrap();
    with_token(CertificateRequest::on_behalf_of(identity, csr(identity), HOUR), &token)
}

fn with_token(body: CertificateRequest, token: &str) -> Request<CertificateRequest> {
    let mut request = Request::new(body);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

const HOUR: Duration = Duration::from_hours(1);
