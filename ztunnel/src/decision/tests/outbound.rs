//! What the destination is, and how it is carried.

use authz::DenyReason;
use mesh::{EgressMode, Network, NoEndpoint, Place, TunnelProtocol, WorkloadKind};

use super::samples::{World, off, pending, place, pod, service, strict, target, to, with_profile};
use crate::decision::{Passed, Plan, Refusal, Tunnel, is_egress_name};

#[test]
fn a_captured_pod_is_reached_by_a_tunnel_to_its_own_address() {
    let mut world = World::new();
    world.put(pod("shop", "cart", "10.0.1.1", "there"));
    let tunnel = hbone(world.call("10.0.1.1:8080").unwrap());
    assert_eq!((tunnel.address, tunnel.authority), (to("10.0.1.1:15008"), to("10.0.1.1:8080")));
    assert_eq!(tunnel.identities.to_string(), "spiffe://cluster.local/ns/shop/sa/cart");
    assert!(tunnel.upstream.service.is_none());
    assert!(tunnel.upstream.picked.is_none());
}

#[test]
fn a_services_address_leads_to_an_endpoint_and_its_own_port() {
    let mut world = World::new();
    let cart = pod("shop", "cart", "10.0.1.1", "there");
    world.put(cart.clone()).serve(service("shop", "cart", "10.1.0.1", &[&cart]));
    let tunnel = hbone(world.call("10.1.0.1:80").unwrap());
    assert_eq!((tunnel.address, tunnel.authority), (to("10.0.1.1:15008"), to("10.0.1.1:8080")));
    assert_eq!(&*tunnel.upstream.service.unwrap().name, "cart");
    let picked = tunnel.upstream.picked.unwrap();
    assert_eq!((picked.endpoint.target, picked.port), (target(&cart), 80));
}

#[test]
fn a_service_adds_the_identities_that_it_names() {
    let mut world = World::new();
    let cart = pod("shop", "cart", "10.0.1.1", "there");
    let mut called = service("shop", "cart", "10.1.0.1", &[&cart]);
    called.subject_alt_names = ["spiffe://other.example/ns/a/sa/b".parse().unwrap()].into();
    world.put(cart).serve(called);
    let tunnel = hbone(world.call("10.1.0.1:80").unwrap());
    let names: Vec<_> = tunnel.identities.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["spiffe://cluster.local/ns/shop/sa/cart", "spiffe://other.example/ns/a/sa/b"]);
}

#[test]
fn a_pod_of_the_same_node_is_reached_within_the_daemon() {
    let mut world = World::new();
    world.put(pod("shop", "cart", "10.0.1.1", "here"));
    let Plan::Local(tunnel) = world.call("10.0.1.1:8080").unwrap() else { panic!("not local") };
    assert_eq!(tunnel.authority, to("10.0.1.1:8080"));
}

#[test]
fn a_pod_of_the_same_node_gets_the_full_tunnel_where_a_network_policy_selects_either_end() {
    let mut world = World::new();
    let cart = pod("shop", "cart", "10.0.1.1", "here");
    let select = |pod| with_profile(pod, |profile| profile.network_policy_selected = true);
    world.put(select(cart.clone()));
    hbone(world.call("10.0.1.1:8080").unwrap());

    world.put(cart);
    assert!(matches!(world.call("10.0.1.1:8080"), Ok(Plan::Local(_))));
    world.client = select(world.client.clone());
    hbone(world.call("10.0.1.1:8080").unwrap());
}

#[test]
fn a_setting_turns_the_path_within_the_daemon_off() {
    let mut world = World::new();
    world.put(pod("shop", "cart", "10.0.1.1", "here")).settings.node_local = false;
    hbone(world.call("10.0.1.1:8080").unwrap());
}

#[test]
fn nodes_without_a_name_and_nodes_of_other_clusters_are_not_this_node() {
    let mut world = World::new();
    let other = with_profile(pod("shop", "cart", "10.0.1.1", "here"), |profile| {
        profile.cluster = mesh::ClusterId("other".into());
    });
    world.put(other);
    hbone(world.call("10.0.1.1:8080").unwrap());
    world.client.node = Default::default();
    world.put(pod("shop", "pay", "10.0.1.2", ""));
    hbone(world.call("10.0.1.2:8080").unwrap());
}

#[test]
fn what_is_not_a_pod_is_never_local() {
    let mut world = World::new();
    world.put(with_profile(pod("shop", "vm", "10.0.1.1", "here"), |profile| {
        profile.kind = WorkloadKind::Entry
    }));
    hbone(world.call("10.0.1.1:8080").unwrap());
}

