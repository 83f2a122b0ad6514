//! Connections that leave the mesh.

use harness::{LabError, Mesh, Stack, WIRE_V4, eventually, serve};
use serde_json::json;

use e2e::calls::{echoed, shop};

#[test]
fn a_namespace_that_wants_to_hear_of_unknown_destinations_does() -> Result<(), LabError> {
    let mut cluster = shop(Stack::V4);
    cluster.add(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": "shop",
            "labels": { "istio.io/dataplane-mode": "ambient" },
            "annotations": { "ambient.mesh/egress": "log" },
        },
    }));
    let mesh = Mesh::up(&cluster)?;
    let outside = mesh.serve_outside(0, serve::echo())?;
    let (client, batch) = (mesh.pod("shop/client"), mesh.pod("legacy/batch"));
    let to: std::net::SocketAddr = (WIRE_V4, outside.port()).into();
    echoed(&client, to, b"reported")?;
    echoed(&batch, to, b"not captured, so nobody's concern")?;
    let daemon = mesh.daemon("node1");
    let labels = [("namespace", "shop"), ("outcome", "reported")];
    daemon.wait_metric("ambient_egress_total", &labels, |count| count > 0.0)?;
    let said = |line: &&str| line.contains("connection leaves the mesh") && line.contains(&to.to_string());
    eventually("the log says so", || Ok(daemon.log()?.lines().any(|line| said(&line)).then_some(())))?;
    assert_eq!(daemon.scrape()?.sum("ambient_egress_total", &labels), Some(1.0));
    Ok(())
}
