//! Which endpoint a connection goes to.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh::{
    Affinity, Change, Chosen, DestinationHealth, Endpoint, EndpointTarget, Family, LoadBalancing, Network,
    NoEndpoint, Place, Remembered, Request, Scope, Service, Store, TrafficPolicy, Update, Workload, select,
};

use crate::samples::{at, endpoint, key, on, pod, service, uid, with_profile, workloads};

#[test]
fn an_endpoint_that_is_not_ready_gets_nothing_while_another_is() {
    let mesh = Mesh::of(["10.0.0.1", "10.0.0.2"]).with(|endpoints| endpoints[0].ready = false);
    assert_eq!(mesh.spread(), [("10.0.0.2", 1000)].into());
}

#[test]
fn endpoints_that_terminate_but_serve_stand_in_when_none_is_ready() {
    let mesh = Mesh::of(["10.0.0.1", "10.0.0.2"]).with(|endpoints| {
        (endpoints[0].ready, endpoints[0].terminating) = (false, true);
        (endpoints[1].ready, endpoints[1].serving, endpoints[1].terminating) = (false, false, true);
    });
    assert_eq!(mesh.spread(), [("10.0.0.1", 1000)].into());
}

#[test]
fn a_service_none_of_whose_endpoints_is_ready_has_none() {
    let mesh = Mesh::of(["10.0.0.1", "10.0.0.2"])
        .with(|endpoints| endpoints.iter_mut().for_each(|it| (it.ready, it.serving) = (false, false)));
    assert_eq!(mesh.select(|_| {}), Err(NoEndpoint::NotReady { endpoints: 2 }));
}

#[test]
fn a_service_that_publishes_unready_endpoints_uses_them_all() {
    let mesh = Mesh::of(["10.0.0.1", "10.0.0.2"])
        .with(|endpoints| (endpoints[0].ready, endpoints[0].serving) = (false, false))
        .balanced(|balancing| balancing.health = DestinationHealth::All);
    assert_eq!(mesh.spread().len(), 2);
}

