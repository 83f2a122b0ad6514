use std::sync::Arc;
use std::time::Duration;

use authz::{PolicyName, Touched};
use certs::{Authority, Bundles, Credential, IdentityConfigs, LeafKey, LeafRequest, TrustBundle};
use hbone::h2::Limits;
use hbone::record;
use hbone::socket::Socket;
use hbone::tunnel::{Buffers, Timing, Tunnel, drive};
use mesh::{Change, Hostname, Network, ServiceKey, Store, Update, WorkloadKind, WorkloadUid};
use rustls_pki_types::UnixTime;
use socket2::{Domain, Socket as RawSocket, Type};
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::decision::tests::samples::{self, pod, with_profile};
use crate::decision::{Crossing, Departure, inbound_plaintext, node_local};
use crate::proxy::live::Opener;

/// The near end of a tunnel whose peer is `shop/client`, both ends driven.
async fn tunnel() -> Tunnel {
    let authority = Authority::ephemeral("cluster.local").unwrap();
    let root = TrustBundle::new(vec![authority.root().clone()]).unwrap();
    let bundles = Arc::new(Bundles::from_iter([("cluster.local".parse().unwrap(), root)]));
    let configs = |account: &str| {
        let identity = id(account);
        let key = LeafKey::generate().unwrap();
        let request = LeafRequest::from_pem(&key.request(&identity).unwrap()).unwrap();
        let chain = authority.sign(&request, Duration::from_hours(1), UnixTime::now()).unwrap();
        let credential = Credential::new(&identity, key, chain).unwrap();
        IdentityConfigs::new(Arc::new(credential), bundles.clone(), 1).unwrap()
    };
    let (client, server) = (configs("client"), configs("server"));
    let tls = client.client(&"pod-1".into(), &id("server").into()).unwrap();
    let (left, right) = RawSocket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    let (left, right) = (Socket::new(left).unwrap(), Socket::new(right).unwrap());
    let far = record::connect(left, &tls, "10.0.0.2".parse().unwrap());
    let (far, near) = tokio::join!(far, record::accept(right, server.server()));
    let buffers = Buffers::new();
    let far = Tunnel::client(far.unwrap(), Limits::default(), Timing::default(), buffers.clone());
    let near = Tunnel::server(near.unwrap(), Limits::default(), Timing::default(), buffers);
    spawn_local(drive(far, |_| {}));
    spawn_local(drive(near.clone(), |_| {}));
    near
}

fn id(account: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/shop/sa/{account}").parse().unwrap()
}

/// Whether a tunnel that came from `shop/client` at 10.0.0.1, known as `peer`, is cut when the mesh changes to have
/// `now` at that address and `told` is what is said of it.
fn is_cut(peer: Option<&str>, now: &str, told: &ChangeSet) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let mut store = Store::new();
        let workloads = vec![
            Change::Upsert(pod("shop", "server", "10.0.0.2", "here")),
            Change::Upsert(pod("shop", now, "10.0.0.1", "there")),
        ];
        store.apply(Update { workloads, ..Update::default() });
        let (live, tunnel) = (Live::default(), tunnel().await);
        let pod = PodUid("shop-server".into());
        let opener = peer.map_or(Opener::Unknown, |peer| {
            Opener::Workload(Arc::new(self::pod("shop", peer, "10.0.0.1", "there")))
        });
        let _listed = live.tunnel(&pod, &tunnel, "10.0.0.1".parse().unwrap(), &opener);
        let cut = live.recheck_peers(told, &store.snapshot(), Strangers::Accept);
        assert_eq!(cut == 1, tunnel.is_leaving());
        cut == 1
    })
}

fn uid(name: &str) -> WorkloadUid {
    WorkloadUid(format!("Kubernetes//Pod/shop/{name}").into())
}

fn changed(name: &str) -> ChangeSet {
    ChangeSet { workloads: vec![uid(name)], ..ChangeSet::default() }
}

#[test]
fn a_tunnel_is_cut_when_another_identity_is_at_its_address() {
    assert!(is_cut(Some("client"), "other", &changed("client")));
    assert!(!is_cut(Some("client"), "client", &changed("client")));
}

#[test]
fn a_tunnel_from_where_nobody_was_known_is_cut_when_somebody_else_comes_to_be_known_there() {
    assert!(is_cut(None, "other", &changed("other")));
    assert!(!is_cut(None, "client", &changed("client")));
}

#[test]
fn a_tunnel_of_whom_an_entry_names_is_cut_when_it_names_somebody_else() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let mut entry =
            with_profile(pod("shop", "entry", "10.0.0.1", ""), |it| it.kind = WorkloadKind::Entry);
        let mut named = samples::service("shop", "partner", "10.1.0.1", &[&entry]);
        (named.canonical, named.subject_alt_names) = (false, [id("client")].into());
        entry.services = [named.key.clone()].into();
        let told = ChangeSet { services: vec![named.key.clone()], ..ChangeSet::default() };
        let mut store = Store::new();
        let workloads =
            vec![Change::Upsert(pod("shop", "server", "10.0.0.2", "here")), Change::Upsert(entry)];
        let services = vec![Change::Upsert(named.clone())];
        store.apply(Update { workloads, services, ..Update::default() });
        let (live, tunnel) = (Live::default(), tunnel().await);
        let _listed = live.tunnel(&PodUid("shop-server".into()), &tunnel, ip("10.0.0.1"), &Opener::Unknown);
        assert_eq!(live.recheck_peers(&told, &store.snapshot(), Strangers::Accept), 0);

        named.subject_alt_names = [id("other")].into();
        store.apply(Update { services: vec![Change::Upsert(named)], ..Update::default() });
        assert_eq!(live.recheck_peers(&told, &store.snapshot(), Strangers::Accept), 1);
        assert!(tunnel.is_leaving());
    });
}

