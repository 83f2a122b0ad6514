//! The peer behind the gateway of another network.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener};

use e2e::hbone_server::{Beyond, HBONE, HboneServer, authority_of};
use harness::{LabError, Marker, WIRE_V4, eventually};

use crate::world::World;

#[test]
fn a_tunnel_within_a_tunnel_ends_at_the_peer() -> Result<(), LabError> {
    let world = World::up()?;
    let (ours, theirs) = (world.pod("ours"), world.pod("theirs"));
    let authority = authority_of(&world.mesh)?;
    let listener = world.mesh.wire().within(|| TcpListener::bind((WIRE_V4, HBONE)))?;
    let beyond = Beyond { from: world.pod("bare"), to: theirs.at(HBONE), baggage: None };
    let gateway = HboneServer::start(listener, &authority, GATEWAY, beyond)?;
    world.mesh.apply(&format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata:\n  name: far\n  namespace: istio-system\n  \
         labels: {{topology.istio.io/network: far}}\n  annotations: {{gateway.istio.io/service-account: eastwest}}\n\
         spec:\n  gatewayClassName: istio-remote\n  addresses: [{{value: {WIRE_V4}}}]\n  \
         listeners: [{{name: cross-network, port: {HBONE}, protocol: HBONE, tls: {{mode: Passthrough}}}}]\n---\n\
         apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: far, namespace: shop}}\n\
         spec: {{network: far, labels: {{app: far}}, serviceAccount: theirs}}\n"
    ))?;
    // In our eyes the service is on that network alone.
    let spec = serde_json::json!({ "spec": { "selector": { "app": "far" } } });
    world.mesh.patch("Service", "shop", "theirs", &spec)?;
    let to = ("10.96.0.2".parse::<IpAddr>().expect("an address"), 80).into();
    let payload = Marker::random()?.payload(500_000);
    let heard = eventually("the service is known to be there", || {
        let before = gateway.asked().len();
        let mut stream = ours.connect(to)?;
        stream.write_all(&payload)?;
        stream.shutdown(Shutdown::Write)?;
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard)?;
        Ok((gateway.asked().len() > before).then_some(heard))
    })?;
    assert!(heard == payload, "{} of {} bytes came back", heard.len(), payload.len());
    assert_eq!(gateway.asked(), ["theirs.shop.svc.cluster.local:80"]);
    let record = world.mesh.daemon("node1").wait_record(|it| it.path == "double-hbone")?;
    assert_eq!((record.destination_identity, record.error), (Some(theirs.identity()), None));
    assert_eq!(record.destination_workload.as_deref(), Some("theirs"), "as the peer says");
    let length = u64::try_from(payload.len()).expect("a short payload");
    assert_eq!((record.bytes_sent, record.bytes_received), (length, length));
    Ok(())
}

const GATEWAY: &str = "spiffe://cluster.local/ns/istio-system/sa/eastwest";
