//! NetworkPolicies on the ports that tunnels lead to, and what is told of what is not in force.

use std::io::Read;
use std::time::{Duration, Instant};

use e2e::calls::opened;
use harness::{LabError, serve};
use serde_json::json;

use crate::scene::{mesh, until};

fn guard(from: &str, port: u16) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: guard, namespace: shop}}\n\
         spec:\n  podSelector: {{matchLabels: {{app: server}}}}\n  \
         ingress: [{{from: [{{podSelector: {{matchLabels: {{app: {from}}}}}}}], ports: [{{port: {port}}}]}}]\n"
    )
}

#[test]
fn a_network_policy_decides_about_the_port_behind_the_tunnel() -> Result<(), LabError> {
    let mesh = mesh("", json!({ "path": { "networkPolicies": true } }))?;
    let (client, near, batch) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("legacy/batch"));
    let server = mesh.pod("shop/server");
    let (open, other) = (server.serve(0, serve::echo())?, server.serve(0, serve::echo())?);
    mesh.apply(&guard("client", open.port()))?;
    until("the neighbour is kept out", false, &near, server.at(open.port()))?;
    until("plaintext is kept out", false, &batch, server.at(open.port()))?;
    let mut stream = opened(&client, server.at(open.port()))?;
    assert!(opened(&client, server.at(other.port())).is_err(), "the port is not the policy's");
    let node = mesh.daemon("node2");
    let refused =
        node.wait_record(|it| it.direction == "inbound" && it.joins("near", "server") && it.error.is_some())?;
    assert_eq!(refused.policy.as_deref(), Some("shop/guard"));

    mesh.apply(&guard("near", open.port()))?;
    let applied = Instant::now();
    let ended = stream.read(&mut [0]);
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    assert!(applied.elapsed() < Duration::from_secs(1), "it took {:?}", applied.elapsed());
    until("the neighbour is let in", true, &near, server.at(open.port()))?;
    let refusals = [("policy_name", "guard"), ("reason", "network_policy")];
    node.wait_metric("ambient_policy_decisions_total", &refusals, |count| count >= 3.0)?;
    Ok(())
}

#[test]
fn status_names_what_is_not_in_force_as_it_is_written() -> Result<(), LabError> {
    let mesh = mesh("", json!({}))?;
    let node = mesh.daemon("node2");
    assert!(!node.status(&["--check"])?.contains("not in force"));
    mesh.apply(&guard("client", 8080))?;
    mesh.apply(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: routes, namespace: shop}\n",
    )?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: get, namespace: shop}\n\
         spec: {action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}\n",
    )?;
    harness::eventually("all of it is told", || {
        let status = node.status(&[])?;
        let told = [
            " captured, 0 draining, 0 failed",
            "NetworkPolicy shop/guard: pod server cannot be reached by tunnel",
            "AuthorizationPolicy shop/get: rule 0 never matches here: it asks for nothing but methods",
            "VirtualService shop/routes: routes and their settings are those of the Gateway API",
        ];
        Ok(told.iter().all(|line| status.contains(line)).then_some(()))
    })?;
    assert!(node.status(&["--check"]).is_err());
    for (state, kind, reason) in [
        ("altered", "NetworkPolicy", "tunnel_shut"),
        ("altered", "AuthorizationPolicy", "rule_empty"),
        ("ignored", "VirtualService", "ignored"),
    ] {
        let labels = [("state", state), ("kind", kind), ("reason", reason)];
        node.wait_metric("ambient_source_findings", &labels, |count| count == 1.0)?;
    }
    Ok(())
}
