//! What let a connection in is asked again when it changes, and only what decided is.

use authz::{Action, Match, Pattern, SourceClass};
use mesh::{Change, IngressRule, NetworkPeer, NetworkPolicy, NetworkPort, Update, Workload};

use super::samples::{World, at, deny, pod, strict, with_profile};
use crate::decision::{Admission, InboundError, class_by_address, inbound_plaintext, node_local};

#[test]
fn a_policy_that_comes_changes_or_goes_is_noticed() {
    let mut world = World::new();
    let mut admission = plain(&world, "10.9.0.1");
    assert!(again(&world, &mut admission).is_ok());

    world.govern(strict());
    assert!(matches!(again(&world, &mut admission), Err(InboundError::Denied(_))));
    let other_port = Match { destination_ports: vec![81], ..Match::default() };
    world.govern(deny("strict", other_port));
    assert!(again(&world, &mut admission).is_ok());
    let mut allow = deny("strict", Match { destination_ports: vec![81], ..Match::default() });
    allow.action = Action::Allow;
    world.govern(allow.clone());
    assert!(matches!(again(&world, &mut admission), Err(InboundError::Denied(_))));
    world.ungovern(&allow.name);
    assert!(again(&world, &mut admission).is_ok());
}

#[test]
fn a_selector_that_newly_matches_is_noticed() {
    let mut world = World::new();
    let mut selecting = strict();
    selecting.scope = authz::Scope::WorkloadSelector;
    world.govern(selecting);
    let mut admission = plain(&world, "10.9.0.1");
    assert!(again(&world, &mut admission).is_ok());
    relabel(&mut world, &["shop/strict"]);
    assert!(matches!(again(&world, &mut admission), Err(InboundError::Denied(_))));
    relabel(&mut world, &[]);
    assert!(again(&world, &mut admission).is_ok());
    relabel(&mut world, &["shop/unheard-of"]);
    assert!(again(&world, &mut admission).is_err(), "nobody knows what it says");
}

#[test]
fn who_is_judged_is_who_opened_the_connection() {
    let mut world = World::new();
    let friend = "spiffe://cluster.local/ns/shop/sa/friend".parse().unwrap();
    let snapshot = world.store.snapshot();
    let at = ("10.9.0.1".parse().unwrap(), "10.0.0.1:80".parse().unwrap());
    let mut admission = node_local(&snapshot, &world.client, &friend, at.0, at.1).unwrap().admission;
    world.govern(strict());
    assert!(again(&world, &mut admission).is_ok());
    let principals = vec![Pattern::parse("cluster.local/ns/shop/sa/friend")];
    world.govern(deny("wall", Match { principals, ..Match::default() }));
    assert!(again(&world, &mut admission).is_err());
}

#[test]
fn who_comes_from_a_nodes_address_is_known_by_the_reserved_name_only() {
    let mut world = World::new();
    world.node("there", "172.18.0.3");
    let mut allow = deny("nodes", principal("ambient.mesh/node"));
    allow.action = Action::Allow;
    world.govern(allow);
    let mut admission = plain(&world, "172.18.0.3");
    assert_eq!(admission.class, Some(SourceClass::Node));
    assert!(try_plain(&world, "172.18.0.4", false).is_err());

    world.node("there", "172.18.0.9");
    assert!(again(&world, &mut admission).is_err(), "the address is no node's any more");
    world.node("there", "172.18.0.3");
    assert!(again(&world, &mut admission).is_ok());
    world.govern(strict());
    assert!(again(&world, &mut admission).is_err(), "it has no identity");
}

#[test]
fn a_probe_passes_what_keeps_others_out_unless_a_policy_means_probes() {
    let mut world = World::new();
    world.govern(strict());
    assert!(try_plain(&world, "10.9.0.1", false).is_err());
    let mut probe = try_plain(&world, "10.9.0.1", true).unwrap();
    assert_eq!(probe.class, Some(SourceClass::Probe));
    world.govern(deny("no-probes", principal("ambient.mesh/probe")));
    assert!(again(&world, &mut probe).is_err());
    assert!(try_plain(&world, "10.9.0.1", true).is_err());
    world.ungovern(&strict().name);
    assert!(
        try_plain(&world, "10.9.0.1", true).is_err(),
        "it is found to be one although all else may come in"
    );
    assert!(try_plain(&world, "10.9.0.1", false).is_ok());
}