#[test]
fn equal_endpoints_get_equal_shares() {
    let mesh = Mesh::of(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    let spread = mesh.spread();
    assert!(spread.values().all(|share| (200..300).contains(share)), "{spread:?}");
}

#[test]
fn endpoints_get_shares_by_weight_and_none_without() {
    let mut mesh = Mesh::of(["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    mesh.reweigh([3, 1, 0]);
    let spread = mesh.spread();
    assert_eq!(spread.len(), 2);
    assert!((700..800).contains(&spread["10.0.0.1"]), "{spread:?}");
}

#[test]
fn a_changed_weight_counts_at_once() {
    let mut mesh = Mesh::of(["10.0.0.1", "10.0.0.2"]);
    assert_eq!(mesh.spread().len(), 2);
    mesh.reweigh([0, 1]);
    assert_eq!(mesh.spread(), [("10.0.0.2", 1000)].into());
    mesh.reweigh([1, 1]);
    assert_eq!(mesh.spread().len(), 2);
}

#[test]
fn each_endpoint_has_its_own_port_for_a_named_one() {
    let mesh = Mesh::of(["10.0.0.1", "10.0.0.2"]).with(|endpoints| endpoints[1].ports = [(80, 9090)].into());
    for random in 0..100 {
        let chosen = mesh.select(|request| request.random = random).unwrap();
        assert_eq!(chosen.port, if ip(&chosen) == "10.0.0.1" { 8080 } else { 9090 });
    }
}

#[test]
fn an_endpoint_that_does_not_serve_the_port_is_left_out() {
    let mesh = Mesh::of(["10.0.0.1", "10.0.0.2"]).with(|endpoints| endpoints[0].ports = [(81, 8081)].into());
    assert_eq!(mesh.spread(), [("10.0.0.2", 1000)].into());
    let none = Mesh::of(["10.0.0.1"]).with(|endpoints| endpoints[0].ports = [].into());
    assert_eq!(none.select(|_| {}), Err(NoEndpoint::NotServed { port: 80 }));
    assert_eq!(mesh.select(|request| request.port = 81), Err(NoEndpoint::UnknownPort { port: 81 }));
}

#[test]
fn an_address_of_one_family_leads_to_endpoints_of_that_family() {
    let mesh = Mesh::of(["10.0.0.1", "fd00::1"]);
    for (family, wanted) in [(Family::V4, "10.0.0.1"), (Family::V6, "fd00::1")] {
        for random in 0..20 {
            let chosen = mesh.select(|request| (request.family, request.random) = (Some(family), random));
            assert_eq!(ip(&chosen.unwrap()), wanted);
        }
    }
}

#[test]
fn a_service_without_endpoints_of_the_dialled_family_has_none_but_a_service_entry_uses_the_other() {
    let mut mesh = Mesh::of(["10.0.0.1"]);
    assert_eq!(mesh.select(|request| request.family = Some(Family::V6)), Err(NoEndpoint::Family));
    mesh.service.canonical = false;
    mesh.publish();
    assert!(mesh.select(|request| request.family = Some(Family::V6)).is_ok());
}

#[test]
fn the_nearest_endpoints_win_and_farther_ones_serve_when_none_is_left() {
    let mesh =
        Mesh::placed([("10.0.0.1", "n1", "east"), ("10.0.0.2", "n2", "east"), ("10.0.0.3", "n3", "west")])
            .balanced(|balancing| {
                balancing.policy = TrafficPolicy::Failover;
                balancing.preference = [Scope::Network, Scope::Zone, Scope::Node].into();
            });
    assert_eq!(mesh.spread_from("n2", "east"), [("10.0.0.2", 1000)].into());
    assert_eq!(mesh.spread_from("n9", "east").len(), 2);
    assert_eq!(mesh.spread_from("n9", "north").len(), 3);
    assert_eq!(mesh.spread_from("", "west"), [("10.0.0.3", 1000)].into());
    let excluded = [mesh.target("10.0.0.3")];
    assert_ne!(
        ip(&mesh.select_from("n3", "west", |request| request.exclude = &excluded).unwrap()),
        "10.0.0.3"
    );
}

#[test]
fn a_ready_endpoint_far_away_beats_a_terminating_one_nearby() {
    let mesh = Mesh::placed([("10.0.0.1", "n1", "east"), ("10.0.0.2", "n2", "west")])
        .with(|endpoints| (endpoints[0].ready, endpoints[0].terminating) = (false, true))
        .balanced(|balancing| {
            balancing.policy = TrafficPolicy::Failover;
            balancing.preference = [Scope::Zone].into();
        });
    assert_eq!(mesh.spread_from("n1", "east"), [("10.0.0.2", 1000)].into());
}

#[test]
fn traffic_that_is_bound_to_the_node_never_leaves_it() {
    let mesh = Mesh::placed([("10.0.0.1", "n1", ""), ("10.0.0.2", "n2", "")]).balanced(bound_to_node);
    assert_eq!(mesh.spread_from("n1", ""), [("10.0.0.1", 1000)].into());
    assert_eq!(mesh.select_from("n3", "", |_| {}), Err(NoEndpoint::NoneNear));
    assert_eq!(mesh.select_from("", "", |_| {}), Err(NoEndpoint::NoneNear));
}

#[test]
fn nodes_without_a_name_are_not_one_node() {
    let mesh = Mesh::placed([("10.0.0.1", "", "")]).balanced(bound_to_node);
    assert_eq!(mesh.select_from("", "", |_| {}), Err(NoEndpoint::NoneNear));
}

#[test]
fn an_endpoint_that_moves_is_near_where_it_is_now() {
    let mut mesh = Mesh::placed([("10.0.0.1", "n1", "")]).balanced(bound_to_node);
    assert!(mesh.select_from("n2", "", |_| {}).is_err());
    mesh.pods[0] = on(mesh.pods[0].clone(), "n2", "");
    mesh.store.apply(workloads(mesh.pods.clone()));
    assert!(mesh.select_from("n2", "", |_| {}).is_ok());
}

#[test]
fn an_endpoint_that_was_tried_is_not_chosen_again() {
    let mesh = Mesh::of(["10.0.0.1", "10.0.0.2"]);
    let tried = [mesh.target("10.0.0.1")];
    for random in 0..100 {
        let chosen = mesh.select(|request| (request.exclude, request.random) = (&tried, random));
        assert_eq!(ip(&chosen.unwrap()), "10.0.0.2");
    }
    let all = [mesh.target("10.0.0.1"), mesh.target("10.0.0.2")];
    assert_eq!(mesh.select(|request| request.exclude = &all), Err(NoEndpoint::AllTried { tried: 2 }));
}

#[test]
fn when_all_ready_endpoints_were_tried_one_that_terminates_serves() {
    let mesh = Mesh::of(["10.0.0.1", "10.0.0.2"])
        .with(|endpoints| (endpoints[1].ready, endpoints[1].terminating) = (false, true));
    let tried = [mesh.target("10.0.0.1")];
    assert_eq!(ip(&mesh.select(|request| request.exclude = &tried).unwrap()), "10.0.0.2");
}

#[test]
fn a_client_keeps_its_endpoint_while_that_is_ready_and_can_be_dialled() {
    let mut mesh = Mesh::of(["10.0.0.1", "10.0.0.2", "10.0.0.3"]).balanced(sticky);
    let first = mesh.select(|_| {}).unwrap();
    assert_eq!(first.remember, Some(Duration::from_secs(60)));
    let again = |mesh: &Mesh, random| {
        let chosen =
            mesh.select(|request| (request.remembered, request.random) = (Some(&first.endpoint), random));
        chosen.unwrap()
    };
    assert!((0..100).all(|random| again(&mesh, random) == first));

    // Found again where it is now.
    let mut endpoints = mesh.service.endpoints.to_vec();
    endpoints.rotate_left(1);
    mesh.service.endpoints = endpoints.into();
    mesh.publish();
    assert!((0..100).all(|random| again(&mesh, random).endpoint.target == first.endpoint.target));

    let tried = [first.endpoint.target.clone()];
    let chosen =
        mesh.select(|request| (request.remembered, request.exclude) = (Some(&first.endpoint), &tried));
    assert_ne!(chosen.unwrap().endpoint.target, first.endpoint.target);
    let gone = mesh.with(|endpoints| {
        endpoints.iter_mut().filter(|it| it.target == first.endpoint.target).for_each(|it| it.ready = false);
    });
    assert_ne!(again(&gone, 0).endpoint.target, first.endpoint.target);
}

#[test]
fn a_service_without_affinity_remembers_nothing() {
    let mesh = Mesh::of(["10.0.0.1", "10.0.0.2"]);
    let remembered = Remembered { target: mesh.target("10.0.0.1"), index: 0 };
    let chosen: Vec<_> = (0..100)
        .map(|random| {
            mesh.select(|request| (request.remembered, request.random) = (Some(&remembered), random)).unwrap()
        })
        .collect();
    assert!(chosen.iter().any(|chosen| ip(chosen) == "10.0.0.2"));
    assert!(chosen.iter().all(|chosen| chosen.remember.is_none()));
}

#[test]
fn an_endpoint_whose_workload_is_not_known_is_not_dialled() {
    let mut mesh = Mesh::of(["10.0.0.1"]);
    mesh.store
        .apply(Update { workloads: vec![Change::Remove(mesh.pods[0].uid.clone())], ..Update::default() });
    let workload = mesh.pods[0].uid.clone();
    assert_eq!(mesh.select(|_| {}), Err(NoEndpoint::UnknownWorkload { workload }));
    mesh.store.apply(workloads(mesh.pods.clone()));
    assert!(mesh.select(|_| {}).is_ok());
}

#[test]
fn an_endpoint_may_be_an_address_or_a_name() {
    let mut named = with_profile(pod("shop", "named", "192.0.2.9"), |_| {});
    (named.addresses, named.hostname) = (Default::default(), Some("db.example.com".into()));
    let mut mesh = Mesh::of([]);
    // Its address is one of another network's, of whatever family.
    let far = with_profile(pod("shop", "far", "10.0.0.1"), |it| it.network = Network::new("west"));
    mesh.store.apply(workloads([named.clone(), far.clone()]));
    for (target, place) in [
        (EndpointTarget::Address(at("192.0.2.1")), Place::Address(at("192.0.2.1"))),
        (EndpointTarget::Hostname(named.uid), Place::Name("db.example.com".into())),
        (EndpointTarget::Remote(far.uid), Place::Network(Network::new("west"))),
    ] {
        mesh.service.endpoints = [Endpoint { target, ..endpoint(&pod("shop", "any", "10.0.0.1")) }].into();
        mesh.publish();
        assert_eq!(
            mesh.select(|request| request.family = Some(Family::V6)).map(|it| it.place).ok(),
            match place {
                Place::Address(_) => None,
                Place::Name(_) | Place::Network(_) => Some(place.clone()),
            }
        );
        assert_eq!(mesh.select(|_| {}).unwrap().place, place);
    }
}

#[test]
fn a_service_that_is_not_known_has_no_endpoint() {
    let mut mesh = Mesh::of(["10.0.0.1"]);
    mesh.service.key = key("shop", "other");
    assert_eq!(mesh.select(|_| {}), Err(NoEndpoint::UnknownService { service: key("shop", "other") }));
}

#[test]
fn a_service_without_endpoints_has_none() {
    assert_eq!(Mesh::of([]).select(|_| {}), Err(NoEndpoint::NoneAtAll));
}

/// A mesh with one service and its pods.
struct Mesh {
    store: Store,
    service: Service,
    pods: Vec<Workload>,
}

/// A request, but for its client.
struct Asked<'a> {
    port: u16,
    family: Option<Family>,
    random: u64,
    remembered: Option<&'a Remembered>,
    exclude: &'a [EndpointTarget],
}

impl Mesh {
    fn of<const N: usize>(ips: [&str; N]) -> Self {
        Self::placed(ips.map(|ip| (ip, "", "")))
    }

    fn placed<const N: usize>(places: [(&str, &str, &str); N]) -> Self {
        let pods: Vec<_> = places
            .iter()
            .map(|(ip, node, zone)| {
                let mut pod = on(pod("shop", ip, ip), node, zone);
                pod.services = [key("shop", "cart")].into();
                pod
            })
            .collect();
        let mut service = service("shop", "cart", &["10.1.0.1"]);
        service.endpoints = pods.iter().map(endpoint).collect();
        let mut mesh = Self { store: Store::new(), service, pods };
        mesh.store.apply(workloads(mesh.pods.clone()));
        mesh.publish();
        mesh
    }

    fn with(mut self, change: impl FnOnce(&mut [Endpoint])) -> Self {
        let mut endpoints = self.service.endpoints.to_vec();
        change(&mut endpoints);
        self.service.endpoints = endpoints.into();
        self.publish();
        self
    }

    fn balanced(mut self, change: impl FnOnce(&mut LoadBalancing)) -> Self {
        change(&mut self.service.load_balancing);
        self.publish();
        self
    }

    fn reweigh<const N: usize>(&mut self, weights: [u32; N]) {
        for (pod, weight) in self.pods.iter_mut().zip(weights) {
            pod.weight = weight;
        }
        self.store.apply(workloads(self.pods.clone()));
    }

    fn publish(&mut self) {
        self.store.apply(crate::samples::services([self.service.clone()]));
    }

    fn target(&self, ip: &str) -> EndpointTarget {
        EndpointTarget::Workload(uid("shop", ip), ip.parse().unwrap())
    }

    fn select<'a>(&self, change: impl FnOnce(&mut Asked<'a>)) -> Result<Chosen, NoEndpoint> {
        self.select_from("", "", change)
    }

    fn select_from<'a>(
        &self,
        node: &str,
        zone: &str,
        change: impl FnOnce(&mut Asked<'a>),
    ) -> Result<Chosen, NoEndpoint> {
        let client = on(pod("shop", "client", "10.9.0.1"), node, zone);
        let mut asked = Asked { port: 80, family: None, random: 7, remembered: None, exclude: &[] };
        change(&mut asked);
        let Asked { port, family, random, remembered, exclude } = asked;
        let request =
            Request { port, family, client: &client, random, remembered, exclude, out_of_reach: &[] };
        select(&self.store.snapshot(), &self.service.key, &request)
    }

    /// How often each endpoint is chosen out of a thousand times.
    fn spread(&self) -> BTreeMap<&str, usize> {
        self.spread_from("", "")
    }

    fn spread_from(&self, node: &str, zone: &str) -> BTreeMap<&str, usize> {
        let mut spread = BTreeMap::new();
        for random in 0..1000 {
            let chosen = self.select_from(node, zone, |request| request.random = random).unwrap();
            let ip = ip(&chosen);
            let pod = self.pods.iter().find(|pod| *pod.name == *ip).unwrap();
            *spread.entry(&*pod.name).or_default() += 1;
        }
        spread
    }
}

fn ip(chosen: &Chosen) -> String {
    match &chosen.place {
        Place::Address(address) => address.ip.to_string(),
        Place::Name(name) => name.to_string(),
        Place::Network(network) => format!("on {}", network.as_str()),
    }
}

fn bound_to_node(balancing: &mut LoadBalancing) {
    balancing.policy = TrafficPolicy::Strict;
    balancing.preference = [Scope::Node].into();
}

fn sticky(balancing: &mut LoadBalancing) {
    balancing.affinity = Affinity::ClientIp(Duration::from_secs(60));
}
