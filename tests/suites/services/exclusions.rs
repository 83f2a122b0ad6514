//! Connections that a pod wants kept from capture.

use std::net::SocketAddr;

use e2e::calls::{exchange, opened, shop, until_refused, until_served};
use harness::{LabError, Mesh, Pod, PodSpec, Stack, eventually, serve};
use serde_json::{Value, json};

/// Where the pod wants no capture, in and out.
const OPEN: u16 = 9400;

#[test]
fn exclusions_are_honoured_only_where_the_namespaces_operator_allows_them() -> Result<(), LabError> {
    let mesh = mesh(Stack::Dual)?;
    let (client, picky, printer) =
        (mesh.pod("shop/client"), mesh.pod("shop/picky"), mesh.pod("legacy/printer"));
    let _far = printer.serve(OPEN, serve::echo())?;
    let _own = picky.serve(OPEN, serve::echo())?;
    let batch = mesh.pod("legacy/batch");
    for ip in printer.ips() {
        assert!(outbound_is_seen(&mesh, &picky, (*ip, OPEN).into())?);
    }
    assert!(inbound_is_seen(&mesh, &batch, picky.at(OPEN))?);
    assert!(notes(&mesh)?.contains("namespace shop does not allow exclusions"), "{}", notes(&mesh)?);

    mesh.patch("Namespace", "", "shop", &allowing())?;
    for ip in printer.ips() {
        eventually("what goes out is excluded", || {
            Ok((!outbound_is_seen(&mesh, &picky, (*ip, OPEN).into())?).then_some(()))
        })?;
    }
    eventually("what comes in is excluded", || {
        Ok((!inbound_is_seen(&mesh, &batch, picky.at(OPEN))?).then_some(()))
    })?;
    // Another port and another pod are as ever, and so is who comes by tunnel.
    let _captured = printer.serve(OPEN + 1, serve::echo())?;
    assert!(outbound_is_seen(&mesh, &picky, printer.at(OPEN + 1))?);
    assert!(outbound_is_seen(&mesh, &client, printer.at(OPEN))?);
    assert!(outbound_is_seen(&mesh, &client, picky.at(OPEN))?);
    Ok(())
}

#[test]
fn an_excluded_range_is_called_past_the_mesh() -> Result<(), LabError> {
    let mut cluster = shop(Stack::V4);
    let annotation = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
    cluster.pod(PodSpec::new("shop", "picky").node("node1").annotation(annotation, "10.244.2.0/24"));
    let mesh = Mesh::up(&cluster)?;
    mesh.patch("Namespace", "", "shop", &allowing())?;
    let (picky, printer, batch) =
        (mesh.pod("shop/picky"), mesh.pod("legacy/printer"), mesh.pod("legacy/batch"));
    let _far = printer.serve(OPEN, serve::echo())?;
    let _near = batch.serve(OPEN, serve::echo())?;
    eventually("the range is excluded", || {
        Ok((!outbound_is_seen(&mesh, &picky, printer.at(OPEN))?).then_some(()))
    })?;
    assert!(outbound_is_seen(&mesh, &picky, batch.at(OPEN))?);
    Ok(())
}

#[test]
fn an_exclusion_opens_no_port_that_policy_guards() -> Result<(), LabError> {
    let mesh = mesh(Stack::V4)?;
    mesh.patch("Namespace", "", "shop", &allowing())?;
    let (client, picky, batch) = (mesh.pod("shop/client"), mesh.pod("shop/picky"), mesh.pod("legacy/batch"));
    let _own = picky.serve(OPEN, serve::echo())?;
    let past_the_mesh = || {
        eventually("the exclusion is honoured", || {
            Ok(matches!(inbound_is_seen(&mesh, &batch, picky.at(OPEN)), Ok(false)).then_some(()))
        })
    };
    past_the_mesh()?;
    for (kind, spec, why, _) in GUARDS {
        mesh.apply(&guard(kind, spec))?;
        until_refused(&format!("{spec} guards the port"), &batch, picky.at(OPEN))?;
        until_served("the mesh is let in", &client, picky.at(OPEN))?;
        assert!(notes(&mesh)?.contains(why), "{why:?} is not in {}", notes(&mesh)?);
        mesh.delete(kind, "shop", "guard")?;
        past_the_mesh()?;
    }
    Ok(())
}

