//! Who gets whose certificates.

use harness::LabError;

use crate::scene::{Ca, Scene};

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
fn a_pod_that_has_ended_is_no_reason_for_a_certificate() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    let pod = scene.pod("cart", "cart", "one")?;
    let ca = scene.ca("ca")?;
    let token = scene.token("ztunnel", Some(&daemon))?;
    ca.ask(&scene, &token, &scene.id("cart"))?.expect("it runs there");
    scene.end(&pod)?;
    harness::eventually("the end of a pod was not heard of", || {
        Ok(ca.ask(&scene, &token, &scene.id("cart"))?.is_err().then_some(()))
    })?;
    refused(&ca, &scene, &token, "cart", "Unavailable")?;
    Ok(())
}

/// What is said to who asks for the identity of an account and is refused it with that code.
fn refused(ca: &Ca, scene: &Scene, token: &str, account: &str, code: &str) -> Result<String, LabError> {
    match ca.ask(scene, token, &scene.id(account))? {
        Err((said, message)) if said == code => Ok(message),
        other => panic!("{code} expected for {account}: {other:?}"),
    }
}
