//! What let a connection out is asked again when it changes, by the rules of new ones.

use mesh::{Capture, EgressMode, EndpointTarget, Hostname, Resolution, Service, WorkloadKind, WorkloadUid};

use super::samples::{World, at, endpoint, off, pending, pod, service, strict, target, with_profile};
use crate::decision::{Departure, Plan, Refusal};

#[test]
fn what_a_namespace_lets_out_is_asked_of_its_list_and_of_the_name_that_opened_it() {
    let mut world = World::new();
    let mut nameless = left(&world, "192.0.2.1:443");
    world.names = vec!["api.example.com".into()];
    world.egress_list(EgressMode::Deny, "*.example.com:443");
    let mut named = left(&world, "192.0.2.1:443");
    assert_eq!(named.name.as_deref(), Some("api.example.com"));
    assert!(is_unknown(&world, &mut nameless));
    assert_eq!(again(&world, &mut named), Ok(()));
    world.egress_list(EgressMode::Deny, "192.0.2.0/24");
    assert_eq!(again(&world, &mut nameless), Ok(()));
    world.egress_list(EgressMode::Deny, "*.example.com:80");
    assert!(is_unknown(&world, &mut named));
}

#[test]
fn plaintext_to_a_pod_that_is_not_captured_ends_when_its_policies_refuse_it() {
    let mut world = World::new();
    let cart = pod("shop", "cart", "10.0.1.1", "there");
    world.put(pending(cart.clone()));
    let mut live = left(&world, "10.0.1.1:80");
    assert_eq!(again(&world, &mut live), Ok(()));
    world.put(cart.clone());
    assert_eq!(again(&world, &mut live), Ok(()), "capture alone cuts nothing");
    world.govern(strict());
    assert!(matches!(again(&world, &mut live), Err(Refusal::PlaintextRefused { .. })));
    world.put(off(cart));
    assert_eq!(again(&world, &mut live), Ok(()), "the mesh has no say");
}

#[test]
fn plaintext_to_where_nobody_was_known_ends_when_a_pod_that_refuses_it_is() {
    let mut world = World::new();
    world.govern(strict());
    let mut live = left(&world, "10.0.1.1:80");
    assert_eq!(again(&world, &mut live), Ok(()));
    let cart = pod("shop", "cart", "10.0.1.1", "there");
    world.put(cart.clone());
    assert!(again(&world, &mut live).is_err());
    assert_eq!(live.receiver, Some(cart.uid));
}

#[test]
fn an_entry_that_passes_connections_through_is_what_lets_them_out() {
    let mut world = World::new();
    let (one, other) = (passing("one"), passing("other"));
    world.egress(EgressMode::Deny).serve(one.clone()).serve(other.clone());
    let mut live = left(&world, "203.0.113.1:80");
    assert_eq!(again(&world, &mut live), Ok(()));
    let first = live.service.clone();
    let (first, second) = if first == Some(one.key.hostname.clone()) { (one, other) } else { (other, one) };
    world.unserve(&first);
    assert_eq!(again(&world, &mut live), Ok(()), "the other one lets it out too");
    assert_eq!(live.service, Some(second.key.hostname.clone()));
    world.unserve(&second);
    assert!(is_unknown(&world, &mut live));
    world.egress(EgressMode::Log);
    assert_eq!(again(&world, &mut live), Ok(()));
}

#[test]
fn an_entrys_endpoint_that_goes_is_unknown_by_whatever_it_was_reached() {
    let mut world = World::new();
    world.egress(EgressMode::Deny);
    let mut listed = off(pod("shop", "listed", "203.0.113.7", ""));
    (listed.uid, listed.pod_uid) = (WorkloadUid("entry/listed".into()), None);
    let listed = with_profile(listed, |profile| profile.kind = WorkloadKind::Entry);
    let by_workload = service("shop", "vip", "10.1.0.1", &[&listed]);
    let mut by_address = service("shop", "db", "10.1.0.2", &[]);
    by_address.endpoints = [endpoint(EndpointTarget::Address(at("203.0.113.8")), 80, 80)].into();
    world.put(listed.clone()).serve(by_workload.clone()).serve(by_address.clone());
    let mut first = reached(&world, "10.1.0.1:80", "203.0.113.7:8080");
    let mut second = reached(&world, "10.1.0.2:80", "203.0.113.8:80");
    assert_eq!((again(&world, &mut first), again(&world, &mut second)), (Ok(()), Ok(())));
    world.unserve(&by_workload);
    assert_eq!(again(&world, &mut first), Ok(()), "where it goes is known");
    world.remove(&listed);
    assert!(is_unknown(&world, &mut first));
    by_address.endpoints = [endpoint(target(&listed), 80, 80)].into();
    world.serve(by_address);
    assert!(is_unknown(&world, &mut second), "the service leads elsewhere");
}

#[test]
fn a_tunnel_to_who_is_only_written_down_ends_with_that_and_others_are_their_ends_to_judge() {
    let mut world = World::new();
    world.egress(EgressMode::Deny).govern(strict());
    let mut machine = pod("shop", "machine", "203.0.113.7", "");
    (machine.pod_uid, machine.capture) = (None, Capture::Enabled);
    let machine = with_profile(machine, |profile| profile.kind = WorkloadKind::Entry);
    world.put(machine.clone()).put(pod("shop", "cart", "10.0.1.1", "there"));
    let mut live = left(&world, "203.0.113.7:80");
    assert!(live.tunnelled);
    assert_eq!(again(&world, &mut live), Ok(()), "its other end decides about identities");
    world.remove(&machine);
    assert!(is_unknown(&world, &mut live));
    let plan = world.call("10.0.1.1:80").unwrap();
    assert!(matches!(plan, Plan::Hbone(_)));
    assert_eq!(Departure::of(&plan, "10.0.1.1:80".parse().unwrap(), None), None);
}

#[test]
fn an_entry_opens_no_plaintext_to_a_pod_that_refuses_it() {
    let mut world = World::new();
    world.serve(passing("entry")).put(pending(pod("shop", "cart", "203.0.113.1", "there")));
    assert!(matches!(world.call("203.0.113.1:80"), Ok(Plan::Passthrough { .. })));
    world.govern(strict());
    assert!(matches!(world.refusal("203.0.113.1:80"), Refusal::PlaintextRefused { .. }));
}

/// An entry of resolution NONE at 203.0.113.1.
fn passing(name: &str) -> Service {
    let mut entry = service("shop", name, "203.0.113.1", &[]);
    (entry.canonical, entry.resolution) = (false, Resolution::Passthrough);
    entry.key.hostname = Hostname(format!("{name}.example.com").into());
    entry
}

/// The client's connection to an address, where it went to that very one.
fn left(world: &World, destination: &str) -> Departure {
    reached(world, destination, destination)
}

fn reached(world: &World, dialled: &str, reached: &str) -> Departure {
    let plan = world.call(dialled).unwrap();
    Departure::of(&plan, dialled.parse().unwrap(), Some(reached.parse().unwrap())).unwrap()
}

fn again(world: &World, departure: &mut Departure) -> Result<(), Refusal> {
    departure.ask_again(&world.store.snapshot(), &world.client)
}

fn is_unknown(world: &World, departure: &mut Departure) -> bool {
    matches!(again(world, departure), Err(Refusal::UnknownDestination { .. }))
}
