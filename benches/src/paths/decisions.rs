//! What is decided once for a connection, or a name.

use std::hint::black_box;
use std::net::SocketAddr;

use authz::{Action, Attributes, Clause, Match, Pattern, Policies, Policy, PolicyName, Rule, Scope};
use hbone::authority::Authority;
use identity::SpiffeId;
use mesh::Network;
use ztunnel::decision::{Call, Reach, Settings, TunnelledCall, inbound, outbound};
use ztunnel::dns::{self, ClientView, ClusterNames, Decision, PodResolver, Query, ResolvConf};

use crate::City;
use crate::city::{address, vip};

/// A pod calls a Service, another one each time.
pub(super) fn outbound_call(size: u32) -> Box<dyn FnMut()> {
    let city = City::of(size);
    let (source, snapshots) = (city.pod(0), city.store.snapshots());
    let mut turn: u32 = 0;
    Box::new(move || {
        turn = turn.wrapping_add(7919);
        let call = Call {
            source: &source,
            destination: SocketAddr::new(vip(turn % size.div_ceil(10)), 80),
            random: turn.into(),
            recall: &|_, _| None,
            names: &|_| Vec::new(),
            exclude: &[],
            exclude_gateways: &[],
        };
        let plan = outbound(&snapshots.load(), Settings { node_local: false }, &call);
        assert!(black_box(plan).is_ok());
    })
}

/// A pod is called through a tunnel.
pub(super) fn inbound_call(size: u32) -> Box<dyn FnMut()> {
    let city = City::of(size);
    let (local, snapshots) = (city.pod(0), city.store.snapshots());
    let peer: SpiffeId = "spiffe://cluster.local/ns/town/sa/default".parse().expect("it is an id");
    let authority = Authority::try_from(SocketAddr::new(address(0), 8080)).expect("it has a port");
    Box::new(move || {
        let call = TunnelledCall {
            local: &local,
            peer: &peer,
            source_ip: address(1),
            authority: &authority,
            local_ip: address(0),
            reach: Reach::Applications,
        };
        assert!(black_box(inbound(&snapshots.load(), &call)).is_ok());
    })
}

/// A connection of one of a hundred callers that policies are about, another one each time.
pub(super) fn policy() -> Box<dyn FnMut()> {
    let mut policies = Policies::default();
    for number in 0..100 {
        let caller = format!("cluster.local/ns/ns-{number}/sa/caller");
        let from = Match { principals: vec![Pattern::parse(&caller)], ..Match::default() };
        policies.insert(Policy {
            name: PolicyName::new("town", &format!("allow-{number}")),
            scope: Scope::Namespace,
            action: Action::Allow,
            dry_run: false,
            rules: vec![Rule::of([Clause::of([from])])],
        });
    }
    let set = policies.set("town", &[]);
    let caller = |number| format!("spiffe://cluster.local/ns/ns-{number}/sa/caller").parse();
    let callers: Vec<SpiffeId> = (0..100).map(caller).collect::<Result<_, _>>().expect("they are ids");
    let mut turns = (0..callers.len()).cycle();
    Box::new(move || {
        let attributes = Attributes {
            source: turns.next().map(|turn| &callers[turn]),
            class: None,
            source_ip: address(1),
            destination: SocketAddr::new(address(0), 8080),
        };
        assert!(black_box(set.evaluate(black_box(&attributes))).is_ok());
    })
}

/// A pod asks for the address of a Service.
pub(super) fn dns_answer(size: u32) -> Box<dyn FnMut()> {
    let city = City::of(size);
    let snapshots = city.store.snapshots();
    let cluster = ClusterNames { domain: "cluster.local".to_owned(), servers: Vec::new() };
    let resolver = PodResolver::default().view("town", &cluster, &ResolvConf::default());
    let network = Network::default();
    let name = ["\x09service-0", "\x04town", "\x03svc", "\x07cluster", "\x05local", "\0"].concat();
    let message = [&b"\0\x07\x01\0\0\x01\0\0\0\0\0\0"[..], name.as_bytes(), b"\0\x01\0\x01"].concat();
    Box::new(move || {
        let query = Query::parse(black_box(&message)).expect("it is a query");
        let client =
            ClientView { namespace: "town", network: &network, domain: "cluster.local", resolver: &resolver };
        let answer = dns::answer(&snapshots.load(), &client, query.question(), 1);
        let Decision::Answer(found) = answer else { panic!("the mesh knows the name") };
        assert!(!found.addresses.is_empty());
        black_box(dns::answered(&query, &found, 512)).expect("it can be written");
    })
}
