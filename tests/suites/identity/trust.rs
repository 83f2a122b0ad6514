//! Who vouches for whom.

use std::io::{Read, Write};
use std::net::SocketAddr;

use harness::{LabError, Mesh, MeshOptions, Pod};
use serde_json::json;

use crate::scene::{echo, serial, shop};

#[test]
fn a_server_of_another_trust_domain_is_not_who_is_expected() -> Result<(), LabError> {
    let options = MeshOptions {
        ca: json!({ "trust": { "aliases": ["other.example"] } }),
        nodes: [("node2".to_owned(), json!({ "mesh": { "trustDomain": "other.example" } }))].into(),
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

fn refused(client: &Pod, to: SocketAddr) {
    let talked = client.connect(to).and_then(|mut stream| {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])
    });
    assert!(talked.is_err(), "a peer is believed that nobody vouches for");
}