#[test]
fn a_workload_outside_of_the_mesh_is_reached_in_plaintext() {
    let mut world = World::new();
    let legacy = off(pod("old", "legacy", "10.0.1.1", "there"));
    world.put(legacy.clone()).serve(service("old", "legacy", "10.1.0.1", &[&legacy]));
    for destination in ["10.0.1.1:8080", "10.1.0.1:80"] {
        let Plan::Direct { upstream, unprotected } = world.call(destination).unwrap() else {
            panic!("{destination}")
        };
        assert_eq!((place(&upstream).as_str(), unprotected), ("10.0.1.1:8080", false));
        assert_eq!(upstream.workload.unwrap().uid, legacy.uid);
    }
}

#[test]
fn a_pod_in_its_nodes_network_is_reached_in_plaintext_at_the_nodes_address() {
    let mut world = World::new();
    let agent =
        with_profile(pod("shop", "agent", "192.0.2.7", "there"), |profile| profile.host_network = true);
    world.put(agent.clone()).serve(service("shop", "agent", "10.1.0.1", &[&agent]));
    let Plan::Direct { upstream, unprotected } = world.call("10.1.0.1:80").unwrap() else { panic!("tunnel") };
    assert_eq!((place(&upstream).as_str(), unprotected), ("192.0.2.7:8080", false));
}

#[test]
fn a_pod_that_is_not_captured_yet_gets_plaintext_while_its_policies_admit_it() {
    let mut world = World::new();
    world.put(pending(pod("shop", "cart", "10.0.1.1", "there")));
    let Plan::Direct { unprotected, .. } = world.call("10.0.1.1:8080").unwrap() else { panic!("tunnel") };
    assert!(unprotected);
}

#[test]
fn a_pod_that_is_not_captured_yet_is_refused_where_its_policies_demand_an_identity() {
    let mut world = World::new();
    let cart = pending(pod("shop", "cart", "10.0.1.1", "there"));
    world.put(cart.clone()).govern(strict());
    let Refusal::PlaintextRefused { workload, denied } = world.refusal("10.0.1.1:8080") else { panic!("no") };
    assert_eq!(workload, cart.uid);
    assert_eq!((&*denied.policy.unwrap().name, denied.reason), ("strict", DenyReason::DenyMatched));
}

#[test]
fn a_pod_that_is_not_captured_yet_is_refused_while_a_policy_that_it_names_is_not_known() {
    let mut world = World::new();
    world.put(with_profile(pending(pod("shop", "cart", "10.0.1.1", "there")), |profile| {
        profile.policies = ["shop/missing".into()].into();
    }));
    let Refusal::PlaintextRefused { denied, .. } = world.refusal("10.0.1.1:8080") else { panic!("no") };
    assert_eq!(denied.reason, DenyReason::UnknownPolicy);
}

#[test]
fn a_captured_workload_that_speaks_no_hbone_is_treated_like_one_not_captured_yet() {
    let mut world = World::new();
    world.put(with_profile(pod("shop", "cart", "10.0.1.1", "there"), |it| it.protocol = TunnelProtocol::Tcp));
    assert!(matches!(world.call("10.0.1.1:8080"), Ok(Plan::Direct { unprotected: true, .. })));
    world.govern(strict());
    assert!(matches!(world.refusal("10.0.1.1:8080"), Refusal::PlaintextRefused { .. }));
}

#[test]
fn a_workload_of_another_network_is_refused_while_no_gateway_leads_there() {
    let mut world = World::new();
    let cart = with_profile(pod("shop", "cart", "10.0.1.1", "there"), |it| it.network = Network::new("west"));
    world.put(cart.clone()).serve(service("shop", "cart", "10.1.0.1", &[&cart]));
    let network = Network::new("west");
    let service = "cart.shop.svc.cluster.local".into();
    assert_eq!(world.refusal("10.1.0.1:80"), Refusal::NoGateway { network, service });
}

#[test]
fn a_workload_that_cannot_have_an_identity_is_refused() {
    let mut world = World::new();
    let cart =
        with_profile(pod("shop", "cart", "10.0.1.1", "there"), |it| it.service_account = "no/name".into());
    world.put(cart.clone());
    assert_eq!(world.refusal("10.0.1.1:8080"), Refusal::NoIdentity { workload: cart.uid });
}

#[test]
fn a_workload_that_is_known_by_name_is_reached_in_plaintext_and_never_by_a_tunnel() {
    let mut world = World::new();
    let mut named = with_profile(pod("shop", "db", "10.0.1.1", "there"), |it| it.kind = WorkloadKind::Entry);
    (named.addresses, named.hostname) = (Default::default(), Some("db.example.com".into()));
    let mut called = service("shop", "db", "10.1.0.1", &[]);
    let by_name = mesh::EndpointTarget::Hostname(named.uid.clone());
    called.endpoints = [super::samples::endpoint(by_name, 80, 5432)].into();
    world.put(off(named.clone())).serve(called);
    let Plan::Direct { upstream, .. } = world.call("10.1.0.1:80").unwrap() else { panic!("tunnel") };
    assert_eq!((&upstream.place, upstream.port), (&Place::Name("db.example.com".into()), 5432));

    world.put(named.clone());
    assert_eq!(world.refusal("10.1.0.1:80"), Refusal::NoTunnelAddress { workload: named.uid });
}

