//! ServiceEntries and WorkloadEntries: what is called by a name and is no Service.

use std::net::{IpAddr, SocketAddr};

use e2e::calls::{greeted, outbound, shop};
use harness::{
    AccessRecord, Lab, LabError, Mesh, MeshOptions, Pod, Stack, WIRE_V4, WIRE_V6, eventually, serve,
};
use serde_json::json;

use crate::mall::PORT;

#[test]
fn listed_endpoints_in_and_out_of_the_mesh_answer_for_the_entrys_address() -> Result<(), LabError> {
    for (stack, address) in [(Stack::V4, "192.0.2.10"), (Stack::V6, "2001:db8::10")] {
        let mesh = Mesh::up(&shop(stack))?;
        let (server, printer) = (mesh.pod("shop/server"), mesh.pod("legacy/printer"));
        let _captured = server.serve(PORT, serve::banner("server"))?;
        let _other = printer.serve(9090, serve::banner("printer"))?;
        mesh.apply(&entry(
            &format!("hosts: [ext.test], addresses: [\"{address}\"], resolution: STATIC"),
            &format!(
                "endpoints: [{{address: \"{}\"}}, {{address: \"{}\", ports: {{tcp: 9090}}}}]",
                server.ip(),
                printer.ip()
            ),
        ))?;
        let address = SocketAddr::new(address.parse().expect("an address"), 80);
        let tunnelled = heard_by(&mesh, address, "server")?;
        assert_eq!((tunnelled.path.as_str(), tunnelled.service.as_deref()), ("hbone", Some("ext.test")));
        assert_eq!(tunnelled.destination_identity, Some(server.identity()));
        let direct = heard_by(&mesh, address, "printer")?;
        assert_eq!((direct.path.as_str(), direct.service.as_deref()), ("direct", Some("ext.test")));
        assert_eq!(direct.destination_identity, None);
    }
    Ok(())
}

#[test]
fn an_entry_without_an_address_is_given_one_that_its_name_leads_to() -> Result<(), LabError> {
    for (stack, kind) in [(Stack::V4, "A"), (Stack::V6, "AAAA")] {
        let mesh = Mesh::up(&shop(stack))?;
        let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
        let _server = server.serve(PORT, serve::banner("server"))?;
        let endpoints = format!("endpoints: [{{address: \"{}\"}}]", server.ip());
        mesh.apply(&entry("hosts: [ext.test], resolution: STATIC", &endpoints))?;
        let address = resolved(&client, kind, "ext.test")?;
        assert_ne!(address, server.ip(), "a stand-in");
        let record = heard_by(&mesh, (address, 80).into(), "server")?;
        assert_eq!((record.path.as_str(), record.service.as_deref()), ("hbone", Some("ext.test")));
    }
    Ok(())
}

#[test]
fn an_entry_by_dns_is_looked_up_when_it_is_called() -> Result<(), LabError> {
    looked_up(Stack::V4, "A", WIRE_V4)?;
    looked_up(Stack::V6, "AAAA", WIRE_V6)
}

fn looked_up(stack: Stack, kind: &str, wire: IpAddr) -> Result<(), LabError> {
    let lab = Lab::up(&shop(stack))?;
    let dns = serve::Dns::start(lab.wire(), &[("db.test", &[wire])])?;
    let outside = lab.serve_outside(PORT, serve::banner("outside"))?;
    let resolvers = lab.folder().join("resolv.conf");
    std::fs::write(&resolvers, format!("nameserver {wire}\n"))?;
    let config = json!({ "dns": { "resolvConf": resolvers } });
    let mesh = Mesh::on(lab, &MeshOptions { config, ..MeshOptions::default() })?;
    let client = mesh.pod("shop/client");
    mesh.apply(&entry("hosts: [db.test], resolution: DNS", ""))?;
    let address = eventually("the mesh answers for the name", || {
        Ok(Some(resolved(&client, kind, "db.test")?).filter(|ip| *ip != wire))
    })?;
    let record = heard_by(&mesh, (address, 80).into(), "outside")?;
    assert_eq!((record.path.as_str(), record.service.as_deref()), ("direct", Some("db.test")));
    assert!(dns.asked().contains(&"db.test".to_owned()));
    assert_eq!(outside.peers().first().map(SocketAddr::ip), Some(client.ip()));
    Ok(())
}

#[test]
fn workload_entries_and_pods_that_an_entry_selects_answer_for_it() -> Result<(), LabError> {
    selected(Stack::V4, "192.0.2.10")?;
    selected(Stack::V6, "2001:db8::10")
}

