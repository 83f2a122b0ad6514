use std::sync::Arc;

use mesh::{DestinationHealth, EndpointTarget, Network, NetworkAddress, Service};

use super::samples::{World, at, behind, cluster, entry, pod, ready, service};
use crate::dns::{Answer, Decision, DnsPolicy, PodResolver, RecordKind, ResolvConf};

const FORWARDED: Decision = Decision::Forward { exists: false };

#[test]
fn a_service_is_found_by_each_of_its_names() {
    let world = World::of([service("shop", "web", &["10.96.0.1"]), service("front", "api", &["10.96.0.2"])]);
    for (name, ip) in [
        ("web", "10.96.0.1"),
        ("web.shop", "10.96.0.1"),
        ("web.shop.svc", "10.96.0.1"),
        ("web.shop.svc.cluster.local", "10.96.0.1"),
        ("api.front", "10.96.0.2"),
        ("api.front.svc", "10.96.0.2"),
        ("api.front.svc.cluster.local", "10.96.0.2"),
    ] {
        assert_eq!(world.v4(name), Some(vec![ip.to_owned()]), "{name}");
        assert_eq!(world.canonical(name), None, "{name}");
    }
}

#[test]
fn a_search_domain_that_the_client_appended_in_vain_is_answered_with_the_name_that_it_means() {
    let world = World::of([
        service("front", "api", &["10.96.0.2"]),
        entry("shop", "example.com", &["240.240.0.1"]),
        entry("shop", "*.example.org", &["240.240.0.2"]),
    ]);
    for (name, canonical) in [
        ("api.front.shop.svc.cluster.local", "api.front.svc.cluster.local"),
        ("api.front.svc.shop.svc.cluster.local", "api.front.svc.cluster.local"),
        ("api.front.svc.cluster.local.shop.svc.cluster.local", "api.front.svc.cluster.local"),
        ("api.front.svc.cluster.local.cluster.local", "api.front.svc.cluster.local"),
        ("example.com.shop.svc.cluster.local", "example.com"),
        ("example.com.svc.cluster.local", "example.com"),
        ("example.com.cluster.local", "example.com"),
        ("www.example.org.shop.svc.cluster.local", "www.example.org"),
    ] {
        assert_eq!(world.canonical(name).as_deref(), Some(canonical), "{name}");
    }
}

#[test]
fn names_of_the_cluster_that_the_mesh_does_not_know_are_the_clusters_to_answer() {
    let world = World::of([service("shop", "web", &["10.96.0.1"])]);
    for name in
        ["wub", "web.front", "wub.shop.svc.cluster.local", "x.web.shop.svc.cluster.local", "example.com"]
    {
        assert_eq!(world.ask(name, RecordKind::A), FORWARDED, "{name}");
    }
}

#[test]
fn nothing_is_said_before_the_mesh_is_known() {
    assert_eq!(World::new().ask("web", RecordKind::A), Decision::ServFail);
}

#[test]
fn each_question_is_answered_in_its_family() {
    let world = World::of([
        service("shop", "dual", &["10.96.0.1", "fd00::1"]),
        service("shop", "v4", &["10.96.0.2"]),
    ]);
    assert_eq!(world.ask("dual", RecordKind::A), addresses(&["10.96.0.1"]));
    assert_eq!(world.ask("dual", RecordKind::Aaaa), addresses(&["fd00::1"]));
    assert_eq!(world.ask("v4", RecordKind::Aaaa), addresses(&[]), "the name exists, without such addresses");
    assert_eq!(
        world.ask("v4.shop.shop.svc.cluster.local", RecordKind::Aaaa),
        addresses(&[]),
        "an alias of nothing is none"
    );
}

#[test]
fn other_records_are_for_others_to_give() {
    let world = World::of([service("shop", "web", &["10.96.0.1"])]);
    let srv = RecordKind::Other(33);
    assert_eq!(world.ask("web.shop.svc.cluster.local", srv), Decision::Forward { exists: true });
    assert_eq!(world.ask("wub.shop.svc.cluster.local", srv), FORWARDED);
    assert_eq!(
        world.ask("web.shop.shop.svc.cluster.local", srv),
        FORWARDED,
        "only the name that it means exists"
    );
}

