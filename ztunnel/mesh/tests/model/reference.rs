//! Selection against a plain reading of its rules.

use std::collections::BTreeSet;

use mesh::{
    Endpoint, EndpointTarget, Family, Place, Request, Scope, Service, Store, TrafficPolicy, Workload, select,
};
use proptest::prelude::*;

use crate::samples::{endpoint, key, on, pod, service, services, workloads};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_chosen_is_what_the_rules_allow(
        pods in prop::collection::vec(a_pod(), 0..8),
        policy in prop_oneof![
            Just(TrafficPolicy::Standard), Just(TrafficPolicy::Failover), Just(TrafficPolicy::Strict),
        ],
        preference in prop::collection::vec(prop_oneof![Just(Scope::Zone), Just(Scope::Node)], 0..3),
        place in a_place(),
        family in prop::option::of(prop_oneof![Just(Family::V4), Just(Family::V6)]),
        excluded in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        canonical in any::<bool>(),
    ) {
        let mut cart = service("shop", "cart", &["10.1.0.1"]);
        cart.canonical = canonical;
        cart.load_balancing.policy = policy;
        cart.load_balancing.preference = preference.into();
        let (pods, endpoints) = build(&pods);
        cart.endpoints = endpoints.into();
        let client = on(pod("shop", "client", "10.9.0.1"), place.0, place.1);
        let exclude: Vec<EndpointTarget> = match cart.endpoints.len() {
            0 => Vec::new(),
            count => excluded.iter().map(|at| cart.endpoints[at.index(count)].target.clone()).collect(),
        };
        let mut store = Store::new();
        store.apply(workloads(pods.clone()));
        store.apply(services([cart.clone()]));

        let request = Request { port: 80, family, client: &client, random: 0, remembered: None, exclude: &exclude, out_of_reach: &[] };
        let allowed = allowed(&cart, &pods, &request);
        let chosen: BTreeSet<String> = (0..200)
            .filter_map(|random| select(&store.snapshot(), &cart.key, &Request { random, ..request }).ok())
            .map(|chosen| match chosen.place {
                Place::Address(address) => address.ip.to_string(),
                Place::Name(name) => name.to_string(),
                Place::Network(network) => unreachable!("nobody is on {network:?}"),
            })
            .collect();
        prop_assert_eq!(chosen, allowed);
    }
}

/// Who may be chosen, by looking at everything.
fn allowed(service: &Service, pods: &[Workload], request: &Request<'_>) -> BTreeSet<String> {
    let families = match request.family {
        // Without a preference of the client's IPv4 comes first.
        None => vec![Family::V4, Family::V6],
        Some(family) if service.canonical => vec![family],
        Some(Family::V4) => vec![Family::V4, Family::V6],
        Some(Family::V6) => vec![Family::V6, Family::V4],
    };
    let ready = |endpoint: &Endpoint| endpoint.ready;
    let lingering = |endpoint: &Endpoint| !endpoint.ready && endpoint.serving && endpoint.terminating;
    let longest = service.load_balancing.preference.len();
    let matches = match service.load_balancing.policy {
        TrafficPolicy::Standard => vec![0],
        TrafficPolicy::Failover => (0..=longest).rev().collect(),
        TrafficPolicy::Strict => vec![longest],
    };
    for fit in [&ready as &dyn Fn(&Endpoint) -> bool, &lingering] {
        for family in &families {
            for least in &matches {
                let found: BTreeSet<String> = service
                    .endpoints
                    .iter()
                    .filter(|it| fit(it) && it.target.family() == Some(*family))
                    .filter(|it| it.port_for(80).is_some() && !request.exclude.contains(&it.target))
                    .filter_map(|it| pods.iter().find(|pod| Some(&pod.uid) == it.target.workload()))
                    .filter(|pod| pod.weight > 0 && alike(service, pod, request.client) >= *least)
                    .map(|pod| pod.addresses[0].to_string())
                    .collect();
                if !found.is_empty() {
                    return found;
                }
            }
        }
    }
    BTreeSet::new()
}

/// How many scopes agree, one after the other.
fn alike(service: &Service, pod: &Workload, client: &Workload) -> usize {
    let agrees = |scope: &&Scope| match scope {
        Scope::Node => !pod.node.name.is_empty() && pod.node.name == client.node.name,
        _ => pod.node.locality.zone == client.node.locality.zone,
    };
    service.load_balancing.preference.iter().take_while(agrees).count()
}

/// Place, weight, conditions, IPv6, serves the port, known.
type Sample = ((&'static str, &'static str), u32, (bool, bool, bool), bool, bool, bool);

fn a_pod() -> impl Strategy<Value = Sample> {
    let conditions = any::<(bool, bool, bool)>();
    (a_place(), 0_u32..3, conditions, any::<bool>(), prop::bool::weighted(0.8), prop::bool::weighted(0.9))
}

fn a_place() -> impl Strategy<Value = (&'static str, &'static str)> {
    (prop::sample::select(vec!["", "n1", "n2"]), prop::sample::select(vec!["", "east", "west"]))
}

fn build(samples: &[Sample]) -> (Vec<Workload>, Vec<Endpoint>) {
    let (mut pods, mut endpoints) = (Vec::new(), Vec::new());
    for (index, ((node, zone), weight, conditions, six, serves, known)) in samples.iter().enumerate() {
        let ip = if *six { format!("fd00::{}", index + 1) } else { format!("10.0.0.{}", index + 1) };
        let mut pod = on(pod("shop", &format!("cart-{index}"), &ip), node, zone);
        (pod.weight, pod.services) = (*weight, [key("shop", "cart")].into());
        let mut endpoint = endpoint(&pod);
        (endpoint.ready, endpoint.serving, endpoint.terminating) = *conditions;
        if !serves {
            endpoint.ports = [(81, 8081)].into();
        }
        endpoints.push(endpoint);
        if *known {
            pods.push(pod);
        }
    }
    (pods, endpoints)
}
