//! Who vouches for whom.

use std::io::{Read, Write};
use std::net::SocketAddr;

use harness::{Lab, LabError, Mesh, MeshOptions, Pod, eventually};
use serde_json::json;

use crate::scene::{echo, serial, shop};

#[test]
fn a_server_of_another_trust_domain_is_not_who_is_expected() -> Result<(), LabError> {
    let options = MeshOptions {
        // An alias alone makes nobody trusted.
        config: json!({ "mesh": { "trustDomainAliases": ["other.example"] } }),
        ca: json!({ "trust": { "aliases": ["other.example"] } }),
        nodes: [(
            "node2".to_owned(),
            json!({ "mesh": { "trustDomain": "other.example", "trustDomainAliases": [] } }),
        )]
        .into(),
        ..MeshOptions::default()
    };
    let mesh = Mesh::with(&shop(), &options)?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    serial(&mesh, &client)?;
    let (_server, there) = echo(&server)?;
    refused(&client, there);
    let record = mesh.daemon("node1").wait_record(|it| it.joins("client", "server") && it.error.is_some())?;
    let error = record.error.unwrap_or_default();
    assert!(error.contains("trust domain other.example is not trusted"), "{error}");
    Ok(())
}

#[test]
fn a_mesh_changes_the_name_of_its_trust_domain_node_by_node() -> Result<(), LabError> {
    let lab = Lab::up(&shop())?;
    // The same roots vouch for both names.
    let roots = lab.folder().join("ca/roots.pem").display().to_string();
    let named = |own: &str, other: &str| {
        json!({
            "mesh": { "trustDomain": own, "trustDomainAliases": [other] },
            "trust": { "federated": format!("{other}={roots}") },
        })
    };
    let options = MeshOptions {
        ca: json!({ "trust": { "aliases": [NEXT] } }),
        nodes: [("node1".to_owned(), named(FIRST, NEXT)), ("node2".to_owned(), named(NEXT, FIRST))].into(),
        ..MeshOptions::default()
    };
    let mesh = Mesh::on(lab, &options)?;
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let ((_there, there), (_back, back)) = (echo(&server)?, echo(&client)?);
    for (from, to) in [(&client, there), (&server, back)] {
        eventually("a peer under an alias is not believed", || Ok(talk(from, to).ok()))?;
    }
    for (node, names, name) in [("node1", ("server", "client"), FIRST), ("node2", ("client", "server"), NEXT)]
    {
        let good = |it: &harness::AccessRecord| it.joins(names.0, names.1) && it.error.is_none();
        let record = mesh.daemon(node).wait_record(|it| good(it) && it.direction == "inbound")?;
        let known = format!("spiffe://{name}/ns/shop/sa/{}", names.0);
        assert_eq!(record.source_identity, Some(known), "each node calls it by its own name");
    }
    for (principal, let_in) in [(FIRST, true), (NEXT, true), ("other.example", false)] {
        mesh.apply(&only(&format!("{principal}/ns/shop/sa/client")))?;
        eventually("the policy has no effect", || Ok(talk(&near, there).err().map(drop)))?;
        let what = format!("{principal} lets the client in: {let_in}");
        eventually(&what, || Ok((talk(&client, there).is_ok() == let_in).then_some(())))?;
    }
    Ok(())
}

fn only(principal: &str) -> String {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "namespace": "shop", "name": "only" },
        "spec": { "rules": [{ "from": [{ "source": { "principals": [principal] } }] }] },
    })
    .to_string()
}

fn talk(client: &Pod, to: SocketAddr) -> std::io::Result<()> {
    let mut stream = client.connect(to)?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

fn refused(client: &Pod, to: SocketAddr) {
    assert!(talk(client, to).is_err(), "a peer is believed that nobody vouches for");
}

/// The name that the CA knows the mesh by.
const FIRST: &str = "cluster.local";

/// The name that it is to have.
const NEXT: &str = "next.example";
