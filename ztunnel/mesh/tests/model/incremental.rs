//! A mesh that came about by many changes is the mesh that was loaded at once.

use std::net::IpAddr;

use mesh::{
    Capture, Change, GatewayHost, HostNode, Network, NetworkAddress, NetworkGateway, Service, Snapshot,
    Store, Update, Workload, WorkloadKind,
};
use proptest::prelude::*;

use crate::samples::{at, host_network, key, native, pod, service, uid, with_profile};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changes_one_by_one_lead_to_the_same_look_ups_as_all_at_once(steps in prop::collection::vec(a_step(), 1..60)) {
        let mut store = Store::new();
        for step in &steps {
            store.apply(step.update());
        }
        let now = store.snapshot();
        let mut loaded = Store::new();
        loaded.apply(everything(&now));
        assert_same(&now, &loaded.snapshot());

        let changes = store.apply(everything(&now));
        prop_assert!(changes.is_empty(), "{changes:?}");
        store.apply(Update { replace: true, ..Update::default() });
        assert_same(&store.snapshot(), &Snapshot::default());
    }
}

/// A change of one of few objects, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Workload { name: usize, ip: Option<usize>, off: bool, terminating: bool, host: Option<u16> },
    Service { name: usize, vips: Option<Vec<usize>>, range: Option<u8>, wild: bool, created: i64 },
    Node { name: usize, ip: Option<usize> },
    Gateway { name: usize, network: Option<usize>, usable: bool },
    Entry { name: usize, network: Option<usize>, account: usize },
}

impl Step {
    fn update(&self) -> Update {
        let mut update = Update::default();
        match self {
            Self::Workload { name, ip, off, terminating, host } => update.workloads.push(match ip {
                None => Change::Remove(uid("shop", NAMES[*name])),
                Some(ip) => {
                    let mut pod = pod("shop", NAMES[*name], IPS[*ip]);
                    pod.capture = if *off { Capture::Off } else { Capture::Enabled };
                    pod.terminating = *terminating;
                    Change::Upsert(match host {
                        None => pod,
                        Some(0) => host_network(pod),
                        Some(port) => native(pod, *port),
                    })
                }
            }),
            Self::Service { name, vips, range, wild, created } => update.services.push(match vips {
                None => Change::Remove(a_service(*name, *wild).key),
                Some(vips) => {
                    let mut service = a_service(*name, *wild);
                    service.addresses = vips.iter().map(|ip| at(IPS[*ip])).collect();
                    let range = range.map(|length| format!("10.0.0.0/{length}").parse().unwrap());
                    service.ranges = range.into_iter().map(|range| (Network::default(), range)).collect();
                    service.created = *created;
                    Change::Upsert(service)
                }
            }),
            Self::Gateway { name, network, usable } => update.gateways.push(match network {
                None => Change::Remove(NAMES[*name].into()),
                Some(network) => Change::Upsert(NetworkGateway {
                    key: NAMES[*name].into(),
                    network: Network::new(NETWORKS[*network]),
                    hosts: if *usable { [GatewayHost::Name("gate".into())].into() } else { [].into() },
                    port: 15008,
                    identity: None,
                }),
            }),
            Self::Entry { name, network, account } => update.workloads.push(match network {
                None => Change::Remove(uid("shop", NAMES[*name])),
                Some(network) => Change::Upsert(with_profile(pod("shop", NAMES[*name], IPS[0]), |it| {
                    it.kind = WorkloadKind::Entry;
                    it.network = Network::new(NETWORKS[*network]);
                    it.service_account = NAMES[*account].into();
                })),
            }),
            Self::Node { name, ip } => update.nodes.push(match ip {
                None => Change::Remove(NAMES[*name].into()),
                Some(ip) => Change::Upsert(HostNode {
                    name: NAMES[*name].into(),
                    addresses: [IPS[*ip].parse::<IpAddr>().unwrap()].into_iter().collect(),
                    ..HostNode::default()
                }),
            }),
        }
        update
    }
}