fn selected(stack: Stack, address: &str) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let printer = mesh.pod("legacy/printer");
    let _pod = mesh.pod("shop/server").serve(PORT, serve::banner("server"))?;
    let _machine = printer.serve(PORT, serve::banner("machine"))?;
    mesh.patch("Pod", "shop", "server", &json!({ "metadata": { "labels": { "tier": "db" } } }))?;
    mesh.apply(&format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: vm, namespace: shop}}\n\
         spec: {{address: \"{}\", labels: {{tier: db}}, serviceAccount: vm}}\n",
        printer.ip()
    ))?;
    mesh.apply(&entry(
        &format!("hosts: [db.test], addresses: [\"{address}\"], resolution: STATIC"),
        "workloadSelector: {labels: {tier: db}}",
    ))?;
    let address = SocketAddr::new(address.parse().expect("an address"), 80);
    assert_eq!(heard_by(&mesh, address, "server")?.path, "hbone");
    assert_eq!(heard_by(&mesh, address, "machine")?.path, "direct");
    Ok(())
}

#[test]
fn an_entry_without_resolution_passes_its_range_on_to_where_the_client_wanted() -> Result<(), LabError> {
    passed_on(Stack::V4, "172.30.0.0/30", WIRE_V4)?;
    passed_on(Stack::V6, "fd00:30::/126", WIRE_V6)
}

fn passed_on(stack: Stack, range: &str, wire: IpAddr) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let _outside = mesh.serve_outside(80, serve::banner("outside"))?;
    mesh.apply(&entry(&format!("hosts: [net.test], addresses: [\"{range}\"], resolution: NONE"), ""))?;
    let address = (wire, 80).into();
    let record = eventually("the entry is known", || {
        let record = heard_by(&mesh, address, "outside")?;
        Ok(record.service.is_some().then_some(record))
    })?;
    assert_eq!((record.path.as_str(), record.service.as_deref()), ("passthrough", Some("net.test")));
    assert_eq!(record.destination, address);
    Ok(())
}

#[test]
fn an_entry_that_is_not_exported_is_nobodys_elsewhere() -> Result<(), LabError> {
    let mut cluster = shop(Stack::V4);
    cluster.ambient("bank");
    cluster.pod(harness::PodSpec::new("bank", "teller").node("node1"));
    let mesh = Mesh::up(&cluster)?;
    let server = mesh.pod("shop/server");
    let _server = server.serve(PORT, serve::banner("server"))?;
    mesh.apply(&entry(
        "hosts: [own.test], exportTo: [\".\"], resolution: STATIC",
        &format!("endpoints: [{{address: {}}}]", server.ip()),
    ))?;
    let address = resolved(&mesh.pod("shop/client"), "A", "own.test")?;
    heard_by(&mesh, (address, 80).into(), "server")?;
    let teller = mesh.pod("bank/teller");
    assert!(greeted(&teller, (address, 80).into()).is_err());
    let record =
        mesh.daemon("node1").wait_record(|it| it.direction == "outbound" && it.source.ip() == teller.ip())?;
    assert_eq!((record.path.as_str(), record.service), ("passthrough", None));
    Ok(())
}

/// A ServiceEntry with port 80, [`PORT`] at its endpoints.
fn entry(spec: &str, endpoints: &str) -> String {
    let comma = if endpoints.is_empty() { "" } else { ", " };
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: ext, namespace: shop}}\n\
         spec: {{{spec}, ports: [{{name: tcp, number: 80, targetPort: {PORT}, protocol: TCP}}]{comma}{endpoints}}}\n"
    )
}

/// The record of a call of `shop/client` that this server answers, sooner or later.
fn heard_by(mesh: &Mesh, to: SocketAddr, wanted: &str) -> Result<AccessRecord, LabError> {
    let client = mesh.pod("shop/client");
    let local = eventually(&format!("{wanted} answers"), || {
        Ok(greeted(&client, to).ok().filter(|(heard, _)| heard == wanted).map(|(_, local)| local))
    })?;
    outbound(mesh.daemon("node1"), local)
}

/// The address that a name has for a pod, once it has one.
fn resolved(pod: &Pod, kind: &str, name: &str) -> Result<IpAddr, LabError> {
    eventually("the name has an address", || {
        let told = pod.output(&format!("dig +short +time=1 +tries=1 {kind} {name}"))?;
        Ok(told.stdout.lines().find_map(|line| line.parse().ok()))
    })
}
