//! Destinations that ask for a waypoint.

use mesh::{NetworkAddress, NoEndpoint, Service, WaypointRef, Workload};

use super::outbound::hbone;
use super::samples::{World, at, endpoint, pod, port, service, target, to, with_profile};
use crate::decision::{Plan, Refusal, Tunnel};

#[test]
fn a_services_waypoint_gets_the_connection_and_is_told_the_original_destination() {
    let mut world = World::new();
    let gate = gate(&mut world);
    world.serve(through(Some(at("10.1.0.9"))));
    let tunnel = waypoint(world.call("10.1.0.1:80").unwrap());
    assert_eq!((tunnel.address, tunnel.authority), (to("10.0.2.1:15008"), to("10.1.0.1:80")));
    assert_eq!(tunnel.identities.to_string(), "spiffe://cluster.local/ns/shop/sa/gate");
    assert_eq!(&*tunnel.upstream.service.unwrap().name, "cart");
    assert_eq!(tunnel.upstream.workload.unwrap().uid, gate.uid);
    assert_eq!(&*tunnel.upstream.picked.unwrap().service.hostname.0, "gate.shop.svc.cluster.local");
}

#[test]
fn a_workloads_waypoint_gets_connections_to_its_own_address_only() {
    let mut world = World::new();
    gate(&mut world);
    let cart = with_profile(pod("shop", "cart", "10.0.1.1", "there"), |profile| {
        profile.waypoint = Some(reference(Some(at("10.1.0.9"))));
    });
    world.put(cart.clone()).serve(service("shop", "cart", "10.1.0.1", &[&cart]));
    assert_eq!(waypoint(world.call("10.0.1.1:8080").unwrap()).authority, to("10.0.1.1:8080"));
    hbone(world.call("10.1.0.1:80").unwrap());
}

#[test]
fn a_waypoint_may_be_an_address_of_a_workload() {
    let mut world = World::new();
    gate(&mut world);
    world.serve(through(Some(at("10.0.2.1"))));
    let tunnel = waypoint(world.call("10.1.0.1:80").unwrap());
    assert_eq!((tunnel.address, tunnel.authority), (to("10.0.2.1:15008"), to("10.1.0.1:80")));
}

#[test]
fn a_waypoint_that_is_not_ready_refuses_the_connection() {
    let mut world = World::new();
    world.serve(through(None));
    let refused = world.call("10.1.0.1:80").unwrap_err();
    assert_eq!(*refused.refusal, Refusal::WaypointNotReady { namespace: "shop".into(), name: "gate".into() });
    assert_eq!(&*refused.service.unwrap().name, "cart");
}

#[test]
fn a_waypoint_that_nobody_knows_refuses_the_connection() {
    let mut world = World::new();
    world.serve(through(Some(at("10.1.0.9"))));
    assert!(matches!(world.refusal("10.1.0.1:80"), Refusal::WaypointUnknown { .. }));
}

#[test]
fn a_waypoint_without_ready_endpoints_refuses_the_connection() {
    let mut world = World::new();
    let gate = gate(&mut world);
    let mut down = waypoint_service(&gate);
    down.endpoints = [mesh::Endpoint { ready: false, ..endpoint(target(&gate), 15008, 15008) }].into();
    world.serve(down).serve(through(Some(at("10.1.0.9"))));
    let Refusal::WaypointDown { source, .. } = world.refusal("10.1.0.1:80") else { panic!("up") };
    assert_eq!(source, NoEndpoint::NotReady { endpoints: 1 });
}

#[test]
fn an_endpoint_of_a_waypoint_that_is_no_workload_has_no_identity_to_expect_and_is_refused() {
    let mut world = World::new();
    let gate = gate(&mut world);
    let mut anonymous = waypoint_service(&gate);
    anonymous.endpoints = [endpoint(mesh::EndpointTarget::Address(at("10.9.9.9")), 15008, 15008)].into();
    world.serve(anonymous).serve(through(Some(at("10.1.0.9"))));
    assert!(matches!(world.refusal("10.1.0.1:80"), Refusal::WaypointUnknown { .. }));
}

#[test]
fn a_waypoint_of_another_network_is_refused() {
    let mut world = World::new();
    let address = NetworkAddress::new(mesh::Network::new("west"), "10.1.0.9".parse().unwrap());
    world.serve(through(Some(address)));
    assert!(matches!(world.refusal("10.1.0.1:80"), Refusal::WaypointElsewhere { .. }));
}

#[test]
fn what_a_waypoint_sends_on_does_not_go_through_it_again() {
    let mut world = World::new();
    let gate = gate(&mut world);
    let cart = pod("shop", "cart", "10.0.1.1", "there");
    let mut called = through(Some(at("10.1.0.9")));
    called.endpoints = service("shop", "cart", "10.1.0.1", &[&cart]).endpoints;
    world.put(cart).serve(called.clone());
    world.client = gate;
    assert_eq!(hbone(world.call("10.1.0.1:80").unwrap()).authority, to("10.0.1.1:8080"));

    called.waypoint = Some(reference(Some(at("10.0.2.1"))));
    world.serve(called);
    assert_eq!(hbone(world.call("10.1.0.1:80").unwrap()).authority, to("10.0.1.1:8080"));
}

/// A waypoint `shop/gate` at 10.1.0.9, with one instance at 10.0.2.1.
fn gate(world: &mut World) -> Workload {
    let mut gate = pod("shop", "gate", "10.0.2.1", "far");
    gate.services = [waypoint_service(&gate).key].into();
    world.put(gate.clone()).serve(waypoint_service(&gate));
    gate
}

fn waypoint_service(gate: &Workload) -> Service {
    let mut service = service("shop", "gate", "10.1.0.9", &[]);
    service.ports = [port(15008)].into();
    service.endpoints = [endpoint(target(gate), 15008, 15008)].into();
    service
}

/// Service `shop/cart` at 10.1.0.1, which asks for the waypoint `shop/gate` at `address`.
fn through(address: Option<NetworkAddress>) -> Service {
    let mut service = service("shop", "cart", "10.1.0.1", &[]);
    service.waypoint = Some(reference(address));
    service
}

fn reference(address: Option<NetworkAddress>) -> WaypointRef {
    WaypointRef { namespace: "shop".into(), name: "gate".into(), address, port: 15008 }
}

fn waypoint(plan: Plan) -> Tunnel {
    match plan {
        Plan::Waypoint(tunnel) => tunnel,
        other => panic!("{other:?} is no waypoint"),
    }
}