#[test]
fn a_listed_endpoint_at_the_address_of_a_pod_is_that_pod() {
    let mut world = World::new();
    let cart = pod("shop", "cart", "10.0.1.1", "there");
    let mut entry = off(pod("shop", "a-entry", "10.0.1.1", ""));
    (entry.pod_uid, entry.profile) =
        (None, with_profile(entry.clone(), |it| it.kind = WorkloadKind::Entry).profile);
    world.put(entry.clone()).serve(service("shop", "ext", "192.0.2.1", &[&entry]));
    let Plan::Direct { upstream, .. } = world.call("192.0.2.1:80").unwrap() else { panic!("tunnel") };
    assert_eq!(upstream.workload.unwrap().uid, entry.uid, "nobody else is there");
    world.put(cart.clone());
    let tunnel = hbone(world.call("192.0.2.1:80").unwrap());
    assert_eq!(tunnel.upstream.workload.unwrap().uid, cart.uid);
    world.put(pending(cart)).govern(strict());
    assert!(matches!(world.refusal("192.0.2.1:80"), Refusal::PlaintextRefused { .. }));
}

#[test]
fn the_next_attempt_goes_to_another_endpoint_until_all_were_tried() {
    let mut world = World::new();
    let (one, two) = (pod("shop", "one", "10.0.1.1", "there"), pod("shop", "two", "10.0.1.2", "there"));
    world.put(one.clone()).put(two.clone()).serve(service("shop", "cart", "10.1.0.1", &[&one, &two]));
    let first = hbone(world.call("10.1.0.1:80").unwrap()).upstream.picked.unwrap().endpoint.target;
    let second = hbone(world.call_again("10.1.0.1:80", std::slice::from_ref(&first)).unwrap());
    assert_ne!(second.upstream.picked.unwrap().endpoint.target, first);
    let refused = world.call_again("10.1.0.1:80", &[target(&one), target(&two)]).unwrap_err();
    assert_eq!(&*refused.service.unwrap().name, "cart");
    let Refusal::NoEndpoint { source, .. } = *refused.refusal else { panic!("no") };
    assert_eq!(source, NoEndpoint::AllTried { tried: 2 });
}

/// The tunnel of a plan that has one across the network.
pub(super) fn hbone(plan: Plan) -> Tunnel {
    match plan {
        Plan::Hbone(tunnel) => tunnel,
        other => panic!("{other:?} is no tunnel"),
    }
}

#[test]
fn what_a_namespace_lists_is_let_out_and_known_by_what_lists_it() {
    let mut world = World::new();
    world.egress_list(EgressMode::Deny, "192.0.2.0/28:443,*.example.com:443,api.other.org");
    world.names = vec!["www.example.com".into()];
    for (destination, passed) in [
        ("192.0.2.1:443", Some(Passed::ListedAddress)),
        ("192.0.2.99:443", Some(Passed::ListedName("www.example.com".into()))),
        ("192.0.2.1:80", None),
        ("192.0.2.99:80", None),
    ] {
        match (world.call(destination), passed) {
            (Ok(Plan::Passthrough { passed, .. }), Some(want)) => assert_eq!(passed, want, "{destination}"),
            (Err(refused), None) => {
                let is_unknown = matches!(&*refused.refusal, Refusal::UnknownDestination { .. });
                assert!(is_unknown, "{destination}");
            }
            (decided, _) => panic!("{destination}: {decided:?}"),
        }
    }
    world.names = vec!["api.other.org".into()];
    assert!(world.call("192.0.2.99:80").is_ok());
    world.names = vec!["example.com".into()];
    assert!(world.call("192.0.2.99:443").is_err());
}

#[test]
fn a_host_that_a_service_entry_describes_counts_as_listed_at_its_ports() {
    let mut world = World::new();
    let mut entry = service("shop", "db", "10.1.0.9", &[]);
    entry.key.hostname = mesh::Hostname("db.example.org".into());
    entry.addresses.clear();
    entry.canonical = false;
    world.serve(entry).egress(EgressMode::Deny);
    world.names = vec!["db.example.org".into()];
    assert!(world.call("192.0.2.7:80").is_ok());
    assert!(world.call("192.0.2.7:81").is_err());
    assert!(is_egress_name(&world.store.snapshot(), "shop", "db.example.org"));
    assert!(!is_egress_name(&world.store.snapshot(), "shop", "other.example.org"));
}
