use std::sync::Arc;
use std::time::Duration;

use certs::{Authority, Bundles, Credential, IdentityConfigs, LeafKey, LeafRequest, TrustBundle};
use hbone::h2::Limits;
use hbone::record;
use hbone::socket::Socket;
use hbone::tunnel::{Buffers, Timing, Tunnel, drive};
use mesh::{Change, Store, Update, WorkloadUid};
use rustls_pki_types::UnixTime;
use socket2::{Domain, Socket as RawSocket, Type};
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::decision::tests::samples::pod;

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
        let _listed = live.tunnel(&pod, &tunnel, "10.0.0.1".parse().unwrap(), peer.map(uid));
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
fn every_tunnel_is_looked_at_when_changes_were_missed() {
    let missed = || ChangeSet { resync: true, ..ChangeSet::default() };
    assert!(is_cut(Some("client"), "other", &missed()));
    assert!(is_cut(None, "other", &missed()));
    assert!(!is_cut(Some("client"), "client", &missed()));
}