#[test]
fn a_tunnel_that_a_gateway_brings_is_cut_when_no_entry_elsewhere_is_who_opened_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let gateway = with_profile(pod("shop", "gate", "10.0.0.1", "there"), |it| it.network_gateway = true);
        let entry = |network: &str| {
            let uid = WorkloadUid("Kubernetes/networking.istio.io/WorkloadEntry/shop/client".into());
            let entry = with_profile(pod("shop", "client", "10.0.9.9", ""), |it| {
                it.kind = WorkloadKind::Entry;
                it.network = Network::new(network);
            });
            Workload { uid, pod_uid: None, ..entry }
        };
        let told = ChangeSet { workloads: vec![entry("").uid], ..ChangeSet::default() };
        for change in [Change::Remove(entry("").uid), Change::Upsert(entry(""))] {
            let mut store = Store::new();
            let server = pod("shop", "server", "10.0.0.2", "here");
            let workloads = [server, gateway.clone(), entry("west")].map(Change::Upsert).into();
            store.apply(Update { workloads, ..Update::default() });
            let (live, tunnel) = (Live::default(), tunnel().await);
            let opener = Opener::Beyond(Arc::new(gateway.clone()));
            let _listed = live.tunnel(&PodUid("shop-server".into()), &tunnel, ip("10.0.0.1"), &opener);
            assert_eq!(live.recheck_peers(&told, &store.snapshot(), Strangers::Refuse), 0);
            store.apply(Update { workloads: vec![change], ..Update::default() });
            assert_eq!(live.recheck_peers(&changed("other"), &store.snapshot(), Strangers::Refuse), 0);
            assert_eq!(live.recheck_peers(&told, &store.snapshot(), Strangers::Accept), 0);
            assert_eq!(live.recheck_peers(&told, &store.snapshot(), Strangers::Refuse), 1);
            assert!(tunnel.is_leaving());
        }
    });
}

#[test]
fn a_tunnel_that_a_gateway_brings_goes_as_the_gateway_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let gateway = pod("shop", "gate", "10.0.0.1", "there");
        let (live, tunnel) = (Live::default(), tunnel().await);
        let opener = Opener::Beyond(Arc::new(gateway.clone()));
        let _listed = live.tunnel(&PodUid("shop-server".into()), &tunnel, ip("10.0.0.1"), &opener);
        let found = Peers::Of { workload: &gateway.uid, addresses: &[] };
        assert_eq!(live.recheck_tunnels(found, |_, _, _| false), 1, "by its name, once its address is gone");
    });
}

#[test]
fn every_tunnel_is_looked_at_when_changes_were_missed() {
    let missed = || ChangeSet { resync: true, ..ChangeSet::default() };
    assert!(is_cut(Some("client"), "other", &missed()));
    assert!(is_cut(None, "other", &missed()));
    assert!(!is_cut(Some("client"), "client", &missed()));
}

#[test]
fn a_change_asks_about_the_connections_that_it_concerns_and_no_others() {
    let busy = Busy::new();
    let all = 7 * EACH;
    for (what, change, asked) in [
        ("nothing", ChangeSet::default(), 0),
        (
            "a node that has the addresses it had",
            ChangeSet { nodes: vec!["n".into()], ..ChangeSet::default() },
            0,
        ),
        (
            "a node's address",
            ChangeSet { node_addresses: vec![ip("10.9.0.1")], ..ChangeSet::default() },
            EACH,
        ),
        ("another's", ChangeSet { node_addresses: vec![ip("10.9.0.2")], ..ChangeSet::default() }, 0),
        ("where some went", ChangeSet { node_addresses: vec![ip("10.0.1.1")], ..ChangeSet::default() }, EACH),
        ("a receiver", changed("cart"), EACH),
        ("a peer", changed("client"), EACH),
        ("a pod of this node: what comes in, and what goes out", changed("server"), 2 * EACH),
        ("somebody else", changed("nobody"), 0),
        ("a service that lets some out", service("api.example.com"), EACH),
        ("one whose name covers theirs", service("*.example.com"), EACH),
        ("one that passes some through", service("pass.test"), EACH),
        ("another service", service("example.com"), 0),
        ("one on another network", service("far.test"), EACH),
        ("who answers for it there", changed("far"), EACH),
        (
            "a gateway that leads there",
            ChangeSet { gateways: vec!["gates/west".into()], ..ChangeSet::default() },
            EACH,
        ),
        (
            "a namespace's settings",
            ChangeSet { namespaces: vec!["shop".into()], ..ChangeSet::default() },
            4 * EACH,
        ),
        ("another namespace's", ChangeSet { namespaces: vec!["bank".into()], ..ChangeSet::default() }, 0),
        // Those to the pods of this node, and those in plaintext to a pod of another.
        ("a namespace's policies", policies(Touched::Namespace("shop".into())), 4 * EACH),
        ("another namespace's policies", policies(Touched::Namespace("bank".into())), 0),
        ("a policy that selects nobody", policies(Touched::Selected(PolicyName::new("shop", "wall"))), 0),
        ("everything", ChangeSet { resync: true, ..ChangeSet::default() }, all),
    ] {
        assert_eq!(busy.asked(&change), asked, "{what}");
    }
}

