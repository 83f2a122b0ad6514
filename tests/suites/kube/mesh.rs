//! Daemons on their nodes, whose CA goes by the API server.

use std::fs;
use std::time::Duration;

use harness::{
    Cluster, ControlPlane, Lab, LabError, Mesh, MeshOptions, PodSpec, Stack, exchange, serve, wait_for,
};
use serde_json::{Value, json};

use crate::scene::{account, make, pod};

#[test]
fn daemons_get_certificates_by_their_accounts_tokens_and_carry_connections() -> Result<(), LabError> {
    let mut cluster = Cluster::with_stack(Stack::V4);
    cluster.ambient("shop");
    let pods = [("client", "node1"), ("server", "node2")];
    for (name, node) in pods {
        cluster.pod(PodSpec::new("shop", name).node(node));
    }
    let lab = Lab::up(&cluster)?;
    let plane = ControlPlane::beside(&lab)?;
    plane.apply(include_str!("../../../deploy/ca/rbac.yaml"))?;
    make(&plane, &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }))?;
    for (name, node) in pods {
        // A lab's pod runs under an account of its name.
        make(&plane, &account("shop", name))?;
        make(&plane, &pod("shop", name, name, node))?;
    }
    let config = json!({ "ca": { "nodeKey": null } });
    let mut options = MeshOptions { ca: by_api_server(&plane)?, config, ..MeshOptions::default() };
    make(&plane, &account("ambient-system", "ztunnel"))?;
    for node in lab.nodes() {
        let name = format!("ztunnel-{}", node.name());
        let made = make(&plane, &pod("ambient-system", &name, "ztunnel", node.name()))?;
        let uid = made.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let path = node.folder().join("projected.token");
        fs::write(&path, plane.token("ambient-system/ztunnel", "istio-ca", Some((&name, uid)))?)?;
        options.nodes.insert(node.name().to_owned(), json!({ "ca": { "tokenFile": path } }));
    }
    let mesh = Mesh::on(lab, &options)?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    wait_for("no connection was carried", Duration::from_secs(30), || {
        Ok(exchange(&client, server.at(echo.port()), 1000).ok())
    })?;
    let carried = mesh.daemon("node2").wait_record(|it| it.error.is_none())?;
    assert_eq!(carried.path, "hbone");
    let log = mesh.ca().log()?;
    assert!(log.contains("ambient-system/ztunnel in pod ztunnel-node2 on node2"), "{log}");
    Ok(())
}

/// A CA that knows its callers by the API server, and has its root there.
fn by_api_server(plane: &ControlPlane) -> Result<Value, LabError> {
    let token = plane.token("ambient-system/ca", "https://kubernetes.default.svc", None)?;
    Ok(json!({
        "root": { "folder": null, "secret": "ambient-system/ambient-ca-root" },
        "trust": {
            "nodes": null,
            "manifests": null,
            "kubernetes": plane.kubeconfig("ca", &token)?,
        },
    }))
}