#[test]
fn an_exclusion_is_honoured_where_policy_lets_everybody_in_anyway() -> Result<(), LabError> {
    let mesh = mesh(Stack::V4)?;
    mesh.patch("Namespace", "", "shop", &allowing())?;
    let (picky, batch) = (mesh.pod("shop/picky"), mesh.pod("legacy/batch"));
    let _own = picky.serve(OPEN, serve::echo())?;
    let _guarded = picky.serve(OPEN + 1, serve::echo())?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: guard, namespace: shop}\n\
         spec:\n  action: ALLOW\n  rules:\n  - to: [{operation: {ports: [\"9400\"]}}]\n  \
         - from: [{source: {namespaces: [shop]}}]\n",
    )?;
    until_refused("the other port is guarded", &batch, picky.at(OPEN + 1))?;
    eventually("the exclusion is honoured", || {
        Ok((!inbound_is_seen(&mesh, &batch, picky.at(OPEN))?).then_some(()))
    })
}

#[test]
fn a_bypass_of_inbound_capture_opens_no_pod_that_policy_guards() -> Result<(), LabError> {
    let mut cluster = shop(Stack::V4);
    let annotation = "ambient.istio.io/bypass-inbound-capture";
    cluster.pod(PodSpec::new("shop", "picky").node("node1").annotation(annotation, "true"));
    let mesh = Mesh::up(&cluster)?;
    let (client, picky, batch) = (mesh.pod("shop/client"), mesh.pod("shop/picky"), mesh.pod("legacy/batch"));
    let _own = picky.serve(OPEN, serve::echo())?;
    assert!(inbound_is_seen(&mesh, &batch, picky.at(OPEN))?);
    let refused = |why: &str| format!("Pod shop/picky: {annotation} is not honoured: {why}");
    let said = notes(&mesh)?;
    assert!(said.contains(&refused("namespace shop does not allow exclusions")), "{said}");

    mesh.patch("Namespace", "", "shop", &allowing())?;
    let past_the_mesh = || {
        eventually("the bypass is honoured", || {
            Ok(matches!(inbound_is_seen(&mesh, &batch, picky.at(OPEN)), Ok(false)).then_some(()))
        })
    };
    past_the_mesh()?;
    for (kind, spec, _, why) in GUARDS {
        mesh.apply(&guard(kind, spec))?;
        until_refused(&format!("{spec} guards the pod"), &batch, picky.at(OPEN))?;
        until_served("the mesh is let in", &client, picky.at(OPEN))?;
        let said = notes(&mesh)?;
        assert!(said.contains(&refused(why)), "{why:?} is not in {said}");
        mesh.delete(kind, "shop", "guard")?;
        past_the_mesh()?;
    }
    Ok(())
}

/// What guards the port of a pod against clients outside of the mesh, and what is said of the exclusion of that port then,
/// and of all.
const GUARDS: [(&str, &str, &str, &str); 4] = [
    (
        "PeerAuthentication",
        "{mtls: {mode: STRICT}}",
        "port 9400 is under STRICT mutual TLS",
        "STRICT mutual TLS applies",
    ),
    (
        "AuthorizationPolicy",
        "{action: DENY, rules: [{from: [{source: {notPrincipals: [\"*\"]}}], to: [{operation: {ports: [\"9400\"]}}]}]}",
        "port 9400 is under a DENY policy",
        "DENY policy shop/guard applies",
    ),
    (
        "AuthorizationPolicy",
        "{action: ALLOW, rules: [{from: [{source: {namespaces: [shop]}}]}]}",
        "ALLOW policies apply, and would not be asked about port 9400",
        "ALLOW policy shop/guard applies",
    ),
    (
        "AuthorizationPolicy",
        "{action: ALLOW, rules: [{from: [{source: {principals: [\"*\"]}}], to: [{operation: {ports: [\"9400\"]}}]}]}",
        "ALLOW policies apply, and would not be asked about port 9400",
        "ALLOW policy shop/guard applies",
    ),
];

fn guard(kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: guard, namespace: shop}}\nspec: {spec}\n"
    )
}

/// The usual pods, and one that wants a port kept from capture.
fn mesh(stack: Stack) -> Result<Mesh, LabError> {
    let mut cluster = shop(stack);
    let spec = PodSpec::new("shop", "picky").node("node1");
    let spec = spec.annotation("traffic.sidecar.istio.io/excludeOutboundPorts", "9400");
    cluster.pod(spec.annotation("traffic.sidecar.istio.io/excludeInboundPorts", "9400"));
    Mesh::up(&cluster)
}

fn allowing() -> Value {
    json!({ "metadata": { "annotations": { "ambient.mesh/allow-exclusions": "true" } } })
}

/// Whether the daemon has a hand in a call of a pod.
fn outbound_is_seen(mesh: &Mesh, from: &Pod, to: SocketAddr) -> Result<bool, LabError> {
    is_seen(mesh, from, to, "outbound")
}

/// Whether the daemon has a hand in a call to a pod.
fn inbound_is_seen(mesh: &Mesh, from: &Pod, to: SocketAddr) -> Result<bool, LabError> {
    is_seen(mesh, from, to, "inbound")
}

/// A connection that works is in the daemon's list as long as it lives, or is none of its.
fn is_seen(mesh: &Mesh, from: &Pod, to: SocketAddr, direction: &str) -> Result<bool, LabError> {
    let mut stream = opened(from, to)?;
    let local = stream.local_addr()?.to_string();
    let listed = mesh.daemon("node1").get("/connections")?.json()?;
    exchange(&mut stream)?;
    let is_it = |it: &Value| it["source"]["address"] == *local && it["direction"] == direction;
    Ok(listed.as_array().into_iter().flatten().any(is_it))
}

fn notes(mesh: &Mesh) -> Result<String, LabError> {
    Ok(mesh.daemon("node1").get("/config_dump/source")?.body)
}
