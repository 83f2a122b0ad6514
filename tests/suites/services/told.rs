//! What a peer is told of a connection, and what it tells: the headers of CONNECT and of its answer, as somebody sees them
//! who ends the tunnel.

use std::net::{IpAddr, SocketAddr};

use e2e::calls::{opened, outbound};
use e2e::hbone_server::{Beyond, HBONE, HboneServer, authority_of};
use harness::serve::{self, Server};
use harness::{Cluster, LabError, Mesh, MeshOptions, PodSpec, ServiceSpec, Stack, eventually};
use hbone::h2::ConnectRequest;
use hbone::traceparent::TraceParent;
use serde_json::{Value, json};

use crate::mall::PORT;
use crate::networks::{EASTWEST, Networks, VIP_V4, VIP_V6};

#[test]
fn a_peer_is_told_who_calls_from_where_and_for_which_service() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(told)
}

fn told(stack: Stack) -> Result<(), LabError> {
    let (mesh, service) = (mesh(stack)?, address(stack, 1));
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let peer = Peer::at(&mesh, "shop/server")?;
    for (called, host) in [(server.at(PORT), ""), (service, ";host=server.shop.svc.cluster.local")] {
        let stream = opened(&client, called)?;
        let local = stream.local_addr()?;
        let request = peer.last();
        let trace = request.traceparent.clone();
        let told = ConnectRequest {
            baggage: Some(CLIENT.into()),
            forwarded: Some(format!("for=\"{local}\"{host}").into()),
            traceparent: trace.clone(),
            ..ConnectRequest::new(server.at(PORT).to_string())
        };
        assert_eq!(request, told, "{called} is called");
        // What is written comes back as it was: lower case, version 00, no flag but that it is kept.
        let trace = trace.unwrap_or_default();
        assert_eq!(trace.parse::<TraceParent>().map(|it| it.to_string()).ok().as_deref(), Some(&*trace));
        drop(stream);
        let record = outbound(mesh.daemon("node1"), local)?;
        assert_eq!((record.hbone_addr, record.error), (Some(server.at(HBONE)), None));
    }
    let requests = peer.server.requests();
    assert_ne!(requests[0].traceparent, requests[1].traceparent, "each connection is a trace");
    Ok(())
}

#[test]
fn a_waypoint_is_asked_for_what_the_client_dialled() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(by_waypoint)
}