#[test]
fn a_headless_service_is_its_ready_endpoints() {
    let (one, two) = (pod("nodes-0", &["10.0.0.1", "fd00::a"]), pod("nodes-1", &["10.0.0.2"]));
    let mut nodes = behind(service("shop", "nodes", &[]), &[&one, &two]);
    let mut endpoints = nodes.endpoints.to_vec();
    endpoints[2].ready = false;
    endpoints.push(ready(EndpointTarget::Address(at("192.0.2.7"))));
    nodes.endpoints = endpoints.into();
    let world = World::of([nodes.clone()]).with_pod(&one).with_pod(&two);
    assert_eq!(world.v4("nodes"), some(&["10.0.0.1", "192.0.2.7"]));
    assert_eq!(world.ask("nodes", RecordKind::Aaaa), addresses(&["fd00::a"]));

    nodes.load_balancing.health = DestinationHealth::All;
    let world = World::of([nodes]).with_pod(&one).with_pod(&two);
    assert_eq!(world.v4("nodes"), some(&["10.0.0.1", "10.0.0.2", "192.0.2.7"]));

    let world = World::of([service("shop", "nodes", &[])]);
    assert_eq!(world.v4("nodes"), some(&[]), "it exists, and nothing is there");
}

#[test]
fn a_pod_behind_a_service_has_a_name() {
    let (one, two) = (pod("nodes-0", &["10.0.0.1"]), pod("nodes-1", &["10.0.0.2"]));
    let mut nodes = behind(service("shop", "nodes", &[]), &[&one, &two]);
    let mut endpoints = nodes.endpoints.to_vec();
    endpoints[1].ready = false;
    nodes.endpoints = endpoints.into();
    let world = World::of([nodes]).with_pod(&one).with_pod(&two);
    for name in [
        "nodes-0.nodes.shop.svc.cluster.local",
        "nodes-0.nodes",
        "nodes-0.nodes.shop",
        "nodes-0.nodes.shop.svc",
    ] {
        assert_eq!(world.v4(name), some(&["10.0.0.1"]), "{name}");
    }
    assert_eq!(world.ask("nodes-1.nodes", RecordKind::A), FORWARDED, "it is not ready");
    assert_eq!(world.ask("nodes-2.nodes", RecordKind::A), FORWARDED, "there is none");
    assert_eq!(world.ask("nodes-0.nodes.front", RecordKind::A), FORWARDED, "not in that namespace");
}

#[test]
fn a_service_entry_without_addresses_is_for_others_to_answer() {
    let mut outside = entry("shop", "example.com", &[]);
    outside.endpoints = [ready(EndpointTarget::Address(at("192.0.2.7")))].into();
    let world = World::of([outside, entry("shop", "*.example.com", &[])]);
    assert_eq!(world.ask("example.com", RecordKind::A), FORWARDED);
    assert_eq!(world.ask("www.example.com", RecordKind::A), FORWARDED);
}

#[test]
fn the_most_specific_wildcard_wins_and_a_name_wins_over_any() {
    let world = World::of([
        entry("shop", "*.com", &["240.240.0.1"]),
        entry("shop", "*.example.com", &["240.240.0.2"]),
        entry("shop", "www.example.com", &["240.240.0.3"]),
    ]);
    for (name, want) in [
        ("www.example.com", some(&["240.240.0.3"])),
        ("api.example.com", some(&["240.240.0.2"])),
        ("a.b.example.com", some(&["240.240.0.2"])),
        ("example.com", some(&["240.240.0.1"])),
        ("example.org", None),
        ("com", None),
    ] {
        assert_eq!(world.v4(name), want, "{name}");
    }
}

