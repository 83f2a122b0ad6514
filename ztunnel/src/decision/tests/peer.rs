//! Whether a peer is who the mesh says is there.

use mesh::{Network, Workload, WorkloadKind};

use super::samples::{World, pod, service, with_profile};
use crate::decision::{Origin, PeerMismatch, Strangers, is_own_gateway, verify_peer};

#[test]
fn a_peer_with_the_identity_of_the_workload_at_its_address_is_that_workload() {
    let mut world = World::new();
    let cart = pod("shop", "cart", "10.0.1.1", "there");
    world.put(cart.clone());
    for ip in ["10.0.1.1", "::ffff:10.0.1.1"] {
        assert_eq!(verify(&world, ip, "cart", Strangers::Refuse).unwrap().unwrap().uid, cart.uid);
    }
}

#[test]
fn a_peer_with_another_identity_than_the_workload_at_its_address_is_refused() {
    let mut world = World::new();
    world.put(pod("shop", "cart", "10.0.1.1", "there"));
    let error = verify(&world, "10.0.1.1", "thief", Strangers::Accept).unwrap_err();
    assert!(matches!(error, PeerMismatch::Identity { .. }));
    assert_eq!(
        error.to_string(),
        "peer at 10.0.1.1 presented spiffe://cluster.local/ns/shop/sa/thief, \
         but spiffe://cluster.local/ns/shop/sa/cart is there"
    );
}

#[test]
fn while_an_address_passes_from_one_pod_to_another_either_may_be_there() {
    let mut world = World::new();
    let mut old = pod("shop", "old", "10.0.1.1", "there");
    old.terminating = true;
    world.put(old).put(pod("shop", "new", "10.0.1.1", "there"));
    for name in ["old", "new"] {
        let found = verify(&world, "10.0.1.1", name, Strangers::Refuse).unwrap().unwrap();
        assert_eq!(&*found.name, name);
    }
    assert!(verify(&world, "10.0.1.1", "thief", Strangers::Accept).is_err());
}

#[test]
fn through_the_own_networks_gateway_come_others_and_where_strangers_are_refused_only_those_known_elsewhere() {
    let mut world = World::new();
    let gateway = with_profile(pod("shop", "gateway", "10.0.1.1", "there"), |it| it.network_gateway = true);
    let far = |network: &str| {
        with_profile(pod("shop", "far", "10.0.1.1", ""), |it| {
            it.network = Network::new(network);
            it.kind = WorkloadKind::Entry;
        })
    };
    world.put(gateway.clone()).put(far("west"));
    for strangers in [Strangers::Accept, Strangers::Refuse] {
        assert_eq!(verify(&world, "10.0.1.1", "far", strangers).unwrap(), None, "whoever it is");
        let own = verify(&world, "10.0.1.1", "gateway", strangers).unwrap();
        assert_eq!(own.unwrap().uid, gateway.uid);
    }
    let (snapshot, far_one) =
        (world.store.snapshot(), "spiffe://cluster.local/ns/shop/sa/far".parse().unwrap());
    let at = "10.0.1.1".parse().unwrap();
    let origin = verify_peer(&snapshot, &Network::default(), at, &far_one, Strangers::Refuse).unwrap();
    assert!(matches!(origin, Origin::Beyond(through) if through.uid == gateway.uid));
    let own = |ip: &str| is_own_gateway(&world.store.snapshot(), &Network::default(), ip.parse().unwrap());
    assert_eq!([own("::ffff:10.0.1.1"), own("10.0.1.2"), own("10.0.9.9")], [true, false, false]);
    assert_eq!(verify(&world, "10.0.1.1", "unheard-of", Strangers::Accept).unwrap(), None);
    assert!(verify(&world, "10.0.1.1", "unheard-of", Strangers::Refuse).is_err());
    assert!(verify(&world, "10.0.9.9", "far", Strangers::Refuse).is_err(), "not from the gateway");
    world.put(pod("shop", "other", "10.0.1.2", "there"));
    assert!(verify(&world, "10.0.1.2", "far", Strangers::Accept).is_err(), "another's address");
    // On the own network, an entry is where its address is.
    world.put(far(""));
    assert!(verify(&world, "10.0.1.1", "unheard-of", Strangers::Refuse).is_err());
    let mut both = with_profile(pod("shop", "late", "10.0.1.1", "there"), |_| {});
    both.terminating = true;
    world.put(far("west")).put(both);
    assert!(verify(&world, "10.0.1.1", "far", Strangers::Accept).is_err(), "somebody else may be there");
}

#[test]
fn a_peer_at_an_unknown_address_is_a_stranger_whom_a_setting_lets_in() {
    let world = World::new();
    assert_eq!(verify(&world, "10.0.9.9", "anyone", Strangers::Accept).unwrap(), None);
    let error = verify(&world, "10.0.9.9", "anyone", Strangers::Refuse).unwrap_err();
    assert!(matches!(error, PeerMismatch::Stranger { .. }));
}

#[test]
fn a_peer_at_the_address_of_a_workload_without_an_identity_is_refused() {
    let mut world = World::new();
    world.put(with_profile(pod("shop", "cart", "10.0.1.1", "there"), |it| {
        it.service_account = "no/name".into()
    }));
    let error = verify(&world, "10.0.1.1", "cart", Strangers::Accept).unwrap_err();
    assert!(matches!(error, PeerMismatch::NoIdentity { .. }));
}

#[test]
fn where_an_entry_is_whom_its_service_names_is_expected_and_where_a_pod_is_nobody_else() {
    let partner = "spiffe://cluster.local/ns/shop/sa/partner";
    let entry = with_profile(pod("shop", "entry", "10.0.1.1", ""), |it| it.kind = WorkloadKind::Entry);
    for (at, expected) in
        [(vec![entry.clone()], true), (vec![entry, pod("shop", "cart", "10.0.1.1", "there")], false)]
    {
        let mut world = World::new();
        let mut called = service("shop", "partner", "10.1.0.1", &[&at[0]]);
        called.subject_alt_names = [partner.parse().unwrap()].into();
        let key = called.key.clone();
        world.serve(called);
        for mut workload in at {
            workload.services = [key.clone()].into();
            world.put(workload);
        }
        let found = verify(&world, "10.0.1.1", "partner", Strangers::Refuse);
        assert_eq!(found.is_ok_and(|found| found.is_none()), expected, "it is none of our workloads");
        assert!(verify(&world, "10.0.1.1", "thief", Strangers::Accept).is_err());
    }
}

fn verify(
    world: &World,
    ip: &str,
    name: &str,
    strangers: Strangers,
) -> Result<Option<Workload>, PeerMismatch> {
    let presented = format!("spiffe://cluster.local/ns/shop/sa/{name}").parse().unwrap();
    let snapshot = world.store.snapshot();
    let found = verify_peer(&snapshot, &Network::default(), ip.parse().unwrap(), &presented, strangers)?;
    Ok(match found {
        Origin::Workload(workload) => Some(Workload::clone(workload)),
        Origin::Beyond(_) | Origin::Unknown => None,
    })
}
