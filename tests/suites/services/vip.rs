//! A Service is called by any of its addresses.

use std::net::{IpAddr, SocketAddr};

use e2e::calls::{greeted, outbound, refused};
use harness::{LabError, Mesh, PodSpec, Stack, eventually, serve};
use serde_json::json;

use crate::mall::{NAMED_PORTS, PORT, WEBS, Web, mall, serve_names, until_answered_by};

#[test]
fn a_service_is_reached_by_ipv4_whatever_ports_its_pods_have() -> Result<(), LabError> {
    every_port(Stack::V4, &["10.96.9.1"])
}

#[test]
fn a_service_is_reached_by_ipv6_whatever_ports_its_pods_have() -> Result<(), LabError> {
    every_port(Stack::V6, &["fd00:96::9:1"])
}

#[test]
fn a_service_of_both_families_is_reached_by_each() -> Result<(), LabError> {
    every_port(Stack::Dual, &["10.96.9.1", "fd00:96::9:1"])
}

/// Port 80 leads to one number on all pods, port 81 to the port that each pod calls `http`.
fn every_port(stack: Stack, addresses: &[&str]) -> Result<(), LabError> {
    let mesh = Mesh::up(&mall(stack))?;
    let client = mesh.pod("shop/client");
    let _numbered = serve_names(&mesh)?;
    let by_name = |(name, port): (&&str, u16)| {
        mesh.pod(&format!("shop/{name}")).serve(port, serve::banner(format!("{name} by name")))
    };
    let _named = WEBS.iter().zip(NAMED_PORTS).map(by_name).collect::<Result<Vec<_>, _>>()?;
    let families = if addresses.len() == 2 { "RequireDualStack" } else { "SingleStack" };
    mesh.apply(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec:\n  \
         clusterIP: \"{}\"\n  clusterIPs: {addresses:?}\n  ipFamilyPolicy: {families}\n  \
         selector: {{app: web}}\n  ports:\n  - {{name: number, port: 80, targetPort: 8080}}\n  \
         - {{name: name, port: 81, targetPort: http}}\n",
        addresses[0]
    ))?;
    for address in addresses.iter().map(|text| text.parse::<IpAddr>().expect("an address")) {
        until_answered_by(&client, (address, 80).into(), &WEBS)?;
        until_answered_by(
            &client,
            (address, 81).into(),
            &WEBS.map(|name| format!("{name} by name")).each_ref().map(String::as_str),
        )?;
        let (heard, local) = greeted(&client, (address, 80).into())?;
        let record = outbound(mesh.daemon("node1"), local)?;
        let answered = mesh.pod(&format!("shop/{heard}"));
        let family = |ip: &&IpAddr| ip.is_ipv4() == address.is_ipv4();
        assert_eq!(Some(&record.destination.ip()), answered.ips().iter().find(family));
        assert_eq!(record.destination.port(), PORT);
        assert_eq!(record.destination_workload.as_deref(), Some(&*heard));
        assert_eq!(record.service.as_deref(), Some("web.shop.svc.cluster.local"));
        assert_eq!(record.path, if heard == "web-1" { "node-local" } else { "hbone" });
        let record = refused(mesh.daemon("node1"), &client, (address, 82).into())?;
        let error = record.error.unwrap_or_default();
        assert!(error.contains("service has no port 82"), "{error}");
    }
    Ok(())
}

#[test]
fn a_pod_that_its_own_service_picks_serves_itself() -> Result<(), LabError> {
    let mesh = Mesh::up(&mall(Stack::Dual))?;
    let servers = serve_names(&mesh)?;
    let web = mesh.pod("shop/web-1");
    mesh.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n  \
         clusterIP: 10.96.9.1\n  clusterIPs: [10.96.9.1, \"fd00:96::9:1\"]\n  \
         ipFamilyPolicy: RequireDualStack\n  selector: {app: web}\n  \
         ports: [{name: tcp, port: 80, targetPort: 8080}]\n",
    )?;
    for address in ["10.96.9.1", "fd00:96::9:1"] {
        let address: IpAddr = address.parse().expect("an address");
        until_answered_by(&web, (address, 80).into(), &WEBS)?;
    }
    // Wherever it went, each server saw the pod's own address.
    for peer in servers.iter().flat_map(harness::serve::Server::peers) {
        assert!(web.ips().contains(&peer.ip()), "{peer} called");
    }
    Ok(())
}

