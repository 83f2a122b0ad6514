//! Look-ups, updates and their changes.

use std::net::IpAddr;

use crate::samples::{at, host_network, key, native, pod, service, services, uid, with_profile, workloads};
use mesh::{
    Capture, Change, HostNode, Locality, Network, NetworkAddress, ServiceKey, Store, Update, WorkloadKind,
};

#[test]
fn a_workload_is_found_by_uid_pod_uid_and_address() {
    let mut store = Store::new();
    let pod = pod("shop", "cart-1", "10.0.0.1");
    store.apply(workloads([pod.clone()]));
    let snapshot = store.snapshot();
    assert_eq!(**snapshot.workload(&pod.uid).unwrap(), pod);
    assert_eq!(**snapshot.workload_by_pod_uid(pod.pod_uid.as_ref().unwrap()).unwrap(), pod);
    assert_eq!(**snapshot.workload_by_address(&at("10.0.0.1")).unwrap(), pod);
}

#[test]
fn a_workload_in_its_nodes_network_is_not_found_by_address() {
    let mut store = Store::new();
    store.apply(workloads([host_network(pod("kube-system", "proxy", "192.0.2.1"))]));
    assert!(store.snapshot().workload_by_address(&at("192.0.2.1")).is_none());
}

#[test]
fn a_workload_in_its_nodes_network_is_found_at_the_ports_that_it_serves_itself() {
    let mut store = Store::new();
    let agent = native(pod("kube-system", "agent", "192.0.2.1"), 15020);
    store.apply(workloads([agent.clone()]));
    let snapshot = store.snapshot();
    assert_eq!(snapshot.workload_at(&at("192.0.2.1"), 15020).unwrap().uid, agent.uid);
    for (ip, port) in [("192.0.2.1", 15021), ("192.0.2.2", 15020)] {
        assert!(snapshot.workload_at(&at(ip), port).is_none(), "{ip}:{port}");
    }
    assert!(snapshot.workloads_by_address(&at("192.0.2.1")).is_empty(), "nobody else of the node is it");
    let west = NetworkAddress::new(Network::new("west"), "192.0.2.1".parse().unwrap());
    assert!(snapshot.workload_at(&west, 15020).is_none(), "that is another node");
    let cart = pod("shop", "cart", "10.0.0.1");
    store.apply(workloads([cart.clone()]));
    assert_eq!(store.snapshot().workload_at(&at("10.0.0.1"), 1).unwrap().uid, cart.uid);
    store.apply(Update { workloads: vec![Change::Remove(agent.uid)], ..Update::default() });
    assert!(store.snapshot().workload_at(&at("192.0.2.1"), 15020).is_none());
}

#[test]
fn of_two_in_their_nodes_network_on_one_port_it_is_the_one_that_stays_and_then_the_first() {
    let mut store = Store::new();
    let agent = |name: &str| native(pod("kube-system", name, "192.0.2.1"), 15020);
    let (mut one, two) = (agent("one"), agent("two"));
    let found = |store: &Store| store.snapshot().workload_at(&at("192.0.2.1"), 15020).unwrap().uid.clone();
    store.apply(workloads([two.clone(), one.clone()]));
    assert_eq!(found(&store), one.uid);
    one.terminating = true;
    store.apply(workloads([one.clone()]));
    assert_eq!(found(&store), two.uid);
    store.apply(Update { workloads: vec![Change::Remove(two.uid)], ..Update::default() });
    assert_eq!(found(&store), one.uid);
}

#[test]
fn an_address_goes_to_the_hbone_pod_then_to_a_pod_then_to_the_rest() {
    let mut store = Store::new();
    let entry = with_profile(pod("shop", "entry", "10.0.0.1"), |profile| profile.kind = WorkloadKind::Entry);
    let mut plain = pod("shop", "plain", "10.0.0.1");
    plain.capture = Capture::Off;
    let hbone = pod("shop", "hbone", "10.0.0.1");
    store.apply(workloads([entry.clone(), hbone.clone(), plain.clone()]));
    for (owner, next) in [(&hbone, "plain"), (&plain, "entry"), (&entry, "")] {
        let snapshot = store.snapshot();
        assert_eq!(snapshot.workload_by_address(&at("10.0.0.1")).unwrap().uid, owner.uid, "before {next}");
        store.apply(Update { workloads: vec![Change::Remove(owner.uid.clone())], ..Update::default() });
    }
    assert!(store.snapshot().workload_by_address(&at("10.0.0.1")).is_none());
}

