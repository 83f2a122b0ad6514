//! Connections that are let out by what ServiceEntries say.

use std::net::{IpAddr, SocketAddr};

use e2e::calls::{cut_soon, exchange, opened, until_served};
use harness::{LabError, Mesh, Stack, WIRE_V4, WIRE_V6, eventually, serve};
use serde_json::json;

use crate::scene::{mesh, mesh_over, namespace};

const NAME: &str = "api.example.test";

#[test]
fn an_entry_that_goes_takes_its_live_connections_along_where_unknown_destinations_are_denied()
-> Result<(), LabError> {
    taken_along(Stack::V4, WIRE_V4, "192.0.2.10", 24)?;
    taken_along(Stack::V6, WIRE_V6, "2001:db8::10", 64)
}

fn taken_along(stack: Stack, outside: IpAddr, stand_in: &str, range: u8) -> Result<(), LabError> {
    let mesh = mesh_over(stack, "ambient.mesh/egress: deny", json!({}))?;
    let (echo, other) = (mesh.serve_outside(0, serve::echo())?, mesh.serve_outside(0, serve::echo())?);
    let client = mesh.pod("shop/client");
    let stays = SocketAddr::new(outside, other.port());
    let passing = format!("addresses: [\"{outside}\"], resolution: NONE");
    mesh.apply(&entry("other", &format!("hosts: [other.test], {passing}"), stays.port()))?;
    until_served("what is known is let out", &client, stays)?;
    let mut kept = opened(&client, stays)?;
    let stand_in: IpAddr = stand_in.parse().expect("an address");
    let ranged = format!("addresses: [\"{outside}/{range}\"], resolution: NONE");
    let listed = "resolution: STATIC, endpoints: ";
    let listed = format!("addresses: [\"{stand_in}\"], {listed}[{{address: \"{outside}\"}}]");
    for (spec, dialled) in [(passing, outside), (ranged, outside), (listed, stand_in)] {
        let there = SocketAddr::new(dialled, echo.port());
        mesh.apply(&entry("entry", &format!("hosts: [entry.test], {spec}"), there.port()))?;
        until_served(&format!("{there} is let out by {spec}"), &client, there)?;
        let mut live = opened(&client, there)?;
        mesh.delete("ServiceEntry", "shop", "entry")?;
        cut_soon(&mut live)?;
        assert!(opened(&client, there).is_err(), "{spec}");
        exchange(&mut kept)?;
    }
    is_counted(&mesh, 3.0)
}

#[test]
fn a_name_that_no_entry_describes_any_more_lets_nothing_out() -> Result<(), LabError> {
    let resolvers = json!({ "dns": { "clusterResolvers": [WIRE_V4.to_string()] } });
    let mesh = mesh("ambient.mesh/egress: deny", resolvers)?;
    let _dns = serve::Dns::start(mesh.wire(), &[(NAME, &[WIRE_V4])])?;
    let echo = mesh.serve_outside(0, serve::echo())?;
    let client = mesh.pod("shop/client");
    let there = SocketAddr::new(WIRE_V4, echo.port());
    for host in [NAME, "\"*.example.test\""] {
        mesh.apply(&entry("one", &format!("hosts: [{host}], resolution: NONE"), there.port()))?;
        eventually("the name opens its address", || {
            client.sh(&format!("dig +short +tries=1 {NAME} A"))?;
            Ok(opened(&client, there).ok().map(drop))
        })?;
        let mut live = opened(&client, there)?;
        // Another one of the same name lets it out as well.
        mesh.apply(&entry("two", "hosts: [\"*.test\"], resolution: NONE", there.port()))?;
        until_known(&mesh, "*.test", true)?;
        mesh.delete("ServiceEntry", "shop", "one")?;
        until_known(&mesh, host.trim_matches('"'), false)?;
        exchange(&mut live)?;
        mesh.delete("ServiceEntry", "shop", "two")?;
        cut_soon(&mut live)?;
    }
    is_counted(&mesh, 2.0)
}

#[test]
fn an_entry_that_goes_cuts_nothing_where_unknown_destinations_may_be() -> Result<(), LabError> {
    let mesh = mesh("ambient.mesh/egress: deny", json!({}))?;
    let echo = mesh.serve_outside(0, serve::echo())?;
    let client = mesh.pod("shop/client");
    let there = SocketAddr::new(WIRE_V4, echo.port());
    mesh.apply(&entry(
        "entry",
        &format!("hosts: [entry.test], addresses: [{WIRE_V4}], resolution: NONE"),
        there.port(),
    ))?;
    until_served("what is known is let out", &client, there)?;
    let mut live = opened(&client, there)?;
    mesh.apply(&namespace("ambient.mesh/egress: log"))?;
    mesh.delete("ServiceEntry", "shop", "entry")?;
    until_known(&mesh, "entry.test", false)?;
    exchange(&mut live)?;
    mesh.apply(&namespace("ambient.mesh/egress: deny"))?;
    cut_soon(&mut live)
}

/// Waits until the client's daemon knows a service of that host, or knows none.
fn until_known(mesh: &Mesh, host: &str, wanted: bool) -> Result<(), LabError> {
    let quoted = format!("\"{host}\"");
    eventually("the services are known", || {
        let known = mesh.daemon("node1").get("/config_dump/services")?.body.contains(&quoted);
        Ok((known == wanted).then_some(()))
    })
}

fn is_counted(mesh: &Mesh, wanted: f64) -> Result<(), LabError> {
    let cuts = [("reason", "egress")];
    mesh.daemon("node1").wait_metric("ambient_connections_cut_total", &cuts, |cuts| cuts == wanted).map(drop)
}

fn entry(name: &str, spec: &str, port: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{{spec}, ports: [{{name: tcp, number: {port}, protocol: TCP}}]}}\n"
    )
}
