//! Connections to other networks.

use std::sync::Arc;

use mesh::{
    EgressMode, EndpointTarget, GatewayHost, Hostname, Network, NetworkGateway, Service, Workload,
    WorkloadKind,
};

use super::samples::{World, endpoint, off, pod, service, target, with_profile};
use crate::decision::{Crossing, CrossingError, Gateway, Nested, Plan, Refusal};

#[test]
fn an_endpoint_on_another_network_is_reached_through_its_gateway_by_the_services_name() {
    let mut world = World::new();
    let nested = nested(remote(&mut world).call("10.1.0.1:80").unwrap());
    assert_eq!(nested.authority.to_string(), "cart.shop.svc.cluster.local:80", "not the endpoint's port");
    assert_eq!((nested.network.as_str(), &*nested.gateway.key), ("west", "istio-system/west"));
    assert_eq!((nested.gateway.host, nested.gateway.port), (host("192.0.2.1"), 15008));
    assert_eq!(nested.identity.as_str(), "spiffe://cluster.local/ns/istio-system/sa/west");
    let accepted: Vec<_> = nested.identities.iter().map(ToString::to_string).collect();
    let names = ["spiffe://cluster.local/ns/shop/sa/cart", "spiffe://cluster.local/ns/shop/sa/cart-2"];
    assert_eq!(accepted, names, "the gateway may pick either");
}

#[test]
fn an_address_means_the_own_network_whatever_has_it_elsewhere() {
    let mut world = World::new();
    remote(&mut world);
    assert!(
        matches!(world.call("10.0.1.1:80"), Ok(Plan::Passthrough { .. })),
        "nobody is there on this network"
    );
    world.put(pod("shop", "near", "10.0.1.1", "there"));
    let Ok(Plan::Hbone(tunnel)) = world.call("10.0.1.1:80") else { panic!("another's") };
    assert_eq!(&*tunnel.upstream.workload.unwrap().name, "near");
}

#[test]
fn without_a_gateway_that_can_be_used_nothing_goes_there() {
    let mut world = World::new();
    let service = || Arc::from("cart.shop.svc.cluster.local");
    remote(&mut world).ungate("istio-system/west");
    let network = Network::new("west");
    assert_eq!(
        world.refusal("10.1.0.1:80"),
        Refusal::NoGateway { network: network.clone(), service: service() }
    );
    world.gate(NetworkGateway { network: Network::new("east"), ..gateway("east", &["192.0.2.9"]) });
    assert!(matches!(world.refusal("10.1.0.1:80"), Refusal::NoGateway { .. }), "of another network");
    let nameless = NetworkGateway { identity: None, ..gateway("west", &["192.0.2.1"]) };
    for broken in [gateway("west", &[]), nameless] {
        world.gate(broken);
        let refused = world.call("10.1.0.1:80").unwrap_err();
        let (network, service) = (network.clone(), service());
        let gateway = "istio-system/west".into();
        assert_eq!(*refused.refusal, Refusal::GatewayUnusable { gateway, network, service });
        assert_eq!(refused.service.unwrap().name, "cart".into());
    }
}

#[test]
fn of_several_gateways_each_is_used_and_those_that_failed_are_not() {
    let mut world = World::new();
    remote(&mut world)
        .gate(gateway("west", &["192.0.2.1", "192.0.2.2"]))
        .gate(gateway("west-2", &["192.0.2.3"]));
    let mut hosts = Vec::new();
    for _ in 0..3 {
        let used = nested(world.call("10.1.0.1:80").unwrap()).gateway;
        assert_eq!(nested(world.call("10.1.0.1:80").unwrap()).gateway, used, "equal bits, equal choice");
        hosts.push(used.host.clone());
        world.tried.push(used);
    }
    hosts.sort();
    assert_eq!(hosts, ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(host));
    assert!(matches!(world.refusal("10.1.0.1:80"), Refusal::GatewaysTried { .. }));
    world.tried.clear();
    let drawn = (0..30).map(|random| {
        world.random = random;
        nested(world.call("10.1.0.1:80").unwrap()).gateway.host
    });
    let drawn: std::collections::BTreeSet<_> = drawn.collect();
    assert_eq!(drawn.len(), 3);
}

#[test]
fn a_gateway_of_a_family_that_the_pod_does_not_have_is_the_last_resort() {
    let mut world = World::new();
    world.client.addresses.truncate(1);
    remote(&mut world).gate(gateway("west", &["2001:db8::1", "192.0.2.1"]));
    for random in 0..4 {
        world.random = random;
        assert_eq!(nested(world.call("10.1.0.1:80").unwrap()).gateway.host, host("192.0.2.1"));
    }
    world.gate(gateway("west", &["2001:db8::1"]));
    assert_eq!(nested(world.call("10.1.0.1:80").unwrap()).gateway.host, host("2001:db8::1"));
}