#[test]
fn a_pods_name_wins_over_a_wildcard() {
    let one = pod("nodes-0", &["10.0.0.1"]);
    let nodes = behind(service("shop", "nodes", &[]), &[&one]);
    let wildcard = entry("shop", "*.nodes.shop.svc.cluster.local", &["240.240.0.1"]);
    let world = World::of([nodes, wildcard]).with_pod(&one);
    assert_eq!(world.v4("nodes-0.nodes.shop.svc.cluster.local"), some(&["10.0.0.1"]));
    assert_eq!(world.v4("nodes-9.nodes.shop.svc.cluster.local"), some(&["240.240.0.1"]));
}

#[test]
fn what_is_exported_to_other_namespaces_only_is_not_seen() {
    let seen = |namespaces: &[&str]| Service {
        visible_to: Some(namespaces.iter().map(|it| Arc::from(*it)).collect()),
        ..entry("front", "example.com", &["240.240.0.1"])
    };
    assert_eq!(World::of([seen(&["front"])]).ask("example.com", RecordKind::A), FORWARDED);
    assert_eq!(World::of([seen(&["front", "shop"])]).v4("example.com"), some(&["240.240.0.1"]));
}

#[test]
fn the_clients_own_namespace_comes_first() {
    let world = World::of([
        Service { created: -1, ..entry("front", "example.com", &["240.240.0.1"]) },
        entry("shop", "example.com", &["240.240.0.2"]),
    ]);
    assert_eq!(world.v4("example.com"), some(&["240.240.0.2"]));
    assert_eq!(World { namespace: "back", ..world }.v4("example.com"), some(&["240.240.0.1"]));
}

#[test]
fn addresses_of_other_networks_are_not_given() {
    let far = NetworkAddress::new(Network::new("far"), "10.96.0.1".parse().unwrap());
    let web = Service { addresses: [far].into_iter().collect(), ..service("shop", "web", &[]) };
    let world = World::of([web]);
    assert_eq!(world.ask("web", RecordKind::A), FORWARDED);
    assert_eq!(World { network: Network::new("far"), ..world }.v4("web"), some(&["10.96.0.1"]));
}

#[test]
fn a_pod_with_another_search_list_means_other_names() {
    let mut world = World::of([service("shop", "web", &["10.96.0.1"])]);
    let pod = PodResolver {
        policy: DnsPolicy::None,
        searches: vec!["svc.cluster.local".to_owned()],
        ndots: Some(2),
        ..PodResolver::default()
    };
    world.resolver = pod.view("shop", &cluster(), &ResolvConf::default());
    assert_eq!(world.ask("web", RecordKind::A), FORWARDED);
    assert_eq!(world.v4("web.shop"), some(&["10.96.0.1"]));
    assert_eq!(world.ask("web.shop.svc", RecordKind::A), FORWARDED, "two dots are enough for it");
    assert_eq!(world.v4("web.shop.svc.cluster.local"), some(&["10.96.0.1"]));
    assert_eq!(world.ask("web.shop.shop.svc.cluster.local", RecordKind::A), FORWARDED);
}

#[test]
fn equal_bits_give_equal_orders_and_others_give_others() {
    let ips: Vec<_> = (1..=20).map(|host| format!("10.96.0.{host}")).collect();
    let ips: Vec<_> = ips.iter().map(String::as_str).collect();
    let world = World::of([service("shop", "web", &ips)]);
    assert_eq!(world.ask("web", RecordKind::A), world.ask("web", RecordKind::A));
    assert_ne!(world.ask("web", RecordKind::A), addresses(&ips));
    assert_eq!(world.v4("web").unwrap().len(), 20);
}

fn addresses(ips: &[&str]) -> Decision {
    let addresses = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    Decision::Answer(Answer { canonical: None, addresses })
}

#[expect(clippy::unnecessary_wraps, reason = "what it is compared with is an option")]
fn some(ips: &[&str]) -> Option<Vec<String>> {
    Some(ips.iter().map(|ip| (*ip).to_owned()).collect())
}
