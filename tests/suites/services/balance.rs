//! How connections are spread over the endpoints of a Service.

use std::net::IpAddr;
use std::time::Duration;

use e2e::calls::{greeted, refused};
use harness::{Lab, LabError, Mesh, MeshOptions, PodSpec, Stack, eventually, serve};
use serde_json::json;

use crate::mall::{PORT, WEBS, Web, answers, mall, serve_names, slice, until_answered_by};

#[test]
fn endpoints_get_equal_shares() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(shared)
}

fn shared(stack: Stack) -> Result<(), LabError> {
    let (mesh, web) = (Mesh::up(&mall(stack))?, Web(stack));
    let client = mesh.pod("shop/client");
    let _servers = serve_names(&mesh)?;
    mesh.apply(&web.manifest(""))?;
    until_answered_by(&client, web.address(), &WEBS)?;
    // Four standard deviations around a hundred.
    let shares = answers(&client, web.address(), 300)?;
    assert!(shares.values().all(|share| (67..=133).contains(share)), "{shares:?}");
    Ok(())
}

#[test]
fn an_endpoint_of_three_times_the_weight_gets_three_times_the_connections() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(weighted)
}

fn weighted(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&mall(stack))?;
    let client = mesh.pod("shop/client");
    let _servers = serve_names(&mesh)?;
    let ip = |name: &str| mesh.pod(&format!("shop/{name}")).ip();
    let address: IpAddr =
        if stack == Stack::V6 { "2001:db8::10" } else { "192.0.2.10" }.parse().expect("an address");
    mesh.apply(&format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: weighted, namespace: shop}}\n\
         spec:\n  hosts: [weighted.test]\n  addresses: [\"{address}\"]\n  resolution: STATIC\n  \
         ports: [{{name: tcp, number: 80, targetPort: 8080, protocol: TCP}}]\n  \
         endpoints: [{{address: \"{}\", weight: 3}}, {{address: \"{}\", weight: 1}}]\n",
        ip("web-1"),
        ip("web-2"),
    ))?;
    until_answered_by(&client, (address, 80).into(), &["web-1", "web-2"])?;
    // Four standard deviations around 150 of 200.
    let heavy = answers(&client, (address, 80).into(), 200)?["web-1"];
    assert!((125..=175).contains(&heavy), "{heavy} of 200");
    Ok(())
}

#[test]
fn the_nearest_endpoints_are_preferred_as_far_as_the_service_says() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(nearest)
}

fn nearest(stack: Stack) -> Result<(), LabError> {
    let (mesh, web) = (Mesh::up(&mall(stack))?, Web(stack));
    let client = mesh.pod("shop/client");
    let _servers = serve_names(&mesh)?;
    let ready = "ready: true, serving: true, terminating: false";
    let gone = "ready: false, serving: false, terminating: false";
    let all = slice(&mesh, &WEBS.map(|name| (name, ready)));
    for distribution in ["PreferSameNode", "PreferSameZone", "PreferClose"] {
        mesh.apply(&all)?;
        mesh.apply(&web.manifest(&format!("  trafficDistribution: {distribution}\n")))?;
        until_answered_by(&client, web.address(), &["web-1"])?;
        mesh.apply(&slice(&mesh, &[("web-1", gone), ("web-2", ready), ("web-3", ready)]))?;
        until_answered_by(&client, web.address(), &["web-2", "web-3"])?;
    }
    mesh.apply(&all)?;
    mesh.apply(&web.manifest(""))?;
    until_answered_by(&client, web.address(), &WEBS)
}

#[test]
fn another_node_of_the_own_zone_is_near_for_the_zone_and_not_for_the_node() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(nearby)
}