#[test]
fn what_has_no_name_of_its_own_is_not_reached() {
    let mut world = World::new();
    remote(&mut world);
    let mut wild = cart();
    wild.key.hostname = Hostname("*.example.com".into());
    wild.addresses = ["10.1.0.2".parse::<std::net::IpAddr>().unwrap().into()].into_iter().collect();
    world.serve(wild);
    assert!(matches!(world.refusal("10.1.0.2:80"), Refusal::NotCalledByName { .. }));
}

#[test]
fn endpoints_here_and_there_are_drawn_alike_unless_the_service_prefers_its_network() {
    let mut world = World::new();
    let near = pod("shop", "near", "10.0.1.9", "there");
    let mut both = cart();
    both.endpoints = both.endpoints.iter().cloned().chain([endpoint(target(&near), 80, 8080)]).collect();
    remote(&mut world).put(near).serve(both.clone());
    let goes = |world: &mut World| {
        let plans = (0..40).map(|random| {
            world.random = random;
            matches!(world.call("10.1.0.1:80"), Ok(Plan::Nested(_)))
        });
        let plans: Vec<_> = plans.collect();
        (plans.contains(&true), plans.contains(&false))
    };
    assert_eq!(goes(&mut world), (true, true));
    both.load_balancing.policy = mesh::TrafficPolicy::Failover;
    both.load_balancing.preference = [mesh::Scope::Network].into();
    world.serve(both);
    assert_eq!(goes(&mut world), (false, true));
}

#[test]
fn what_is_wrong_on_the_way_to_another_network_is_in_nobody_elses_way() {
    let mut world = World::new();
    let near = pod("shop", "near", "10.0.1.9", "there");
    let mut both = cart();
    both.endpoints = both.endpoints.iter().cloned().chain([endpoint(target(&near), 80, 8080)]).collect();
    remote(&mut world).put(near.clone()).serve(both.clone());
    let goes_near = |world: &mut World| {
        (0..40).all(|random| {
            world.random = random;
            matches!(world.call("10.1.0.1:80"), Ok(Plan::Hbone(tunnel)) if tunnel.upstream.workload.as_ref().is_some_and(|it| it.uid == near.uid))
        })
    };
    assert!(!goes_near(&mut world), "some go there while one can");
    world.tried.push(place("192.0.2.1"));
    assert!(goes_near(&mut world), "its only gateway was tried");
    // So many gateways are tried, and no more.
    world.gate(gateway("west", &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]));
    world.tried.extend(["192.0.2.2", "192.0.2.3"].map(place));
    assert!(goes_near(&mut world));
    world.tried.clear();
    world.gate(gateway("west", &[]));
    assert!(goes_near(&mut world), "its gateway is of no use");
    world.ungate("istio-system/west");
    assert!(goes_near(&mut world), "it has none");
    // A client that is held to one endpoint is held to it as long as that can be reached.
    both.load_balancing.affinity = mesh::Affinity::ClientIp(std::time::Duration::from_secs(60));
    let target = both.endpoints[0].target.clone();
    world.remembered = Some(mesh::Remembered { target, index: 0 });
    world.serve(both);
    assert!(goes_near(&mut world), "whatever it went to before");
    world.gate(gateway("west", &["192.0.2.1"]));
    assert!(matches!(world.call("10.1.0.1:80"), Ok(Plan::Nested(_))));
    // Where nobody is near, what was in the way is why.
    world.serve(cart()).ungate("istio-system/west");
    assert!(matches!(world.refusal("10.1.0.1:80"), Refusal::NoGateway { .. }));
}

#[test]
fn a_pod_that_is_said_to_be_on_another_network_is_one_of_those_who_answer_there() {
    let mut world = World::new();
    let far = with_profile(pod("shop", "till", "10.0.1.3", "there"), |it| it.network = Network::new("west"));
    let far = Workload { services: [cart().key].into(), ..far };
    let mut both = cart();
    both.endpoints = [both.endpoints[0].clone(), endpoint(target(&far), 80, 8080)].into();
    remote(&mut world).put(far.clone()).serve(both);
    let plans = (0..40).map(|random| {
        world.random = random;
        nested(world.call("10.1.0.1:80").unwrap())
    });
    let plans: Vec<_> = plans.collect();
    let till = plans.iter().find(|plan| plan.identities.contains(&id("shop", "till"))).expect("it is picked");
    let crossing = Crossing {
        network: till.network.clone(),
        service: till.service.clone(),
        picked: till.upstream.workload.as_ref().map(|it| it.uid.clone()),
        gateway: id("istio-system", "west"),
        peer: id("shop", "till"),
    };
    let ask = |world: &World| crossing.ask_again(&world.store.snapshot(), &world.client);
    assert_eq!(ask(&world), Ok(()));
    world.put(with_profile(far.clone(), |it| it.network = Network::default()));
    assert!(matches!(ask(&world), Err(CrossingError::Peer { .. })), "it is here");
    world.put(with_profile(far, |it| it.service_account = "other".into()));
    assert!(matches!(ask(&world), Err(CrossingError::Peer { .. })), "it is somebody else");
}

