//! What is let in, and where it goes.

use authz::{Action, Clause, DenyReason, Match, Pattern, Rule};
use identity::SpiffeId;

use super::samples::{World, deny, endpoint, pod, service, strict, target, to};
use crate::decision::{
    InboundError, InboundTarget, Reach, TunnelledCall, inbound, inbound_plaintext, node_local,
};

#[test]
fn an_authority_with_the_tunnels_address_reaches_that_port() {
    let world = World::new();
    let target = call(&world, "10.0.0.1:8080").unwrap();
    assert_eq!(target.upstream, to("10.0.0.1:8080"));
    assert!(target.service.is_none());
}

#[test]
fn an_authority_with_another_address_is_refused() {
    let world = World::new();
    for authority in ["10.0.0.2:8080", "127.0.0.1:8080", "[fd00::1]:8080"] {
        let error = call(&world, authority).unwrap_err();
        assert!(matches!(error, InboundError::AddressMismatch { .. }), "{authority}");
        assert_eq!(error.status(), 400);
    }
}

#[test]
fn the_daemons_own_ports_are_refused_whatever_policy_says() {
    let world = World::new();
    for port in [15001, 15006, 15008] {
        let error = call(&world, &format!("10.0.0.1:{port}")).unwrap_err();
        assert_eq!(error, InboundError::OwnPort { port });
        assert_eq!(error.status(), 503);
        let plain = inbound_plaintext(
            &world.store.snapshot(),
            &world.client,
            ip(),
            to(&format!("10.0.0.1:{port}")),
            None,
        );
        assert_eq!(plain.unwrap_err(), InboundError::OwnPort { port });
    }
}

#[test]
fn a_name_reaches_the_pods_own_port_of_a_service_that_it_serves() {
    let mut world = World::new();
    serve(&mut world);
    let target = call(&world, "cart.shop.svc.cluster.local:80").unwrap();
    assert_eq!(target.upstream, to("10.0.0.1:8080"));
    assert_eq!(&*target.service.unwrap().name, "cart");
}

#[test]
fn a_name_prefers_the_endpoint_of_the_tunnels_own_address() {
    let mut world = World::new();
    let mut called = serve(&mut world);
    let six = mesh::EndpointTarget::Workload(world.client.uid.clone(), "fd00::1".parse().unwrap());
    called.endpoints = [endpoint(target(&world.client), 80, 8080), endpoint(six, 80, 9090)].into();
    world.serve(called);
    let found = ask(&world, "cart.shop.svc.cluster.local:80", "fd00::1").unwrap();
    assert_eq!(found.upstream, to("[fd00::1]:9090"));
}

#[test]
fn a_name_of_a_service_that_the_pod_does_not_serve_is_refused() {
    let mut world = World::new();
    let other = pod("shop", "other", "10.0.1.1", "there");
    world.put(other.clone()).serve(service("shop", "cart", "10.1.0.1", &[&other]));
    for authority in ["cart.shop.svc.cluster.local:80", "nobody.example.com:80"] {
        let error = call(&world, authority).unwrap_err();
        assert!(matches!(error, InboundError::NotAnEndpoint { .. }), "{authority}");
        assert_eq!(error.status(), 400);
    }
}

#[test]
fn a_port_that_the_service_does_not_have_is_refused() {
    let mut world = World::new();
    serve(&mut world);
    let error = call(&world, "cart.shop.svc.cluster.local:81").unwrap_err();
    assert!(matches!(error, InboundError::NoSuchPort { port: 81, .. }));
    assert_eq!(error.status(), 503);
}

#[test]
fn policy_decides_by_the_peers_identity_and_the_real_port() {
    let mut world = World::new();
    let mut only_port = deny("guard", Match { destination_ports: vec![8080], ..Match::default() });
    only_port.action = Action::Allow;
    let friend =
        Match { principals: vec![Pattern::parse("cluster.local/ns/shop/sa/friend")], ..Match::default() };
    let port = Match { destination_ports: vec![8080], ..Match::default() };
    only_port.rules = vec![Rule::of([Clause::of([friend]), Clause::of([port])])];
    serve(&mut world);
    world.govern(only_port);
    assert_eq!(
        call(&world, "cart.shop.svc.cluster.local:80").unwrap().permit.by().unwrap().policy.name.as_ref(),
        "guard"
    );
    let error = call(&world, "10.0.0.1:80").unwrap_err();
    let InboundError::Denied(denied) = &error else { panic!("{error}") };
    assert_eq!((denied.reason, error.status()), (DenyReason::NoAllowMatched, 401));
}

