//! What the CA says of whom it signs for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use certs::{CaClient, CaClientConfig, LeafKey, NodeKey, SignError, Signer, SystemClock};
use harness::{AuditLine, Authority, LabError, Mesh, MeshOptions, eventually};
use identity::SpiffeId;
use serde_json::json;

use crate::scene::{serial, shop};

#[test]
fn each_signature_and_each_refusal_is_one_line_of_the_audit() -> Result<(), LabError> {
    let options = MeshOptions { ca: json!({ "log": { "format": "json" } }), ..MeshOptions::default() };
    let mesh = Mesh::with(&shop(), &options)?;
    let pods = ["shop/client", "shop/near", "shop/server"].map(|pod| mesh.pod(pod));
    let held = pods.iter().map(|pod| serial(&mesh, pod)).collect::<Result<Vec<_>, _>>()?;
    let lines = written(&mesh)?;
    for (pod, serial) in pods.iter().zip(&held) {
        let signed = lines.iter().filter_map(AuditLine::signed).filter(|(_, of, _)| *of == pod.identity());
        assert_eq!(signed.collect::<Vec<_>>(), [(pod.node().name(), &*pod.identity(), &**serial)]);
    }
    let [_, _, server] = &pods;
    let code = ask(&mesh, "node1", &server.identity())?;
    assert_eq!(code, Some("PermissionDenied".to_owned()), "it runs on node2");
    let code = ask(&mesh, "node3", &server.identity())?;
    assert_eq!(code, Some("Unauthenticated".to_owned()), "nobody knows that node");
    let refused = written(&mesh)?.split_off(lines.len());
    let said: Vec<_> = refused.iter().map(AuditLine::refused).collect();
    let of_server = server.identity();
    let expected = [("other_node", Some("node1"), Some(&*of_server)), ("unknown_node", None, None)];
    assert_eq!(said, expected.map(Some), "{refused:?}");
    assert!(refused.iter().all(|it| it.peer.as_ref().is_some_and(|it| it.contains("127.0.0.1"))));
    assert!(refused[0].cause.as_ref().is_some_and(|it| it.contains("does not run on node \"node1\"")));
    Ok(())
}

/// The audit, once it tells of as many calls as the CA has counted.
fn written(mesh: &Mesh) -> Result<Vec<AuditLine>, LabError> {
    eventually("there is not one line for each call", || {
        let status = mesh.ca().get("/config_dump/ca")?.json()?;
        let lines = AuditLine::all_in(&mesh.ca().log()?);
        let signed = lines.iter().filter(|line| line.signed().is_some()).count();
        let counted = (&status["requests"], &status["signatures"]);
        Ok((counted == (&json!(lines.len()), &json!(signed))).then_some(lines))
    })
}

/// Asks as a node, with node1's key, for somebody's certificate; the code of the refusal.
fn ask(mesh: &Mesh, node: &str, identity: &str) -> Result<Option<String>, LabError> {
    let identity: SpiffeId = identity.parse().expect("an identity");
    let key = std::fs::read_to_string(Authority::node_key(mesh.node("node1")))?;
    let key = NodeKey::from_pem(node, &key).expect("a key");
    let config = CaClientConfig {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 15012)).to_string().parse().expect("an address"),
        server_name: Authority::NAME.try_into().expect("a name"),
        roots: mesh.ca().roots(),
        cluster_id: "Kubernetes".to_owned(),
        lifetime: Duration::from_hours(1),
        timeout: Duration::from_secs(10),
    };
    let client = CaClient::new(config, Arc::new(key), Arc::new(SystemClock));
    let csr = LeafKey::generate().and_then(|key| key.request(&identity)).expect("a request");
    let asked = mesh.wire().within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(client.sign(&identity, &csr)))
    })?;
    match asked {
        Ok(_chain) => Ok(None),
        Err(SignError::Refused { code, .. }) => Ok(Some(format!("{code:?}"))),
        Err(error) => Err(LabError::Io(std::io::Error::other(error))),
    }
}