#[test]
fn an_address_passes_to_a_successor_before_its_predecessor_is_gone() {
    let mut store = Store::new();
    let mut old = pod("shop", "a-old", "10.0.0.1");
    old.terminating = true;
    let new = pod("shop", "b-new", "10.0.0.1");
    store.apply(workloads([old, new.clone()]));
    assert_eq!(store.snapshot().workload_by_address(&at("10.0.0.1")).unwrap().uid, new.uid);
}

#[test]
fn a_snapshot_does_not_see_later_changes() {
    let mut store = Store::new();
    store.apply(workloads([pod("shop", "one", "10.0.0.1")]));
    let before = store.snapshot();
    store.apply(Update { workloads: vec![Change::Remove(uid("shop", "one"))], ..Update::default() });
    assert!(before.workload(&uid("shop", "one")).is_some());
    assert!(store.snapshot().workload(&uid("shop", "one")).is_none());
}

#[test]
fn a_replacement_removes_what_it_does_not_name() {
    let mut store = Store::new();
    store.apply(workloads([pod("shop", "stays", "10.0.0.1"), pod("shop", "goes", "10.0.0.2")]));
    store.apply(services([service("shop", "cart", &["10.1.0.1"])]));
    let mut update = workloads([pod("shop", "stays", "10.0.0.1")]);
    update.replace = true;
    let changes = store.apply(update);
    assert_eq!(changes.workloads, [uid("shop", "goes")]);
    assert_eq!(changes.services, [key("shop", "cart")]);
    assert!(store.snapshot().service_by_vip(&at("10.1.0.1"), "shop").is_none());
}

#[test]
fn what_is_as_before_is_not_reported() {
    let mut store = Store::new();
    let first = store.apply(workloads([pod("shop", "one", "10.0.0.1")]));
    let again = store.apply(workloads([pod("shop", "one", "10.0.0.1")]));
    assert_eq!(first.workloads, [uid("shop", "one")]);
    assert!(again.is_empty());
    assert_eq!(store.snapshot().generation(), 1);
}

#[test]
fn a_service_is_found_by_every_address_and_by_its_host_name() {
    let mut store = Store::new();
    store.apply(services([service("shop", "cart", &["10.1.0.1", "fd00::1"])]));
    let snapshot = store.snapshot();
    for address in ["10.1.0.1", "fd00::1"] {
        assert_eq!(snapshot.service_by_vip(&at(address), "any").unwrap().key, key("shop", "cart"));
    }
    let named = snapshot.service_by_hostname("cart.shop.svc.cluster.local", "any").unwrap();
    assert_eq!(named.key, key("shop", "cart"));
}

#[test]
fn an_address_that_several_services_have_means_the_clients_own_then_the_canonical_then_the_oldest() {
    let mut store = Store::new();
    let mut young = service("b", "young", &["10.1.0.1"]);
    young.created = 20;
    let mut old = service("a", "old", &["10.1.0.1"]);
    old.created = 10;
    let mut entry = service("c", "entry", &["10.1.0.1"]);
    (entry.created, entry.canonical) = (1, false);
    store.apply(services([young, entry, old]));
    let snapshot = store.snapshot();
    let found =
        |namespace: &str| snapshot.service_by_vip(&at("10.1.0.1"), namespace).unwrap().name.to_string();
    assert_eq!(found("b"), "young");
    assert_eq!(found("c"), "entry");
    assert_eq!(found("elsewhere"), "old");
}

#[test]
fn a_service_that_is_not_exported_to_a_namespace_is_not_found_from_there() {
    let mut store = Store::new();
    let mut hidden = service("a", "hidden", &["10.1.0.1"]);
    hidden.visible_to = Some(["a".into()].into());
    store.apply(services([hidden]));
    let snapshot = store.snapshot();
    assert!(snapshot.service_by_vip(&at("10.1.0.1"), "a").is_some());
    assert!(snapshot.service_by_vip(&at("10.1.0.1"), "b").is_none());
    assert!(snapshot.service_by_hostname("hidden.a.svc.cluster.local", "b").is_none());
}