/// One endpoint on the client's node, one on another of its zone, and two in another zone.
fn nearby(stack: Stack) -> Result<(), LabError> {
    let mut cluster = mall(stack);
    cluster.node("node3");
    cluster.pod(PodSpec::new("shop", "web-4").node("node3").label("app", "web"));
    let lab = Lab::up(&cluster)?;
    let zone = json!({ "metadata": { "labels": { "topology.kubernetes.io/zone": "zone1" } } });
    lab.patch("Node", "", "node3", &zone)?;
    let (mesh, web) = (Mesh::on(lab, &MeshOptions::default())?, Web(stack));
    let client = mesh.pod("shop/client");
    let _servers = serve_names(&mesh)?;
    let _nearby = mesh.pod("shop/web-4").serve(PORT, serve::banner("web-4"))?;
    let ready = "ready: true, serving: true, terminating: false";
    let endpoints = |names: &[&str]| slice(&mesh, &names.iter().map(|it| (*it, ready)).collect::<Vec<_>>());
    for (distribution, nearest) in [
        ("PreferSameNode", &["web-1"][..]),
        ("PreferSameZone", &["web-1", "web-4"]),
        ("PreferClose", &["web-1", "web-4"]),
    ] {
        mesh.apply(&endpoints(&["web-1", "web-2", "web-3", "web-4"]))?;
        mesh.apply(&web.manifest(&format!("  trafficDistribution: {distribution}\n")))?;
        until_answered_by(&client, web.address(), nearest)?;
        mesh.apply(&endpoints(&["web-2", "web-3", "web-4"]))?;
        until_answered_by(&client, web.address(), &["web-4"])?;
        mesh.apply(&endpoints(&["web-2", "web-3"]))?;
        until_answered_by(&client, web.address(), &["web-2", "web-3"])?;
    }
    Ok(())
}

#[test]
fn traffic_that_is_to_stay_on_the_node_stays_there_or_is_refused() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(stays)
}

fn stays(stack: Stack) -> Result<(), LabError> {
    let (mesh, web) = (Mesh::up(&mall(stack))?, Web(stack));
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let _servers = serve_names(&mesh)?;
    let ready = "ready: true, serving: true, terminating: false";
    mesh.apply(&slice(&mesh, &WEBS.map(|name| (name, ready))))?;
    mesh.apply(&web.manifest("  internalTrafficPolicy: Local\n"))?;
    until_answered_by(&client, web.address(), &["web-1"])?;
    until_answered_by(&server, web.address(), &["web-2", "web-3"])?;
    mesh.apply(&slice(&mesh, &[("web-2", ready), ("web-3", ready)]))?;
    eventually("nobody answers", || Ok(greeted(&client, web.address()).is_err().then_some(())))?;
    let error = refused(mesh.daemon("node1"), &client, web.address())?.error.unwrap_or_default();
    assert!(error.contains("no endpoint is within the scope"), "{error}");
    until_answered_by(&server, web.address(), &["web-2", "web-3"])
}

#[test]
fn a_client_with_affinity_stays_with_its_endpoint_while_there_is_one() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(affine)
}

fn affine(stack: Stack) -> Result<(), LabError> {
    let (mesh, web) = (Mesh::up(&mall(stack))?, Web(stack));
    let client = mesh.pod("shop/client");
    let _servers = serve_names(&mesh)?;
    let ready = "ready: true, serving: true, terminating: false";
    mesh.apply(&slice(&mesh, &WEBS.map(|name| (name, ready))))?;
    mesh.apply(&web.manifest("  sessionAffinity: ClientIP\n"))?;
    let first = eventually("the Service answers", || Ok(greeted(&client, web.address()).ok()))?.0;
    until_answered_by(&client, web.address(), &[&first])?;
    let others: Vec<_> = WEBS.into_iter().filter(|name| *name != first).collect();
    mesh.apply(&slice(&mesh, &others.iter().map(|name| (*name, ready)).collect::<Vec<_>>()))?;
    let second = eventually("another endpoint answers", || {
        Ok(greeted(&client, web.address()).ok().map(|it| it.0).filter(|name| *name != first))
    })?;
    mesh.apply(&slice(&mesh, &WEBS.map(|name| (name, ready))))?;
    until_answered_by(&client, web.address(), &[&second])
}

#[test]
fn a_client_that_was_idle_for_the_time_of_its_affinity_is_balanced_again() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(idle)
}

fn idle(stack: Stack) -> Result<(), LabError> {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let (mesh, web) = (Mesh::up(&mall(stack))?, Web(stack));
    let client = mesh.pod("shop/client");
    let _servers = serve_names(&mesh)?;
    let timeout = TIMEOUT.as_secs();
    mesh.apply(&web.manifest(&format!(
        "  sessionAffinity: ClientIP\n  sessionAffinityConfig: {{clientIP: {{timeoutSeconds: {timeout}}}}}\n"
    )))?;
    let first = eventually("the Service answers", || Ok(greeted(&client, web.address()).ok()))?.0;
    until_answered_by(&client, web.address(), &[&first])?;
    // Each time it is one of three: that it is the same each time would happen once in half a million runs.
    let others = (0..12).find_map(|_| {
        std::thread::sleep(TIMEOUT + Duration::from_millis(100));
        greeted(&client, web.address()).map(|it| Some(it.0).filter(|name| *name != first)).transpose()
    });
    assert!(others.transpose()?.is_some(), "{first} answered each time");
    Ok(())
}
