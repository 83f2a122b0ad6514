//! Pods in their node's network that speak HBONE themselves: reached by tunnel at the ports that they declare, and
//! nowhere else at their node.

use mesh::{Capture, EgressMode, EndpointTarget, Workload, WorkloadKind};

use super::outbound::hbone;
use super::samples::{World, at, endpoint, place, pod, service, strict, target, to, with_profile};
use crate::decision::{Departure, Passed, Plan, Refusal};

#[test]
fn a_declared_port_is_reached_by_tunnel_at_the_nodes_address() {
    let mut world = World::new();
    for (node, ip, tunnel) in [("there", "192.0.2.7", "192.0.2.7"), ("here", "fd00:2::7", "[fd00:2::7]")] {
        let agent = agent(node, ip);
        world.node(node, ip).put(agent.clone());
        let planned = hbone(world.call(&format!("{tunnel}:15020")).unwrap());
        assert_eq!(planned.address, to(&format!("{tunnel}:15008")));
        assert_eq!(planned.authority, to(&format!("{tunnel}:15020")));
        assert_eq!(planned.identities, agent.identity().unwrap().into());
        assert_eq!(planned.upstream.workload.unwrap().uid, agent.uid);
    }
}

#[test]
fn other_ports_of_the_node_are_what_they_were() {
    let mut world = World::new();
    world.node("there", "192.0.2.7").put(agent("there", "192.0.2.7")).govern(strict());
    world.egress(EgressMode::Deny);
    for port in [22, 10250, 15000, 15008, 15019, 15021] {
        let plan = world.call(&format!("192.0.2.7:{port}")).unwrap();
        let Plan::Passthrough { destination, passed, .. } = plan else { panic!("{port}: {plan:?}") };
        assert_eq!((destination.port(), passed), (port, Passed::Node));
    }
    hbone(world.call("192.0.2.7:15020").unwrap());
}

#[test]
fn a_service_leads_by_tunnel_to_declared_ports_only() {
    let mut world = World::new();
    let agent = agent("there", "192.0.2.7");
    let mut called = service("shop", "agent", "10.1.0.1", &[&agent]);
    world.put(agent.clone());
    for (target, port, by_tunnel) in [
        (target(&agent), 15020, true),
        (target(&agent), 8080, false),
        (EndpointTarget::Address(at("192.0.2.7")), 15020, false),
        (EndpointTarget::Address(at("192.0.2.7")), 8080, false),
    ] {
        called.endpoints = [endpoint(target.clone(), 80, port)].into();
        world.serve(called.clone());
        match world.call("10.1.0.1:80").unwrap() {
            Plan::Hbone(tunnel) => assert_eq!((by_tunnel, tunnel.authority.port()), (true, port)),
            Plan::Direct { upstream, unprotected } => {
                assert_eq!((by_tunnel, unprotected), (false, false), "{target:?}");
                assert_eq!(place(&upstream), format!("192.0.2.7:{port}"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_service_has_at_a_node_is_not_a_pods_for_the_pods_saying_so() {
    let mut world = World::new();
    let entry = with_profile(pod("shop", "entry", "192.0.2.7", "there"), |it| it.kind = WorkloadKind::Entry);
    let entry = Workload { capture: Capture::Off, pod_uid: None, ..entry };
    let bare = EndpointTarget::Address(at("192.0.2.7"));
    world.node("there", "192.0.2.7").egress(EgressMode::Deny).govern(strict());
    for (target, known) in [(bare, None), (target(&entry), Some(entry))] {
        known.map(|entry| world.put(entry));
        let mut called = service("shop", "api", "10.1.0.1", &[]);
        called.endpoints = [endpoint(target.clone(), 80, 15020)].into();
        world.serve(called);
        let plan = world.call("10.1.0.1:80").unwrap();
        let mut live = Departure::of(&plan, to("10.1.0.1:80"), Some(to("192.0.2.7:15020"))).unwrap();
        world.put(agent("there", "192.0.2.7"));
        let Plan::Direct { upstream, unprotected: false } = world.call("10.1.0.1:80").unwrap() else {
            panic!("{target:?}")
        };
        assert_eq!(place(&upstream), "192.0.2.7:15020");
        assert_eq!(again(&world, &mut live), Ok(()), "nor is a live connection: {target:?}");
        world.remove(&agent("there", "192.0.2.7"));
    }
}

#[test]
fn plaintext_to_a_declared_port_ends_when_the_pod_that_refuses_it_is_known() {
    let mut world = World::new();
    let agent = agent("there", "192.0.2.7");
    world.node("there", "192.0.2.7").egress(EgressMode::Deny).govern(strict());
    let mut live = left(&world, "192.0.2.7:15020");
    let mut other = left(&world, "192.0.2.7:22");
    world.put(agent.clone());
    assert!(matches!(again(&world, &mut live), Err(Refusal::PlaintextRefused { .. })));
    assert_eq!(live.receiver, Some(agent.uid.clone()));
    assert_eq!(again(&world, &mut other), Ok(()), "the rest of the node is none of it");
    world.remove(&agent);
    assert_eq!(again(&world, &mut live), Ok(()), "what is left there is the node");
}

#[test]
fn a_tunnel_to_such_a_pod_is_its_other_ends_to_judge() {
    let mut world = World::new();
    world.node("there", "192.0.2.7").put(agent("there", "192.0.2.7"));
    let plan = world.call("192.0.2.7:15020").unwrap();
    assert_eq!(Departure::of(&plan, to("192.0.2.7:15020"), None), None);
}

/// A pod of namespace `shop` in its node's network that serves port 15020 by HBONE.
fn agent(node: &str, ip: &str) -> Workload {
    with_profile(pod("shop", &format!("agent-{node}"), ip, node), |profile| {
        (profile.host_network, profile.native_ports) = (true, [15020].into());
    })
}

/// The client's connection to an address of a node.
fn left(world: &World, destination: &str) -> Departure {
    let plan = world.call(destination).unwrap();
    Departure::of(&plan, to(destination), Some(to(destination))).unwrap()
}

fn again(world: &World, departure: &mut Departure) -> Result<(), Refusal> {
    departure.ask_again(&world.store.snapshot(), &world.client)
}
