//! Which object an address means, and what happens to addresses that mean none.

use std::time::Duration;

use mesh::{Affinity, EgressMode, EndpointTarget, Network, NoEndpoint, Remembered, Resolution, ServiceKey};

use super::outbound::hbone;
use super::samples::{World, at, endpoint, off, place, pod, port, service, target, to};
use crate::decision::{Call, Passed, Plan, Refusal, outbound};

#[test]
fn a_services_very_address_means_the_service_even_where_a_workload_has_it_too() {
    let mut world = World::new();
    let (there, behind) =
        (pod("shop", "there", "10.0.1.1", "there"), pod("shop", "behind", "10.0.1.2", "there"));
    world.put(there).put(behind.clone()).serve(service("shop", "cart", "10.0.1.1", &[&behind]));
    assert_eq!(hbone(world.call("10.0.1.1:80").unwrap()).authority, to("10.0.1.2:8080"));
}

#[test]
fn a_workloads_address_means_the_workload_even_within_a_services_range() {
    let mut world = World::new();
    let (there, behind) =
        (pod("shop", "there", "10.0.1.1", "there"), pod("shop", "behind", "10.0.1.2", "there"));
    let mut ranged = service("shop", "range", "10.1.0.1", &[&behind]);
    ranged.ranges = [(Network::default(), "10.0.0.0/8".parse().unwrap())].into();
    world.put(there).put(behind).serve(ranged);
    assert_eq!(hbone(world.call("10.0.1.1:80").unwrap()).authority, to("10.0.1.1:80"));
    assert_eq!(hbone(world.call("10.7.7.7:80").unwrap()).authority, to("10.0.1.2:8080"));
}

#[test]
fn a_port_that_a_range_does_not_serve_is_an_unknown_destination() {
    let mut world = World::new();
    let mut ranged = service("shop", "range", "10.1.0.1", &[]);
    ranged.ranges = [(Network::default(), "203.0.113.0/24".parse().unwrap())].into();
    world.serve(ranged);
    assert_eq!(passed(&world, "203.0.113.1:443"), Passed::Unknown);
}

#[test]
fn a_port_that_a_service_does_not_have_is_refused_but_on_a_service_entrys_address_it_is_unknown() {
    let mut world = World::new();
    let mut entry = service("shop", "entry", "203.0.113.1", &[]);
    entry.canonical = false;
    world.serve(service("shop", "cart", "10.1.0.1", &[])).serve(entry);
    let Refusal::NoEndpoint { source, service, .. } = world.refusal("10.1.0.1:81") else { panic!("passed") };
    assert_eq!((source, &*service), (NoEndpoint::UnknownPort { port: 81 }, "cart.shop.svc.cluster.local"));
    assert_eq!(passed(&world, "203.0.113.1:81"), Passed::Unknown);
}

#[test]
fn services_that_share_an_address_are_told_apart_by_port() {
    let mut world = World::new();
    let (one, two) = (pod("shop", "one", "10.0.1.1", "there"), pod("shop", "two", "10.0.1.2", "there"));
    let mut other = service("shop", "other", "192.0.2.80", &[]);
    other.ports = [port(81)].into();
    other.endpoints = [endpoint(target(&two), 81, 8081)].into();
    world.put(one.clone()).put(two).serve(service("shop", "cart", "192.0.2.80", &[&one])).serve(other);
    assert_eq!(hbone(world.call("192.0.2.80:80").unwrap()).authority, to("10.0.1.1:8080"));
    assert_eq!(hbone(world.call("192.0.2.80:81").unwrap()).authority, to("10.0.1.2:8081"));
}

#[test]
fn an_ipv6_address_leads_to_an_ipv6_endpoint() {
    let mut world = World::new();
    let (four, six) = (pod("shop", "four", "10.0.1.1", "there"), pod("shop", "six", "fd00::7", "there"));
    let mut called = service("shop", "cart", "10.1.0.1", &[&four, &six]);
    called.addresses.push(at("fd00:1::1"));
    world.put(four).put(six).serve(called);
    let tunnel = hbone(world.call("[fd00:1::1]:80").unwrap());
    assert_eq!((tunnel.address, tunnel.authority), (to("[fd00::7]:15008"), to("[fd00::7]:8080")));
    assert_eq!(hbone(world.call("10.1.0.1:80").unwrap()).authority, to("10.0.1.1:8080"));
}

#[test]
fn an_ipv4_address_in_ipv6_form_is_the_ipv4_address() {
    let mut world = World::new();
    world.put(pod("shop", "cart", "10.0.1.1", "there"));
    assert_eq!(hbone(world.call("[::ffff:10.0.1.1]:80").unwrap()).authority, to("10.0.1.1:80"));
}

