//! Destinations that nobody in the mesh knows.

use std::net::SocketAddr;

use e2e::calls::{greeted, outbound, refused, shop};
use harness::{LabError, Mesh, Stack, WIRE_V4, WIRE_V6, eventually, serve};
use serde_json::json;

#[test]
fn unknown_destinations_are_passed_through_or_denied_as_the_namespace_says() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::Dual))?;
    let client = mesh.pod("shop/client");
    let outside = mesh.serve_outside(80, serve::banner("outside"))?;
    let daemon = mesh.daemon("node1");
    let egress = |mode| {
        mesh.patch(
            "Namespace",
            "",
            "shop",
            &json!({ "metadata": { "annotations": { "ambient.mesh/egress": mode } } }),
        )
    };
    for ip in [WIRE_V4, WIRE_V6] {
        let local = greeted(&client, (ip, 80).into())?.1;
        let record = outbound(daemon, local)?;
        assert_eq!((record.path.as_str(), record.destination), ("passthrough", (ip, 80).into()));
        assert_eq!((record.destination_workload, record.error), (None, None));
        assert_eq!(outside.peers().last().map(SocketAddr::ip), Some(local.ip()));
    }
    egress(json!("deny"))?;
    for ip in [WIRE_V4, WIRE_V6] {
        eventually("it is denied", || Ok(greeted(&client, (ip, 80).into()).is_err().then_some(())))?;
        let before = outside.peers().len();
        let error = refused(daemon, &client, (ip, 80).into())?.error.unwrap_or_default();
        assert!(error.contains("namespace shop denies unknown destinations"), "{error}");
        assert_eq!(outside.peers().len(), before);
    }
    // What the mesh is told of is known.
    mesh.apply(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: out, namespace: shop}\n\
         spec: {hosts: [out.test], addresses: [172.30.0.1], resolution: NONE, \
         ports: [{name: tcp, number: 80, protocol: TCP}]}\n",
    )?;
    eventually("what is known is let out", || Ok(greeted(&client, (WIRE_V4, 80).into()).ok()))?;
    assert!(greeted(&client, (WIRE_V6, 80).into()).is_err());
    egress(json!("log"))?;
    eventually("it is let out again", || Ok(greeted(&client, (WIRE_V6, 80).into()).ok()))?;
    egress(json!(null))?;
    greeted(&client, (WIRE_V6, 80).into())?;
    Ok(())
}

#[test]
fn the_egress_of_one_namespace_is_not_that_of_another() -> Result<(), LabError> {
    let mut cluster = shop(Stack::V4);
    cluster.ambient("bank");
    cluster.pod(harness::PodSpec::new("bank", "teller").node("node1"));
    let mesh = Mesh::up(&cluster)?;
    let _outside = mesh.serve_outside(80, serve::banner("outside"))?;
    let deny = json!({ "metadata": { "annotations": { "ambient.mesh/egress": "deny" } } });
    mesh.patch("Namespace", "", "shop", &deny)?;
    let (client, teller) = (mesh.pod("shop/client"), mesh.pod("bank/teller"));
    eventually("it is denied", || Ok(greeted(&client, (WIRE_V4, 80).into()).is_err().then_some(())))?;
    assert_eq!(greeted(&teller, (WIRE_V4, 80).into())?.0, "outside");
    Ok(())
}