#[test]
fn a_live_crossing_ends_when_its_gateway_or_its_peer_is_no_longer_who_it_was() {
    let mut world = World::new();
    remote(&mut world);
    let crossing = Crossing {
        network: Network::new("west"),
        service: cart().key,
        picked: None,
        gateway: id("istio-system", "west"),
        peer: id("shop", "cart-2"),
    };
    let ask = |world: &World| crossing.ask_again(&world.store.snapshot(), &world.client);
    assert_eq!(ask(&world), Ok(()));
    // The entry says another account.
    let other = with_profile(entry("cart-2", "10.0.1.2"), |it| it.service_account = "till".into());
    world.put(other);
    assert_eq!(ask(&world), Err(CrossingError::Peer { peer: id("shop", "cart-2") }));
    let named = Service { subject_alt_names: [id("shop", "cart-2")].into(), ..cart() };
    world.serve(named);
    assert_eq!(ask(&world), Ok(()), "the service names it");
    // Nobody is left: gone is not replaced.
    world.serve(Service { endpoints: [].into(), ..cart() });
    assert_eq!(ask(&world), Ok(()));
    world.egress(EgressMode::Deny);
    assert!(matches!(ask(&world), Err(CrossingError::Egress(Refusal::UnknownDestination { .. }))));
    world.egress(EgressMode::Allow);
    world.gate(NetworkGateway {
        identity: Some(id("istio-system", "new")),
        ..gateway("west", &["192.0.2.1"])
    });
    assert!(matches!(ask(&world), Err(CrossingError::Gateway { .. })));
    world.gate(gateway("west-2", &["192.0.2.7"]));
    assert!(ask(&world).is_err(), "another account");
    world.gate(NetworkGateway {
        identity: Some(id("istio-system", "west")),
        ..gateway("west-2", &["192.0.2.7"])
    });
    assert_eq!(ask(&world), Ok(()), "elsewhere, and the same");
    world.ungate("istio-system/west").ungate("istio-system/west-2");
    assert!(matches!(ask(&world), Err(CrossingError::Gateway { .. })));
}

/// A service with two endpoints on network `west`, and a gateway there.
fn remote(world: &mut World) -> &mut World {
    world.put(entry("cart", "10.0.1.1")).put(entry("cart-2", "10.0.1.2"));
    world.serve(cart()).gate(gateway("west", &["192.0.2.1"]))
}

fn cart() -> Service {
    let remote = |name: &str| endpoint(EndpointTarget::Remote(entry(name, "10.0.1.1").uid), 80, 8080);
    Service {
        endpoints: [remote("cart"), remote("cart-2")].into(),
        ..service("shop", "cart", "10.1.0.1", &[])
    }
}

fn entry(name: &str, ip: &str) -> Workload {
    let services = [service("shop", "cart", "10.1.0.1", &[]).key].into();
    let entry = with_profile(off(pod("shop", name, ip, "")), |it| {
        it.network = Network::new("west");
        it.kind = WorkloadKind::Entry;
    });
    Workload { services, ..entry }
}

fn gateway(name: &str, hosts: &[&str]) -> NetworkGateway {
    NetworkGateway {
        key: format!("istio-system/{name}").into(),
        network: Network::new("west"),
        hosts: hosts.iter().map(|ip| host(ip)).collect(),
        port: 15008,
        identity: Some(id("istio-system", name)),
    }
}

fn place(ip: &str) -> Gateway {
    Gateway { key: "istio-system/west".into(), host: host(ip), port: 15008 }
}

fn host(ip: &str) -> GatewayHost {
    GatewayHost::Ip(ip.parse().unwrap())
}

fn id(namespace: &str, account: &str) -> identity::SpiffeId {
    format!("spiffe://cluster.local/ns/{namespace}/sa/{account}").parse().unwrap()
}

fn nested(plan: Plan) -> Nested {
    let Plan::Nested(nested) = plan else { panic!("{plan:?}") };
    *nested
}
