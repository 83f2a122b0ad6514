//! What pods may reach outside of the mesh.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use e2e::calls::{exchange, opened};
use harness::{LabError, Mesh, Pod, Stack, WIRE_V4, WIRE_V6, eventually, serve};
use serde_json::json;

use crate::scene::{mesh_over, namespace, until};

const LISTED: &str = "api.example.test";
const OTHER: &str = "other.test";

/// The world outside, over one family.
#[derive(Clone, Copy)]
struct World {
    stack: Stack,
    wire: IpAddr,
    /// An address there that nobody knows.
    foreign: &'static str,
    /// What names are asked for.
    kind: &'static str,
}

const WORLDS: [World; 2] = [
    World { stack: Stack::V4, wire: WIRE_V4, foreign: "198.51.100.53", kind: "A" },
    World { stack: Stack::V6, wire: WIRE_V6, foreign: "2001:db8::53", kind: "AAAA" },
];

/// A mesh whose daemons believe the name server outside.
fn restricted(World { stack, wire, .. }: World, shop: &str) -> Result<Mesh, LabError> {
    mesh_over(stack, shop, json!({ "dns": { "clusterResolvers": [wire.to_string()] } }))
}

fn ask(pod: &Pod, name: &str, kind: &str) -> Result<String, LabError> {
    Ok(pod.sh(&format!("dig +short +tries=1 {name} {kind}"))?.trim().to_owned())
}

#[test]
fn a_name_on_the_list_opens_its_address_once_the_pod_has_asked_for_it() -> Result<(), LabError> {
    WORLDS.into_iter().try_for_each(opened_by_its_name)
}

fn opened_by_its_name(world: World) -> Result<(), LabError> {
    let World { wire, kind, .. } = world;
    let settings = "ambient.mesh/egress: deny, ambient.mesh/egress-allow: \"*.example.test\"";
    let mesh = restricted(world, settings)?;
    let dns = serve::Dns::start(mesh.wire(), &[(LISTED, &[wire]), (OTHER, &[wire])])?;
    let outside = mesh.serve_outside(0, serve::echo())?;
    let (client, near) = (mesh.pod("shop/client"), mesh.pod("shop/near"));
    let there = SocketAddr::new(wire, outside.port());

    assert!(opened(&client, there).is_err(), "nobody has asked for a name yet");
    assert_eq!(ask(&client, OTHER, kind)?, wire.to_string());
    assert!(opened(&client, there).is_err(), "that name is not on the list");
    assert!(outside.peers().is_empty());

    assert_eq!(ask(&client, LISTED, kind)?, wire.to_string());
    opened(&client, there)?;
    assert!(opened(&near, there).is_err(), "what one pod has asked for is no other's");
    assert!(dns.asked().iter().any(|name| name == LISTED));

    let node = mesh.daemon("node1");
    let of = |outcome| [("namespace", "shop"), ("outcome", outcome)];
    node.wait_metric("ambient_egress_total", &of("listed_name"), |count| count >= 1.0)?;
    node.wait_metric("ambient_egress_total", &of("denied"), |count| count >= 3.0)?;
    let denied = node.wait_record(|it| it.destination == there && it.error.is_some())?;
    let why = denied.error.unwrap_or_default();
    assert!(why.contains("namespace shop denies unknown destinations"), "{why}");
    Ok(())
}

#[test]
fn where_unknown_destinations_are_denied_unknown_name_servers_hear_nothing() -> Result<(), LabError> {
    WORLDS.into_iter().try_for_each(unheard)
}

fn unheard(world: World) -> Result<(), LabError> {
    let World { wire, foreign, kind, .. } = world;
    let mesh = restricted(world, "ambient.mesh/egress: log")?;
    let dns = serve::Dns::start(mesh.wire(), &[(OTHER, &[wire])])?;
    let added = mesh.wire().shell(&format!("ip address add {foreign} dev lo")).status()?;
    assert!(added.success());
    let client = mesh.pod("shop/client");
    let asked = |name: &str| client.sh(&format!("dig +tcp +tries=1 @{foreign} {name} {kind}"));
    let answer = asked(OTHER)?;
    assert!(answer.contains("status: NOERROR") && answer.contains(&wire.to_string()), "{answer}");
    mesh.apply(&namespace("ambient.mesh/egress: deny"))?;
    eventually("an unknown name server is not asked", || {
        Ok(asked("secret.test")?.contains("status: REFUSED").then_some(()))
    })?;
    let before = dns.asked().len();
    asked("another-secret.test")?;
    assert_eq!(dns.asked().len(), before);
    assert_eq!(ask(&client, OTHER, kind)?, wire.to_string(), "the cluster's own is");
    Ok(())
}

#[test]
fn a_list_that_changes_reaches_live_connections_within_a_second() -> Result<(), LabError> {
    WORLDS.into_iter().try_for_each(changed)
}

fn changed(world: World) -> Result<(), LabError> {
    let wire = world.wire;
    let mesh = restricted(world, "ambient.mesh/egress: log")?;
    let outside = mesh.serve_outside(0, serve::echo())?;
    let client = mesh.pod("shop/client");
    let there = SocketAddr::new(wire, outside.port());
    let mut stream = opened(&client, there)?;

    let listed = format!("ambient.mesh/egress: deny, ambient.mesh/egress-allow: \"{there}\"");
    mesh.apply(&namespace(&listed))?;
    let elsewhere = mesh.serve_outside(0, serve::echo())?;
    until("another port is denied", false, &client, SocketAddr::new(wire, elsewhere.port()))?;
    exchange(&mut stream)?;

    mesh.apply(&namespace("ambient.mesh/egress: deny"))?;
    let applied = Instant::now();
    let ended = stream.read(&mut [0]);
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    assert!(applied.elapsed() < Duration::from_secs(1), "it took {:?}", applied.elapsed());
    let cuts = [("reason", "egress")];
    mesh.daemon("node1").wait_metric("ambient_connections_cut_total", &cuts, |cuts| cuts >= 1.0)?;
    Ok(())
}

#[test]
fn a_list_that_changes_while_somebody_outside_is_dialled_resets_both_ends() -> Result<(), LabError> {
    WORLDS.into_iter().try_for_each(changed_while_dialled)
}

fn changed_while_dialled(world: World) -> Result<(), LabError> {
    let wire = world.wire;
    let mesh = restricted(world, "ambient.mesh/egress: log")?;
    let (slow, elsewhere) = (serve::Full::start(mesh.wire(), wire)?, mesh.serve_outside(0, serve::echo())?);
    let client = mesh.pod("shop/client");
    let mut dialling = client.connect(slow.address()?)?;
    slow.dialled_from(client.netns())?;
    mesh.apply(&namespace("ambient.mesh/egress: deny"))?;
    until("everybody outside is denied", false, &client, SocketAddr::new(wire, elsewhere.port()))?;
    for said in [slow.next()?, dialling.read(&mut [0])] {
        assert_eq!(said.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    }
    Ok(())
}
