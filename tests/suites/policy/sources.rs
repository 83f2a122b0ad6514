//! Sources without an identity that policies can name.

use e2e::calls::{opened, opened_on};
use harness::{LabError, serve};
use serde_json::json;

use crate::scene::{mesh, until};

#[test]
fn a_policy_may_let_nodes_in_and_nobody_else_without_an_identity() -> Result<(), LabError> {
    let mesh = mesh("", json!({}))?;
    let (client, batch, server) =
        (mesh.pod("shop/client"), mesh.pod("legacy/batch"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    let there = server.at(echo.port());
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: nodes, namespace: shop}\n\
         spec: {rules: [{from: [{source: {principals: [ambient.mesh/node]}}]}]}\n",
    )?;
    until("the pod outside of the mesh is refused", false, &batch, there)?;
    assert!(opened(&client, there).is_err(), "an identity is no node");
    opened_on(mesh.node("node1"), there)?;
    let node = mesh.daemon("node2");
    let record = node.wait_record(|it| it.source.ip() == mesh.node("node1").ip() && it.error.is_none())?;
    assert_eq!(record.policy.as_deref(), Some("shop/nodes rule 0"));
    assert_eq!(record.source_class.as_deref(), Some("ambient.mesh/node"));

    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: shop}\n\
         spec: {mtls: {mode: STRICT}}\n",
    )?;
    harness::eventually("a node has no identity either", || {
        Ok(opened_on(mesh.node("node1"), there).is_err().then_some(()))
    })
}

#[test]
fn a_principal_of_a_former_trust_domain_is_the_same_workload() -> Result<(), LabError> {
    let mesh = mesh("", json!({"mesh": {"trustDomainAliases": ["old.example"]}}))?;
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    let there = server.at(echo.port());
    let policy = |domain: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: former, namespace: shop}}\n\
             spec: {{rules: [{{from: [{{source: {{principals: [{domain}/ns/shop/sa/client]}}}}]}}]}}\n"
        )
    };
    mesh.apply(&policy("older.example"))?;
    until("the name of another domain lets nobody in", false, &client, there)?;
    mesh.apply(&policy("old.example"))?;
    until("a former name lets the workload in", true, &client, there)?;
    assert!(opened(&near, there).is_err(), "and no other one");
    Ok(())
}