#[test]
fn a_dry_run_would_refuse_others_and_no_probe() {
    let mut world = World::new();
    let mut allow = deny("try", principal("cluster.local/ns/shop/sa/friend"));
    (allow.action, allow.dry_run) = (Action::Allow, true);
    world.govern(allow);
    let refused = |is_probe| {
        let admission = try_plain(&world, "10.9.0.1", is_probe).unwrap();
        admission.policies.observe(&admission.attributes()).dry_run.is_some()
    };
    assert!(refused(false));
    assert!(!refused(true));
}

#[test]
fn network_policies_judge_the_port_behind_the_tunnel_and_are_asked_again() {
    let mut world = World::new();
    let peer = pod("shop", "friend", "10.9.0.1", "there");
    world.put(with_profile(peer.clone(), |it| it.network_membership.groups = ["g".into()].into()));
    let guard = |first| NetworkPolicy {
        key: "shop/guard".into(),
        ingress: vec![IngressRule {
            from: Some(vec![NetworkPeer::Group("g".into())]),
            ports: Some(vec![NetworkPort::Range(first, 90)]),
        }],
    };
    world.guard(guard(80));
    let guarded = with_profile(world.client.clone(), |it| {
        it.network_membership.isolated_by = ["shop/guard".into()].into();
    });
    world.client = guarded.clone();
    world.put(guarded);

    let mut admission = plain(&world, "10.9.0.1");
    assert_eq!(admission.peer.as_ref(), Some(&peer.uid));
    assert!(matches!(try_plain(&world, "10.9.0.2", false), Err(InboundError::Isolated(_))));
    assert!(try_plain(&world, "10.9.0.2", true).is_ok(), "its node's probe");

    world.guard(guard(81));
    assert!(matches!(again(&world, &mut admission), Err(InboundError::Isolated(_))));
    world.guard(guard(80));
    assert!(again(&world, &mut admission).is_ok());
    world.put(peer.clone());
    assert!(matches!(again(&world, &mut admission), Err(InboundError::Isolated(_))), "its label is gone");
    world.remove(&peer);
    assert!(again(&world, &mut admission).is_ok(), "who is gone is whom it was until its connection ends");
}

fn principal(name: &str) -> Match {
    Match { principals: vec![Pattern::parse_principal(name).unwrap()], ..Match::default() }
}

fn plain(world: &World, from: &str) -> Admission {
    try_plain(world, from, false).unwrap()
}

fn try_plain(world: &World, from: &str, is_probe: bool) -> Result<Admission, InboundError> {
    let (snapshot, local) = (world.store.snapshot(), receiver(world));
    let (from, to) = (at(from).ip, "10.0.0.1:80".parse().unwrap());
    let class = if is_probe { Some(SourceClass::Probe) } else { class_by_address(&snapshot, from) };
    inbound_plaintext(&snapshot, &local, from, to, class).map(|target| target.admission)
}

fn again(world: &World, admission: &mut Admission) -> Result<(), InboundError> {
    admission.ask_again(&world.store.snapshot(), &receiver(world))
}

fn receiver(world: &World) -> Workload {
    Workload::clone(world.store.snapshot().workload(&world.client.uid).unwrap())
}

/// As if the pod's labels changed, so that these policies select it.
fn relabel(world: &mut World, policies: &[&str]) {
    let policies = policies.iter().map(|name| (*name).into()).collect();
    let client = with_profile(world.client.clone(), |profile| profile.policies = policies);
    let update = Update { workloads: vec![Change::Upsert(client)], ..Update::default() };
    world.store.apply(update);
}