fn a_step() -> impl Strategy<Value = Step> {
    let (name, ip) = (0..NAMES.len(), prop::option::weighted(0.8, 0..IPS.len()));
    prop_oneof![
        (name.clone(), ip.clone(), any::<bool>(), any::<bool>(), prop::option::weighted(0.2, 0_u16..3))
            .prop_map(|(name, ip, off, terminating, host)| Step::Workload {
                name,
                ip,
                off,
                terminating,
                host
            }),
        (
            name.clone(),
            prop::option::weighted(0.8, prop::collection::vec(0..IPS.len(), 0..3)),
            prop::option::of(prop::sample::select(vec![8_u8, 16, 24, 30])),
            any::<bool>(),
            0_i64..3,
        )
            .prop_map(|(name, vips, range, wild, created)| Step::Service {
                name,
                vips,
                range,
                wild,
                created
            }),
        (name.clone(), ip).prop_map(|(name, ip)| Step::Node { name, ip }),
        (name.clone(), a_network(), any::<bool>()).prop_map(|(name, network, usable)| Step::Gateway {
            name,
            network,
            usable
        }),
        (name, a_network(), 0..NAMES.len()).prop_map(|(name, network, account)| Step::Entry {
            name,
            network,
            account
        }),
    ]
}

fn a_network() -> impl Strategy<Value = Option<usize>> {
    prop::option::weighted(0.8, 0..NETWORKS.len())
}

fn a_service(name: usize, wild: bool) -> Service {
    let mut service = service("shop", NAMES[name], &[]);
    if wild {
        service.key.hostname = mesh::Hostname("*.example.com".into());
        service.key.namespace = NAMES[name].into();
    }
    service
}

fn everything(snapshot: &Snapshot) -> Update {
    Update {
        workloads: snapshot.workloads().map(|it| Change::Upsert(Workload::clone(it))).collect(),
        services: snapshot.services().map(|it| Change::Upsert(Service::clone(it))).collect(),
        gateways: snapshot.gateways().map(|it| Change::Upsert(NetworkGateway::clone(it))).collect(),
        nodes: snapshot.nodes().map(|it| Change::Upsert(HostNode::clone(it))).collect(),
        replace: true,
        ..Update::default()
    }
}

fn assert_same(one: &Snapshot, other: &Snapshot) {
    for name in NAMES {
        assert_eq!(one.workload(&uid("shop", name)), other.workload(&uid("shop", name)));
        assert_eq!(one.service(&key("shop", name)), other.service(&key("shop", name)));
        assert_eq!(one.node(name), other.node(name));
        let host = format!("{name}.example.com");
        assert_eq!(one.service_by_hostname(&host, name), other.service_by_hostname(&host, name));
    }
    for network in NETWORKS.map(Network::new) {
        assert_eq!(one.gateways_of(&network), other.gateways_of(&network));
        for name in NAMES {
            let identity = format!("spiffe://cluster.local/ns/shop/sa/{name}").parse().unwrap();
            let elsewhere = |snapshot: &Snapshot| {
                let entries = snapshot.workloads().filter(|it| it.profile.kind == WorkloadKind::Entry);
                entries.filter(|it| it.is(&identity)).any(|it| it.profile.network != network)
            };
            assert_eq!(one.is_known_beyond(&network, &identity), elsewhere(one));
            assert_eq!(other.is_known_beyond(&network, &identity), elsewhere(one));
        }
    }
    for ip in IPS {
        let address: NetworkAddress = at(ip);
        assert_eq!(one.workloads_by_address(&address), other.workloads_by_address(&address));
        for port in 0..3 {
            assert_eq!(one.workload_at(&address, port), other.workload_at(&address, port));
        }
        for namespace in ["shop", "a", "elsewhere"] {
            let found = |snapshot: &Snapshot| snapshot.service_by_vip(&address, namespace).cloned();
            assert_eq!(found(one), found(other));
        }
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const NETWORKS: [&str; 3] = ["", "east", "west"];
const IPS: [&str; 4] = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1"];
