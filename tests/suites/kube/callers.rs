//! Who gets whose certificates.

use harness::{AuditLine, LabError, eventually};
use serde_json::json;

use crate::scene::{Answer, Ca, Scene};

#[test]
fn a_nodes_daemon_gets_the_identities_of_pods_on_its_node_and_no_others() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    scene.pod("till", "till", "two")?;
    let ca = scene.ca("ca")?;
    let token = scene.token("ztunnel", Some(&daemon))?;
    let chain = ca.ask(&scene, &token, &scene.id("cart"))?.expect("it runs there");
    assert_eq!(certs::peer_identity(&chain.chain).expect("an identity"), scene.id("cart"));
    let message = refused(&ca, &scene, &token, "till", "PermissionDenied")?;
    assert!(message.ends_with(&format!("does not run on node \"{}\"", scene.node("one"))), "{message}");
    assert_eq!(ca.refusals(&scene, "other_node")?, 1);
    Ok(())
}

#[test]
fn each_signature_and_each_refusal_is_one_line_of_the_audit() -> Result<(), LabError> {
    let mut scene = Scene::new()?;
    scene.limits = json!({ "callsPerSecond": 1, "burst": 4 });
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    scene.pod("till", "till", "two")?;
    let ca = scene.ca("ca")?;
    let token = scene.token("ztunnel", Some(&daemon))?;
    let chain = ca.ask(&scene, &token, &scene.id("cart"))?.expect("it runs there");
    refused(&ca, &scene, &token, "till", "PermissionDenied")?;
    let mut tried = 0;
    let held_back = |answer: &Answer| matches!(answer, Err((code, _)) if code == "ResourceExhausted");
    while !held_back(&ca.ask(&scene, "no.token.atall", &scene.id("cart"))?) {
        tried += 1;
        assert!(tried < 50, "nobody is held back");
    }
    let lines = eventually("the audit is not written", || {
        Ok(Some(AuditLine::all_in(&ca.log(&scene)?)).filter(|lines| lines.len() >= tried + 3))
    })?;
    let caller = format!("{}/ztunnel in pod ztunnel-1 on {}", scene.namespace, scene.node("one"));
    let serial = certs::serial_number(&chain.chain[0]).expect("a certificate");
    let (cart, till) = (scene.id("cart"), scene.id("till"));
    assert_eq!(lines[0].signed(), Some((&*caller, cart.as_str(), &*serial)), "{lines:?}");
    assert_eq!(lines[1].refused(), Some(("other_node", Some(&*caller), Some(till.as_str()))));
    let of_strangers: Vec<_> = lines[2..].iter().map(AuditLine::refused).collect();
    let (last, tries) = of_strangers.split_last().expect("it was refused");
    assert!(tries.iter().all(|it| *it == Some(("token", None, None))), "{lines:?}");
    assert_eq!(*last, Some(("rate_limit", None, None)));
    assert!(lines.iter().all(|it| it.peer.as_ref().is_some_and(|it| it.contains("127.0.0.1"))), "{lines:?}");
    assert_eq!(lines.len(), tried + 3, "one for each call");
    Ok(())
}

#[test]
fn an_account_that_is_not_on_the_list_gets_its_own_identity_only() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let pod = scene.pod("cart", "cart", "one")?;
    scene.pod("till", "till", "one")?;
    let ca = scene.ca("ca")?;
    let token = scene.token("cart", Some(&pod))?;
    let chain = ca.ask(&scene, &token, &scene.id("cart"))?.expect("its own");
    assert_eq!(certs::peer_identity(&chain.chain).expect("an identity"), scene.id("cart"));
    let message = refused(&ca, &scene, &token, "till", "PermissionDenied")?;
    assert!(message.contains("may have no identity but its own"), "{message}");
    assert_eq!(ca.refusals(&scene, "not_own")?, 1);
    Ok(())
}

#[test]
fn a_token_for_somebody_else_is_nobodys() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    let ca = scene.ca("ca")?;
    for audience in ["vault", "https://kubernetes.default.svc"] {
        let token = scene.token_for("ztunnel", audience, Some(&daemon))?;
        refused(&ca, &scene, &token, "cart", "Unauthenticated")?;
    }
    refused(&ca, &scene, "no.token.atall", "cart", "Unauthenticated")?;
    assert_eq!(ca.refusals(&scene, "token")?, 3);
    Ok(())
}

#[test]
fn a_token_that_names_no_node_speaks_for_nobody_else() -> Result<(), LabError> {
    let scene = Scene::new()?;
    scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    let ca = scene.ca("ca")?;
    let token = scene.token("ztunnel", None)?;
    let message = refused(&ca, &scene, &token, "cart", "PermissionDenied")?;
    assert!(message.contains("is not bound to a pod on a node"), "{message}");
    ca.ask(&scene, &token, &scene.id("ztunnel"))?.expect("its own");
    Ok(())
}