#[test]
fn a_named_port_that_no_pod_has_is_said_to_be_served_by_nobody() -> Result<(), LabError> {
    let mesh = Mesh::up(&mall(Stack::V4))?;
    let client = mesh.pod("shop/client");
    mesh.apply(&Web(Stack::V4).manifest("").replace("targetPort: 8080", "targetPort: absent"))?;
    let error = eventually("the call is refused for the Service's sake", || {
        let record = refused(mesh.daemon("node1"), &client, Web(Stack::V4).address())?;
        Ok(record.error.filter(|_| record.service.is_some()))
    })?;
    assert!(error.contains("no endpoint serves port 80"), "{error}");
    Ok(())
}

#[test]
fn external_and_load_balancer_addresses_lead_to_the_pods_from_inside() -> Result<(), LabError> {
    let mesh = Mesh::up(&mall(Stack::Dual))?;
    let client = mesh.pod("shop/client");
    let _servers = serve_names(&mesh)?;
    let external = ["198.51.100.7", "2001:db8:1::7", "203.0.113.9", "2001:db8:2::9"];
    mesh.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n  type: LoadBalancer\n  \
         clusterIP: 10.96.9.1\n  clusterIPs: [10.96.9.1, \"fd00:96::9:1\"]\n  \
         ipFamilyPolicy: RequireDualStack\n  selector: {app: web}\n  \
         externalIPs: [198.51.100.7, \"2001:db8:1::7\"]\n  \
         ports: [{name: tcp, port: 80, targetPort: 8080}]\n\
         status: {loadBalancer: {ingress: [{ip: 203.0.113.9}, {ip: \"2001:db8:2::9\"}]}}\n",
    )?;
    for address in external {
        let address = SocketAddr::new(address.parse().expect("an address"), 80);
        until_answered_by(&client, address, &WEBS)?;
        let record = outbound(mesh.daemon("node1"), greeted(&client, address)?.1)?;
        assert_ne!(record.destination_identity, None, "{address} is called in plaintext");
    }
    Ok(())
}

#[test]
fn a_pod_on_its_nodes_network_is_called_in_plaintext_by_service_and_by_address() -> Result<(), LabError> {
    on_the_host(Stack::V4, "172.30.0.12", "10.96.9.2")?;
    on_the_host(Stack::V6, "fd00:30::12", "fd00:96::9:2")
}

fn on_the_host(stack: Stack, node: &str, service: &str) -> Result<(), LabError> {
    let mut cluster = mall(stack);
    let node: IpAddr = node.parse().expect("an address");
    let on_host = json!({ "spec": { "hostNetwork": true } });
    cluster.pod(PodSpec::new("shop", "agent").node("node2").addresses(&[node]).merge(on_host));
    let mesh = Mesh::up(&cluster)?;
    let client = mesh.pod("shop/client");
    let agent = mesh.node("node2").serve(PORT, serve::banner("agent"))?;
    mesh.apply(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: agent, namespace: shop}}\nspec:\n  \
         clusterIP: \"{service}\"\n  clusterIPs: [\"{service}\"]\n  selector: {{app: agent}}\n  \
         ports: [{{port: 80, targetPort: 8080}}]\n",
    ))?;
    let service = SocketAddr::new(service.parse().expect("an address"), 80);
    let local = eventually("the Service answers", || Ok(greeted(&client, service).ok()))?.1;
    let record = outbound(mesh.daemon("node1"), local)?;
    assert_eq!((record.path.as_str(), record.destination), ("direct", (node, PORT).into()));
    assert_eq!(record.destination_identity, None);
    let (heard, local) = greeted(&client, (node, PORT).into())?;
    assert_eq!(heard, "agent");
    assert_eq!(outbound(mesh.daemon("node1"), local)?.path, "passthrough");
    assert!(agent.peers().iter().all(|peer| peer.ip() == client.ip()), "{:?}", agent.peers());
    Ok(())
}