#[test]
fn an_endpoint_that_is_but_an_address_is_reached_in_plaintext_and_by_a_tunnel_where_a_workload_has_it() {
    let mut world = World::new();
    let mut called = service("shop", "db", "10.1.0.1", &[]);
    called.endpoints = [endpoint(EndpointTarget::Address(at("10.0.9.9")), 80, 5432)].into();
    world.serve(called);
    let Plan::Direct { upstream, .. } = world.call("10.1.0.1:80").unwrap() else { panic!("tunnel") };
    assert_eq!((place(&upstream).as_str(), upstream.workload), ("10.0.9.9:5432", None));

    world.put(pod("shop", "db", "10.0.9.9", "there"));
    assert_eq!(hbone(world.call("10.1.0.1:80").unwrap()).address, to("10.0.9.9:15008"));
}

#[test]
fn a_service_without_resolution_passes_its_connections_through() {
    let mut world = World::new();
    let mut entry = service("shop", "entry", "203.0.113.1", &[]);
    (entry.canonical, entry.resolution) = (false, Resolution::Passthrough);
    world.serve(entry).egress(EgressMode::Deny);
    let Plan::Passthrough { destination, passed, service } = world.call("203.0.113.1:80").unwrap() else {
        panic!("not passed")
    };
    assert_eq!((destination, passed), (to("203.0.113.1:80"), Passed::Service));
    assert_eq!(&*service.unwrap().name, "entry");
}

#[test]
fn an_unknown_destination_is_passed_reported_or_refused_as_the_namespace_says() {
    let mut world = World::new();
    assert_eq!(passed(&world, "203.0.113.9:443"), Passed::Unknown);
    world.egress(EgressMode::Log);
    assert_eq!(passed(&world, "203.0.113.9:443"), Passed::UnknownReported);
    world.egress(EgressMode::Deny);
    assert_eq!(world.refusal("203.0.113.9:443"), Refusal::UnknownDestination { namespace: "shop".into() });
}

#[test]
fn a_service_that_the_client_does_not_see_is_an_unknown_destination() {
    let mut world = World::new();
    let mut hidden = service("other", "hidden", "10.1.0.1", &[]);
    hidden.visible_to = Some(["other".into()].into());
    world.serve(hidden).egress(EgressMode::Deny);
    assert!(matches!(world.refusal("10.1.0.1:80"), Refusal::UnknownDestination { .. }));
}

#[test]
fn a_node_is_no_unknown_destination() {
    let mut world = World::new();
    world.node("there", "192.0.2.7").egress(EgressMode::Deny);
    assert_eq!(passed(&world, "192.0.2.7:10250"), Passed::Node);
}

#[test]
fn an_address_of_another_network_is_not_mistaken_for_one_of_this() {
    let mut world = World::new();
    let west = super::samples::with_profile(pod("shop", "west", "10.0.1.1", "there"), |profile| {
        profile.network = Network::new("west");
    });
    world.put(west);
    assert_eq!(passed(&world, "10.0.1.1:80"), Passed::Unknown);
}

#[test]
fn the_daemons_ports_of_the_pod_itself_are_refused() {
    let world = World::new();
    for (address, port) in [("127.0.0.1:15001", 15001), ("[::1]:15006", 15006), ("10.0.0.1:15008", 15008)] {
        assert_eq!(world.refusal(address), Refusal::OwnPort { port });
    }
    assert!(world.call("203.0.113.9:15008").is_ok());
}

#[test]
fn a_pod_may_call_itself_through_its_service() {
    let mut world = World::new();
    let client = world.client.clone();
    world.serve(service("shop", "client", "10.1.0.1", &[&client]));
    let Plan::Local(tunnel) = world.call("10.1.0.1:80").unwrap() else { panic!("not local") };
    assert_eq!(tunnel.authority, to("10.0.0.1:8080"));
}

#[test]
fn a_client_keeps_its_endpoint_of_a_service_with_affinity() {
    let mut world = World::new();
    let (one, two) =
        (off(pod("shop", "one", "10.0.1.1", "there")), off(pod("shop", "two", "10.0.1.2", "there")));
    let mut called = service("shop", "cart", "10.1.0.1", &[&one, &two]);
    called.load_balancing.affinity = Affinity::ClientIp(Duration::from_secs(60));
    world.put(one).put(two.clone()).serve(called);
    let recall = |service: &ServiceKey, port: u16| {
        assert_eq!((&*service.hostname.0, port), ("cart.shop.svc.cluster.local", 80));
        Some(Remembered { target: target(&two), index: 0 })
    };
    for random in 0..20 {
        let destination = to("10.1.0.1:80");
        let call = Call {
            source: &world.client,
            destination,
            random,
            recall: &recall,
            names: &|_| Vec::new(),
            exclude: &[],
            exclude_gateways: &[],
        };
        let plan = outbound(&world.store.snapshot(), world.settings, &call).unwrap();
        assert_eq!(plan.workload().unwrap().uid, two.uid);
        assert_eq!(plan.picked().unwrap().remember, Some(Duration::from_secs(60)));
    }
}

fn passed(world: &World, destination: &str) -> Passed {
    match world.call(destination).unwrap() {
        Plan::Passthrough { passed, destination: reached, .. } => {
            assert_eq!(reached, to(destination));
            passed
        }
        other => panic!("{other:?} does not pass it through"),
    }
}