#[test]
fn the_longest_range_that_the_client_sees_wins() {
    let mut store = Store::new();
    let ranged = |namespace: &str, name: &str, range: &str| {
        let mut service = service(namespace, name, &[]);
        service.ranges = [(mesh::Network::default(), range.parse().unwrap())].into();
        service
    };
    let mut narrow = ranged("a", "narrow", "10.2.3.0/24");
    narrow.visible_to = Some(["a".into()].into());
    store.apply(services([ranged("a", "wide", "10.2.0.0/16"), narrow, ranged("a", "six", "fd00::/64")]));
    let snapshot = store.snapshot();
    let found =
        |ip: &str, namespace: &str| snapshot.service_by_vip(&at(ip), namespace).map(|found| &*found.name);
    assert_eq!(found("10.2.3.4", "a"), Some("narrow"));
    assert_eq!(found("10.2.3.4", "b"), Some("wide"));
    assert_eq!(found("10.2.4.4", "a"), Some("wide"));
    assert_eq!(found("10.3.0.1", "a"), None);
    assert_eq!(found("fd00::7", "a"), Some("six"));

    store.apply(Update { services: vec![Change::Remove(key("a", "wide"))], ..Update::default() });
    assert!(store.snapshot().service_by_vip(&at("10.2.4.4"), "a").is_none());
}

#[test]
fn a_host_name_means_itself_before_any_wildcard_and_a_long_wildcard_before_a_short_one() {
    let mut store = Store::new();
    let named = |host: &str| {
        let mut service = service("a", host, &[]);
        service.key = ServiceKey { namespace: "a".into(), hostname: mesh::Hostname(host.into()) };
        service
    };
    store.apply(services([named("*.example.com"), named("*.api.example.com"), named("v1.api.example.com")]));
    let snapshot = store.snapshot();
    let found = |host: &str| snapshot.service_by_hostname(host, "a").map(|found| &*found.name);
    assert_eq!(found("v1.api.example.com"), Some("v1.api.example.com"));
    assert_eq!(found("v2.api.example.com"), Some("*.api.example.com"));
    assert_eq!(found("www.example.com"), Some("*.example.com"));
    assert_eq!(found("example.com"), None);
    let all: Vec<_> = snapshot.services_by_hostname("v1.api.example.com").map(|found| &*found.name).collect();
    assert_eq!(all, ["v1.api.example.com", "*.api.example.com", "*.example.com"]);
}

#[test]
fn a_node_is_found_by_its_addresses_even_when_one_passed_to_another_node() {
    let mut store = Store::new();
    let node = |name: &str| HostNode {
        name: name.into(),
        addresses: [IpAddr::from([192, 0, 2, 1])].into_iter().collect(),
        ..HostNode::default()
    };
    store.apply(Update { nodes: vec![Change::Upsert(node("one"))], ..Update::default() });
    store.apply(Update { nodes: vec![Change::Upsert(node("two"))], ..Update::default() });
    store.apply(Update { nodes: vec![Change::Remove("one".into())], ..Update::default() });
    assert_eq!(&*store.snapshot().node_by_address([192, 0, 2, 1].into()).unwrap().name, "two");
}

#[test]
fn a_change_names_the_addresses_that_came_to_be_a_nodes_and_those_that_are_no_longer() {
    let mut store = Store::new();
    let mut told = |zone: &str, last: &[u8]| {
        let addresses = last.iter().map(|last| IpAddr::from([192, 0, 2, *last])).collect();
        let locality = Locality { zone: zone.into(), ..Locality::default() };
        let node = HostNode { name: "one".into(), locality, addresses };
        let changes = store.apply(Update { nodes: vec![Change::Upsert(node)], ..Update::default() });
        let mut addresses: Vec<_> = changes.node_addresses.iter().map(ToString::to_string).collect();
        addresses.sort();
        (changes.nodes.len(), addresses.join(" "))
    };
    assert_eq!(told("a", &[1, 2]), (1, "192.0.2.1 192.0.2.2".to_owned()));
    assert_eq!(told("b", &[1, 2]), (1, String::new()), "it stands elsewhere, at the same addresses");
    assert_eq!(told("b", &[2, 3]), (1, "192.0.2.1 192.0.2.3".to_owned()));
}

#[tokio::test(flavor = "current_thread")]
async fn a_subscriber_hears_of_every_change_and_of_the_ones_that_it_missed() {
    let mut store = Store::new();
    let mut changes = store.subscribe();
    let sent = store.apply(workloads([pod("shop", "one", "10.0.0.1")]));
    assert_eq!(changes.next().await.unwrap().workloads, sent.workloads);

    for turn in 0..2000 {
        let mut changed = pod("shop", "one", "10.0.0.1");
        changed.weight = 2 + turn;
        store.apply(workloads([changed]));
    }
    let told = changes.next().await.unwrap();
    assert!(told.resync);
    assert_eq!(told.generation, 2001);
    drop(store);
    while let Some(change) = changes.next().await {
        assert!(!change.resync);
    }
}
