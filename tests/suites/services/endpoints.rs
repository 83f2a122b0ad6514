//! Which endpoints of a Service get connections, and what becomes of one that nobody takes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use e2e::calls::{greeted, outbound, refused};
use harness::{LabError, Mesh, Pod, Stack, eventually, serve};
use serde_json::json;

use crate::mall::{WEBS, Web, answers, mall, serve_names, slice, until_answered_by};

#[test]
fn ready_endpoints_come_first_then_those_that_end_but_serve_and_else_the_call_ends_at_once()
-> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(in_order)
}

fn in_order(stack: Stack) -> Result<(), LabError> {
    let (mesh, web) = (Mesh::up(&mall(stack))?, Web(stack));
    let client = mesh.pod("shop/client");
    let _servers = serve_names(&mesh)?;
    mesh.apply(&slice(&mesh, &[("web-1", READY), ("web-2", ENDING), ("web-3", UNREADY)]))?;
    mesh.apply(&web.manifest(""))?;
    until_answered_by(&client, web.address(), &["web-1"])?;
    mesh.apply(&slice(&mesh, &[("web-1", UNREADY), ("web-2", ENDING), ("web-3", UNREADY)]))?;
    until_answered_by(&client, web.address(), &["web-2"])?;
    mesh.apply(&slice(&mesh, &[("web-1", UNREADY), ("web-2", UNREADY), ("web-3", UNREADY)]))?;
    eventually("nobody answers", || Ok(greeted(&client, web.address()).is_err().then_some(())))?;
    let began = Instant::now();
    let record = refused(mesh.daemon("node1"), &client, web.address())?;
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    let error = record.error.unwrap_or_default();
    assert!(error.contains("none of 3 endpoints is ready"), "{error}");
    assert_eq!(record.service.as_deref(), Some("web.shop.svc.cluster.local"));
    mesh.apply(&web.manifest("  publishNotReadyAddresses: true\n"))?;
    until_answered_by(&client, web.address(), &WEBS)
}

#[test]
fn without_slices_the_pods_own_readiness_counts() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(by_readiness)
}

fn by_readiness(stack: Stack) -> Result<(), LabError> {
    let (mesh, web) = (Mesh::up(&mall(stack))?, Web(stack));
    let client = mesh.pod("shop/client");
    let _servers = serve_names(&mesh)?;
    mesh.apply(&web.manifest(""))?;
    until_answered_by(&client, web.address(), &WEBS)?;
    let ready = |is: &str| json!({ "status": { "conditions": [{ "type": "Ready", "status": is }] } });
    mesh.patch("Pod", "shop", "web-1", &ready("False"))?;
    until_answered_by(&client, web.address(), &["web-2", "web-3"])?;
    mesh.patch("Pod", "shop", "web-1", &ready("True"))?;
    until_answered_by(&client, web.address(), &WEBS)
}

#[test]
fn a_service_without_endpoints_says_so() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(nobody)
}

fn nobody(stack: Stack) -> Result<(), LabError> {
    let (mesh, web) = (Mesh::up(&mall(stack))?, Web(stack));
    let client = mesh.pod("shop/client");
    mesh.apply(&web.manifest("  selector: {app: nobody}\n").replace("  selector: {app: web}\n", ""))?;
    let error = eventually("the call is refused for the Service's sake", || {
        let error = refused(mesh.daemon("node1"), &client, web.address())?.error.unwrap_or_default();
        Ok(error.contains("service has no endpoints").then_some(error))
    })?;
    assert!(error.contains("shop/web.shop.svc.cluster.local"), "{error}");
    Ok(())
}

#[test]
fn an_endpoint_that_does_not_take_the_connection_is_passed_over() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(passed_over)
}

fn passed_over(stack: Stack) -> Result<(), LabError> {
    let (mesh, web) = (Mesh::up(&mall(stack))?, Web(stack));
    let client = mesh.pod("shop/client");
    // One answers. The others have nobody at the port: one on each path.
    let answering = mesh.pod("shop/web-2").serve(8080, serve::banner("web-2"))?;
    mesh.apply(&web.manifest(""))?;
    eventually("somebody answers", || Ok(greeted(&client, web.address()).ok()))?;
    assert_eq!(answers(&client, web.address(), 40)?.into_keys().collect::<Vec<_>>(), ["web-2"]);
    drop(answering);
    let record = refused(mesh.daemon("node1"), &client, web.address())?;
    let error = record.error.unwrap_or_default();
    assert!(error.contains("cannot be connected to") || error.contains("status 503"), "{error}");
    Ok(())
}