#[test]
fn a_token_ends_with_the_pod_that_it_is_bound_to() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    let ca = scene.ca("ca")?;
    let (used, unused) = (scene.token("ztunnel", Some(&daemon))?, scene.token("ztunnel", Some(&daemon))?);
    ca.ask(&scene, &used, &scene.id("cart"))?.expect("the daemon runs");
    scene.delete(&daemon)?;
    // By the API server's word, and where that is remembered, because the pod is gone.
    for token in [&used, &unused] {
        refused(&ca, &scene, token, "cart", "Unauthenticated")?;
    }
    // A pod of that name is another one.
    scene.pod("ztunnel-1", "ztunnel", "one")?;
    for token in [&used, &unused] {
        refused(&ca, &scene, token, "cart", "Unauthenticated")?;
    }
    Ok(())
}

#[test]
fn a_pod_that_was_made_just_now_is_asked_for_and_found() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    let ca = scene.ca("ca")?;
    let token = scene.token("ztunnel", Some(&daemon))?;
    let message = refused(&ca, &scene, &token, "late", "Unavailable")?;
    assert!(message.contains("no workload of"), "{message}");
    scene.pod("late", "late", "one")?;
    ca.ask(&scene, &token, &scene.id("late"))?.expect("it runs there");
    Ok(())
}

#[test]
fn where_pods_cannot_be_followed_they_are_asked_for_one_by_one() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let role = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{}-ca", scene.namespace);
    let mut rules = scene.cluster.ask("GET", &role, None)?.body["rules"].clone();
    let of_pods = rules.as_array_mut().and_then(|all| all.iter_mut().find(|it| it["resources"][0] == "pods"));
    of_pods.expect("a rule of pods")["verbs"] = json!(["get", "list"]);
    assert_eq!(scene.cluster.ask("PATCH", &role, Some(&json!({ "rules": rules })))?.status, 200);
    let ca = scene.ca("ca")?;
    eventually("the CA follows pods, which it has no leave for", || {
        Ok(ca.log(&scene)?.contains("pods cannot be followed").then_some(()))
    })?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    scene.pod("till", "till", "two")?;
    let token = scene.token("ztunnel", Some(&daemon))?;
    ca.ask(&scene, &token, &scene.id("cart"))?.expect("it runs there");
    // Whether it runs elsewhere is not known: the caller comes again, and is no wiser.
    refused(&ca, &scene, &token, "till", "Unavailable")?;
    scene.delete(&daemon)?;
    refused(&ca, &scene, &token, "cart", "Unauthenticated")?;
    Ok(())
}

#[test]
fn a_pod_that_has_ended_is_no_reason_for_a_certificate() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    let pod = scene.pod("cart", "cart", "one")?;
    let ca = scene.ca("ca")?;
    let token = scene.token("ztunnel", Some(&daemon))?;
    ca.ask(&scene, &token, &scene.id("cart"))?.expect("it runs there");
    scene.end(&pod)?;
    eventually("the end of a pod was not heard of", || {
        Ok(ca.ask(&scene, &token, &scene.id("cart"))?.is_err().then_some(()))
    })?;
    refused(&ca, &scene, &token, "cart", "Unavailable")?;
    Ok(())
}

#[test]
fn whoever_tries_tokens_out_is_held_back_before_the_api_server_is_asked() -> Result<(), LabError> {
    let mut scene = Scene::new()?;
    scene.limits = json!({ "callsPerSecond": 1, "burst": 3 });
    let ca = scene.ca("ca")?;
    for _ in 0..3 {
        refused(&ca, &scene, "no.token.atall", "cart", "Unauthenticated")?;
    }
    let message = refused(&ca, &scene, "no.token.atall", "cart", "ResourceExhausted")?;
    assert_eq!(message, "127.0.0.1 asks too often");
    assert_eq!((ca.refusals(&scene, "token")?, ca.refusals(&scene, "rate_limit")?), (3, 1));
    Ok(())
}

#[test]
fn a_daemon_that_asks_too_often_costs_another_nothing() -> Result<(), LabError> {
    let mut scene = Scene::new()?;
    scene.limits = json!({ "callsPerSecond": 1, "burst": 5 });
    let (one, two) = (scene.pod("one", "ztunnel", "one")?, scene.pod("two", "ztunnel", "two")?);
    scene.pod("cart-1", "cart", "one")?;
    scene.pod("cart-2", "cart", "two")?;
    let ca = scene.ca("ca")?;
    let (eager, modest) = (scene.token("ztunnel", Some(&one))?, scene.token("ztunnel", Some(&two))?);
    let answers: Vec<_> =
        (0..20).map(|_| ca.ask(&scene, &eager, &scene.id("cart"))).collect::<Result<_, _>>()?;
    let held_back = answers.iter().filter(|it| matches!(it, Err((code, _)) if code == "ResourceExhausted"));
    assert!(answers[0].is_ok() && held_back.count() > 0, "{answers:?}");
    ca.ask(&scene, &modest, &scene.id("cart"))?.expect("it has asked for nothing before");
    Ok(())
}

/// What is said to who asks for the identity of an account and is refused it with that code.
fn refused(ca: &Ca, scene: &Scene, token: &str, account: &str, code: &str) -> Result<String, LabError> {
    match ca.ask(scene, token, &scene.id(account))? {
        Err((said, message)) if said == code => Ok(message),
        other => panic!("{code} expected for {account}: {other:?}"),
    }
}