fn by_waypoint(stack: Stack) -> Result<(), LabError> {
    let (mesh, service) = (mesh(stack)?, address(stack, 1));
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let (waypoint, peer) = (Peer::at(&mesh, "shop/gate")?, Peer::at(&mesh, "shop/server")?);
    mesh.apply(&format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
         metadata: {{name: gate, namespace: shop, labels: {{istio.io/waypoint-for: all}}}}\n\
         spec: {{gatewayClassName: istio-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}\n\
         status: {{addresses: [{{type: IPAddress, value: \"{}\"}}]}}\n",
        address(stack, 2).ip()
    ))?;
    let asks = json!({ "metadata": { "labels": { "istio.io/use-waypoint": "gate" } } });
    for (kind, called, host) in
        [("Service", service, ";host=server.shop.svc.cluster.local"), ("Pod", server.at(PORT), "")]
    {
        mesh.patch(kind, "shop", "server", &asks)?;
        let local = eventually("the waypoint takes the call", || {
            let before = (waypoint.count(), peer.count());
            // While the Gateway is not known it is refused.
            let Ok(stream) = opened(&client, called) else { return Ok(None) };
            let taken = waypoint.count() > before.0;
            assert!(!taken || peer.count() == before.1, "it went past the waypoint too");
            Ok(taken.then_some(stream.local_addr()?))
        })?;
        let request = waypoint.last();
        let told = ConnectRequest {
            baggage: Some(CLIENT.into()),
            forwarded: Some(format!("for=\"{local}\"{host}").into()),
            traceparent: request.traceparent.clone(),
            ..ConnectRequest::new(called.to_string())
        };
        assert_eq!(request, told, "{called} is called");
    }
    Ok(())
}

#[test]
fn who_answers_on_another_network_is_told_the_own_one_and_is_who_it_says_in_records() -> Result<(), LabError>
{
    for (stack, service) in [(Stack::V4, VIP_V4), (Stack::V6, VIP_V6)] {
        across(stack, service)?;
    }
    Ok(())
}

fn across(stack: Stack, service: SocketAddr) -> Result<(), LabError> {
    let networks = Networks::up(stack)?;
    let (client, end) = (networks.west.pod("shop/client"), networks.east.pod("istio-system/gateway"));
    let _echo = end.serve(PORT, serve::echo())?;
    let identity = networks.east.pod("shop/server").identity();
    let behind = networks.server(&identity, end.at(PORT), Some(SERVER))?;
    let gateway = networks.gateway_to(EASTWEST, end.at(behind.address().port()))?;
    networks.describe(Some(&gateway), "server")?;
    let stream = eventually("the service is served", || Ok(opened(&client, service).ok()))?;
    let local = stream.local_addr()?;
    drop(stream);
    let authority = "remote.shop.svc.cluster.local:80";
    for (server, network) in [(&gateway, None), (&behind, Some("west"))] {
        let request = server.requests().pop().unwrap_or_else(|| ConnectRequest::new(""));
        let told = ConnectRequest {
            baggage: Some(WEST.into()),
            forwarded: Some(format!("for=\"{local}\";host=remote.shop.svc.cluster.local").into()),
            traceparent: request.traceparent.clone(),
            network: network.map(Into::into),
            ..ConnectRequest::new(authority)
        };
        assert_eq!(request, told, "by {network:?}");
    }
    let node = networks.west.daemon("node1");
    let record = outbound(node, local)?;
    assert_eq!((record.path.as_str(), record.error), ("double-hbone", None));
    assert_eq!(record.destination_workload.as_deref(), Some("till"));
    assert_eq!(record.destination_namespace.as_deref(), Some("far"));
    let said = [
        ("reporter", "source"),
        ("destination_workload", "till"),
        ("destination_workload_namespace", "far"),
        ("destination_cluster", "prod-9"),
        ("destination_canonical_service", "cash"),
        ("destination_canonical_revision", "v3"),
        ("destination_region", "mars"),
        ("destination_zone", "mars-2"),
        ("destination_service", "remote.shop.svc.cluster.local"),
    ];
    node.wait_metric("istio_tcp_connections_opened_total", &said, |count| count >= 1.0)?;
    Ok(())
}

/// A client that a Deployment owns on a node of ours, and two pods where nobody but the test ends tunnels.
fn mesh(stack: Stack) -> Result<Mesh, LabError> {
    let mut cluster = Cluster::with_stack(stack);
    cluster.node("node3");
    cluster.ambient("shop");
    cluster.service(ServiceSpec::new("shop", "server").port(80, PORT));
    cluster.service(ServiceSpec::new("shop", "gate").port(HBONE, HBONE));
    let client = PodSpec::new("shop", "client").label("app", "storefront").label("version", "v7");
    cluster.pod(client.merge(of_deployment("front")));
    for name in ["server", "gate"] {
        cluster.pod(PodSpec::new("shop", name).node("node3").label("networking.istio.io/tunnel", "http"));
    }
    let config = json!({ "mesh": { "clusterId": "prod-1" } });
    let foreign = vec!["node3".to_owned()];
    Mesh::with(&cluster, &MeshOptions { config, foreign, ..MeshOptions::default() })
}

/// As Deployments have their pods.
fn of_deployment(name: &str) -> Value {
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-5d8f"), "uid": "r-1", "controller": true,
    });
    json!({ "metadata": { "labels": { "pod-template-hash": "5d8f" }, "ownerReferences": [owner] } })
}

/// A pod whose tunnels the test ends, and what is called there.
struct Peer {
    server: HboneServer,
    _echo: Server,
}

impl Peer {
    fn at(mesh: &Mesh, pod: &str) -> Result<Self, LabError> {
        let pod = mesh.pod(pod);
        let echo = pod.serve(PORT, serve::echo())?;
        let beyond = Beyond { from: pod.clone(), to: pod.at(PORT), baggage: None };
        let server = HboneServer::start(pod.listen(HBONE)?, &authority_of(mesh)?, &pod.identity(), beyond)?;
        Ok(Self { server, _echo: echo })
    }

    /// How often it was asked.
    fn count(&self) -> usize {
        self.server.requests().len()
    }

    /// What it was asked for last.
    fn last(&self) -> ConnectRequest {
        self.server.requests().pop().unwrap_or_else(|| ConnectRequest::new("nothing"))
    }
}

/// The address of the first, second, ... Service, and its port.
fn address(stack: Stack, place: u8) -> SocketAddr {
    let ip: IpAddr = match stack {
        Stack::V6 => [0xfd00, 0x96, 0, 0, 0, 0, 0, place.into()].into(),
        Stack::V4 | Stack::Dual => [10, 96, 0, place].into(),
    };
    SocketAddr::new(ip, 80)
}

/// Who the client is.
const CLIENT: &str = "k8s.cluster.name=prod-1,k8s.namespace.name=shop,k8s.deployment.name=front,service.name=storefront,\
                      service.version=v7,cloud.region=region,cloud.availability_zone=zone1";

/// Who the client on another network is: a pod that nobody owns.
const WEST: &str = "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.pod.name=client,service.name=client,\
                    service.version=latest,cloud.region=region,cloud.availability_zone=zone1";

/// Who somebody on another network says to be.
const SERVER: &str = "k8s.cluster.name=prod-9,k8s.namespace.name=far,k8s.deployment.name=till,service.name=cash,\
                      service.version=v3,cloud.region=mars,cloud.availability_zone=mars-2";