#[test]
fn an_endpoint_that_terminates_keeps_its_connections() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(terminating)
}

fn terminating(stack: Stack) -> Result<(), LabError> {
    let (mesh, web) = (Mesh::up(&mall(stack))?, Web(stack));
    let client = mesh.pod("shop/client");
    let _servers = WEBS
        .map(|name| mesh.pod(&format!("shop/{name}")).serve(8080, serve::echo()))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    mesh.apply(&slice(&mesh, &WEBS.map(|name| (name, READY))))?;
    mesh.apply(&web.manifest(""))?;
    e2e::calls::until_served("the Service answers", &client, web.address())?;
    let mut live = Vec::new();
    for name in WEBS {
        let stream = eventually("each endpoint has a connection", || {
            let stream = e2e::calls::opened(&client, web.address())?;
            let record = mesh.daemon("node1").get("/connections")?.json()?;
            let local = stream.local_addr()?.to_string();
            let mine =
                record.as_array().into_iter().flatten().find(|it| it["source"]["address"] == local.as_str());
            let to = mine.and_then(|it| it["destination"]["workload"].as_str()).unwrap_or_default();
            Ok((to == name || to.ends_with(&format!("/{name}"))).then_some(stream))
        })?;
        live.push(stream);
    }
    mesh.apply(&slice(&mesh, &[("web-1", READY), ("web-2", ENDING), ("web-3", UNREADY)]))?;
    eventually("only one gets what is new", || {
        let reached = (0..10).map(|_| {
            let local = e2e::calls::opened(&client, web.address())?.local_addr()?;
            Ok(outbound(mesh.daemon("node1"), local)?.destination_workload)
        });
        let reached = reached.collect::<Result<Vec<_>, LabError>>()?;
        Ok(reached.iter().all(|it| it.as_deref() == Some("web-1")).then_some(()))
    })?;
    live.iter_mut().try_for_each(e2e::calls::exchange)?;
    Ok(())
}

#[test]
fn a_change_of_a_service_or_of_its_endpoints_is_in_force_within_a_second() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(soon)
}

fn soon(stack: Stack) -> Result<(), LabError> {
    let (mesh, web) = (Mesh::up(&mall(stack))?, Web(stack));
    let client = mesh.pod("shop/client");
    let _servers = serve_names(&mesh)?;
    let (first, second) = (web.manifest(""), web.manifest("").replace("port: 80,", "port: 81,"));
    mesh.apply(&slice(&mesh, &[("web-1", READY)]))?;
    mesh.apply(&first)?;
    until_answered_by(&client, web.address(), &["web-1"])?;
    // Endpoints on both nodes, by turns.
    for name in ["web-2", "web-1", "web-3"] {
        within_a_second(&mesh, &client, &slice(&mesh, &[(name, READY)]), web.address(), name)?;
    }
    let other = SocketAddr::new(web.address().ip(), 81);
    within_a_second(&mesh, &client, &second, other, "web-3")?;
    within_a_second(&mesh, &client, &first, web.address(), "web-3")
}

/// Applies a manifest, and holds it to a second until somebody answers there who did not before.
fn within_a_second(
    mesh: &Mesh,
    client: &Pod,
    manifest: &str,
    to: SocketAddr,
    name: &str,
) -> Result<(), LabError> {
    assert_ne!(greeted(client, to).ok().map(|it| it.0).as_deref(), Some(name));
    let began = Instant::now();
    mesh.apply(manifest)?;
    eventually(name, || Ok(greeted(client, to).ok().filter(|it| it.0 == name).map(drop)))?;
    assert!(began.elapsed() < Duration::from_secs(1), "{name} answered after {:?}", began.elapsed());
    Ok(())
}

const READY: &str = "ready: true, serving: true, terminating: false";
const ENDING: &str = "ready: false, serving: true, terminating: true";
const UNREADY: &str = "ready: false, serving: false, terminating: false";