#[test]
fn what_is_cut_is_not_asked_about_again() {
    let busy = Busy::new();
    let cut = |changes: &ChangeSet| {
        let mut cut = 0;
        busy.live.recheck(changes, &busy.store.snapshot(), |_, _| {
            cut += 1;
            Some(Cut::PeerChanged)
        });
        cut
    };
    assert_eq!((cut(&changed("client")), cut(&changed("client"))), (EACH, 0));
}

#[test]
fn a_connection_is_found_by_what_lets_it_out_by_now() {
    let busy = Busy::new();
    busy.live.recheck(&service("pass.test"), &busy.store.snapshot(), |_, grounds| {
        if let Grounds::Outbound(departure) = grounds {
            departure.service = Some(Hostname("other.test".into()));
        }
        None
    });
    assert_eq!((busy.asked(&service("pass.test")), busy.asked(&service("other.test"))), (0, EACH));
}

/// A worker's connections, of each kind so many.
const EACH: usize = 50;

/// Pods `server` and `near` of this node, with connections in and out.
struct Busy {
    live: Live,
    store: Store,
    _held: Vec<LiveGuard>,
}

impl Busy {
    fn new() -> Self {
        let mut store = Store::new();
        let there =
            [("server", "10.0.0.2"), ("near", "10.0.0.3"), ("client", "10.0.0.1"), ("cart", "10.0.1.1")];
        let workloads =
            there.into_iter().map(|(name, ip)| Change::Upsert(pod("shop", name, ip, "here"))).collect();
        store.apply(Update { workloads, ..Update::default() });
        let far = Workload { services: [key("far.test")].into(), ..pod("shop", "far", "10.0.9.9", "there") };
        store.apply(Update { workloads: vec![Change::Upsert(far)], ..Update::default() });
        let snapshot = store.snapshot();
        let at = |name: &str| snapshot.workload(&uid(name)).unwrap();
        let (server, near) = (at("server"), at("near"));
        let socket = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
        let plain = |from: &str, to: &str, local: &Workload| {
            inbound_plaintext(&snapshot, local, ip(from), socket(to), None).unwrap().admission
        };
        let known =
            node_local(&snapshot, server, &id("client"), ip("10.0.0.1"), socket("10.0.0.2:80")).unwrap();
        let out = |reached: &str| Departure {
            dialled: socket(reached),
            reached: socket(reached),
            tunnelled: false,
            receiver: None,
            service: None,
            name: None,
        };
        let crossing = Crossing {
            network: Network::new("west"),
            service: key("far.test"),
            picked: None,
            gateway: id("gate"),
            peer: id("far"),
        };
        let kinds: [(&str, Grounds); 8] = [
            ("near", crossing.into()),
            ("server", known.admission.into()),
            ("near", plain("10.9.0.1", "10.0.0.3:80", near).into()),
            ("near", plain("10.9.0.7", "10.0.0.3:80", near).into()),
            ("server", Some(Departure { receiver: Some(uid("cart")), ..out("10.0.1.1:80") }).into()),
            ("near", Some(Departure { name: Some("api.example.com".into()), ..out("192.0.2.1:80") }).into()),
            (
                "near",
                Some(Departure { service: Some(Hostname("pass.test".into())), ..out("192.0.2.2:80") }).into(),
            ),
            ("near", Grounds::Settled),
        ];
        let live = Live::default();
        let list = |(name, grounds): &(&str, Grounds)| {
            live.connection(&PodUid(format!("shop-{name}").into()), &Metered::new([]), grounds.clone())
        };
        let held = (0..EACH).flat_map(|_| kinds.iter().map(list).collect::<Vec<_>>()).collect();
        Self { live, store, _held: held }
    }

    /// How many connections are asked about.
    fn asked(&self, changes: &ChangeSet) -> usize {
        let mut asked = 0;
        self.live.recheck(changes, &self.store.snapshot(), |_, _| {
            asked += 1;
            None
        });
        asked
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(hostname: &str) -> ServiceKey {
    ServiceKey { namespace: "shop".into(), hostname: Hostname(hostname.into()) }
}

fn service(hostname: &str) -> ChangeSet {
    ChangeSet { services: vec![key(hostname)], ..ChangeSet::default() }
}

fn policies(touched: Touched) -> ChangeSet {
    ChangeSet { policies: vec![touched], ..ChangeSet::default() }
}