#[test]
fn plaintext_is_let_in_until_policy_demands_an_identity() {
    let mut world = World::new();
    let plain = |world: &World| {
        inbound_plaintext(&world.store.snapshot(), &world.client, ip(), to("10.0.0.1:80"), None)
    };
    assert_eq!(plain(&world).unwrap().upstream, to("10.0.0.1:80"));
    world.govern(strict());
    assert!(matches!(plain(&world).unwrap_err(), InboundError::Denied(_)));
    assert!(call(&world, "10.0.0.1:80").is_ok());
}

#[test]
fn a_connection_within_the_node_is_judged_by_its_receivers_policies() {
    let mut world = World::new();
    let local =
        |world: &World| node_local(&world.store.snapshot(), &world.client, &peer(), ip(), to("10.0.0.1:80"));
    world.govern(strict());
    assert!(local(&world).is_ok());
    let principals = vec![Pattern::parse("cluster.local/ns/shop/sa/friend")];
    world.govern(deny("wall", Match { principals, ..Match::default() }));
    assert!(matches!(local(&world).unwrap_err(), InboundError::Denied(_)));
}

#[test]
fn the_daemons_own_pod_is_reached_at_its_own_addresses_and_the_port_of_its_metrics_only() {
    let mut world = World::new();
    serve(&mut world);
    let metrics = |world: &World, authority: &str, ip: &str| {
        ask_for(world, authority, ip, Reach::Metrics { port: 8080 })
    };
    for (authority, ip) in [
        ("10.0.0.1:8080", "10.0.0.1"),
        ("[fd00::1]:8080", "fd00::1"),
        ("cart.shop.svc.cluster.local:80", "10.0.0.1"),
    ] {
        assert_eq!(metrics(&world, authority, ip).unwrap().upstream.port(), 8080, "{authority}");
    }
    for (authority, ip) in [
        ("10.0.0.1:22", "10.0.0.1"),
        ("10.0.0.1:15000", "10.0.0.1"),
        ("10.0.0.1:15008", "10.0.0.1"),
        // Addresses of the node, and none of the pod's.
        ("127.0.0.1:8080", "127.0.0.1"),
        ("[::1]:8080", "::1"),
        ("10.0.0.254:8080", "10.0.0.254"),
    ] {
        let error = metrics(&world, authority, ip).unwrap_err();
        assert!(matches!(error, InboundError::NotServed { metrics: 8080, .. }), "{authority}: {error}");
        assert_eq!(error.status(), 503);
    }
    let elsewhere = metrics(&world, "127.0.0.1:8080", "10.0.0.1").unwrap_err();
    assert!(matches!(elsewhere, InboundError::AddressMismatch { .. }));
    let principals = vec![Pattern::parse("cluster.local/ns/shop/sa/friend")];
    world.govern(deny("wall", Match { principals, ..Match::default() }));
    let refused = metrics(&world, "10.0.0.1:8080", "10.0.0.1").unwrap_err();
    assert!(matches!(refused, InboundError::Denied(_)));
}

/// Makes the client an endpoint of service `shop/cart`.
fn serve(world: &mut World) -> mesh::Service {
    let called = service("shop", "cart", "10.1.0.1", &[&world.client]);
    world.client.services = [called.key.clone()].into();
    let client = world.client.clone();
    world.serve(called.clone()).put(client);
    called
}

fn call(world: &World, authority: &str) -> Result<InboundTarget, InboundError> {
    ask(world, authority, "10.0.0.1")
}

fn ask(world: &World, authority: &str, local_ip: &str) -> Result<InboundTarget, InboundError> {
    ask_for(world, authority, local_ip, Reach::Applications)
}

fn ask_for(
    world: &World,
    authority: &str,
    local_ip: &str,
    reach: Reach,
) -> Result<InboundTarget, InboundError> {
    let (authority, peer) = (authority.parse().unwrap(), peer());
    let call = TunnelledCall {
        local: &world.client,
        peer: &peer,
        source_ip: ip(),
        authority: &authority,
        local_ip: local_ip.parse().unwrap(),
        reach,
    };
    inbound(&world.store.snapshot(), &call)
}

fn peer() -> SpiffeId {
    "spiffe://cluster.local/ns/shop/sa/friend".parse().unwrap()
}

fn ip() -> std::net::IpAddr {
    "10.0.5.5".parse().unwrap()
}
