//! Roots that come and go.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection};
use rustls_pki_types::ServerName;

use super::super::IdentityChange;
use super::{Node, id, pass, write_roots};
use crate::{Authority, Credential, IdentityConfigs, LeafKey, LeafRequest, PeerIdentities};

#[tokio::test(start_paused = true)]
async fn a_root_that_a_renewal_brings_is_trusted_by_all_identities_at_once() {
    let node = Node::new();
    // Handshakes go by the machine's clock, so that little time may pass here.
    node.ca.set(|state| state.lifetime = Duration::from_secs(600));
    node.want(&["a", "b"]);
    let (a, b) = (node.ready("a").await, node.ready("b").await);
    node.ca.set(|state| {
        let old = state.authority.root().clone();
        state.authority = Authority::ephemeral("new").unwrap();
        state.more_roots = vec![old];
    });
    let mut changes = node.identities.changes();
    let Some(IdentityChange::Renewed { identity: first, .. }) = changes.next().await else {
        panic!("the first change is a renewal");
    };
    let (new_a, new_b) = (node.ready("a").await, node.ready("b").await);
    assert!(new_a.epoch() > a.epoch() && new_b.epoch() > b.epoch(), "both are rebuilt");
    // One has a leaf under the new root, the other still one under the old.
    let renewed =
        |old: &IdentityConfigs, new: &IdentityConfigs| !Arc::ptr_eq(old.credential(), new.credential());
    assert_eq!((renewed(&a, &new_a), renewed(&b, &new_b)), (first == id("a"), first == id("b")));
    handshake(&new_a, &new_b).unwrap();
    handshake(&new_b, &new_a).unwrap();
}

#[tokio::test(start_paused = true)]
async fn before_the_new_root_is_known_its_leaves_are_refused() {
    let node = Node::new();
    node.want(&["a"]);
    let a = node.ready("a").await;
    let other = foreign(&Authority::ephemeral("new").unwrap(), "cluster.local");
    assert!(handshake(&a, &other).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_of_roots_takes_effect_and_everything_is_renewed() {
    let node = Node::new();
    node.want(&["a"]);
    let a = node.ready("a").await;
    let new = Authority::ephemeral("new").unwrap();
    let peer = foreign(&new, "cluster.local");
    write_roots(&node.folder.path().join("roots.pem"), &[node.ca.root(), new.root().clone()]);
    pass(Duration::from_secs(6)).await;
    let rebuilt = node.identities.current(&id("a")).unwrap();
    assert!(rebuilt.epoch() > a.epoch());
    handshake_one_way(&peer, &rebuilt).unwrap();
    pass(Duration::from_secs(31)).await;
    assert_eq!(node.ca.asked(), ["a", "a"], "the ca is asked what it thinks");
}

#[tokio::test(start_paused = true)]
async fn a_root_that_nobody_names_any_more_is_trusted_until_all_are_renewed() {
    let node = Node::new();
    node.want(&["a"]);
    let first = node.ready("a").await;
    let old_ca = node.ca.root();
    node.ca.set(|state| state.authority = Authority::ephemeral("new").unwrap());
    write_roots(&node.folder.path().join("roots.pem"), &[node.ca.root()]);
    let domain = "cluster.local".parse().unwrap();
    let mut renewed = false;
    for _ in 0..80 {
        pass(Duration::from_millis(500)).await;
        let current = node.identities.current(&id("a")).unwrap();
        renewed = !Arc::ptr_eq(first.credential(), current.credential());
        let trusted = current.bundles().of(&domain).unwrap().roots().to_vec();
        assert!(renewed || trusted.contains(&old_ca), "the leaf in use is of the old root");
        if renewed {
            assert_eq!(trusted, [node.ca.root()]);
        }
    }
    assert!(renewed);
}

#[tokio::test(start_paused = true)]
async fn a_partners_root_speaks_for_the_partner_only() {
    let node = Node::new();
    let partner = Authority::ephemeral("partner").unwrap();
    write_roots(&node.folder.path().join("partner.pem"), &[partner.root().clone()]);
    node.want(&["a"]);
    let a = node.ready("a").await;
    pass(Duration::from_secs(6)).await;
    let a = node.identities.current(&id("a")).unwrap_or(a);
    handshake_one_way(&foreign(&partner, "partner.example"), &a).unwrap();
    assert!(handshake_one_way(&foreign(&partner, "cluster.local"), &a).is_err());
}

#[tokio::test(start_paused = true)]
async fn who_verifies_under_an_alias_is_known_by_the_first_name() {
    let node = Node::new();
    node.want(&["a"]);
    node.ready("a").await;
    pass(Duration::from_secs(6)).await;
    let a = node.identities.current(&id("a")).unwrap();
    let peer = |domain| foreign(&node.ca.state.lock().unwrap().authority, domain);
    let admitted = |peer: Arc<IdentityConfigs>| {
        a.server().admit(peer.credential().chain(), rustls_pki_types::UnixTime::now()).ok()
    };
    let known: identity::SpiffeId = "spiffe://cluster.local/ns/default/sa/foreign".parse().unwrap();
    let expected = a.client(&"pod".into(), &PeerIdentities::from(known)).unwrap();
    let now = rustls_pki_types::UnixTime::now();
    for domain in ["cluster.local", "old.example"] {
        let found = expected.admit(peer(domain).credential().chain(), now).unwrap();
        assert_eq!(found.as_str(), "spiffe://cluster.local/ns/default/sa/foreign");
        assert_eq!(admitted(peer(domain)), Some(found));
    }
    assert_eq!(admitted(peer("older.example")), None, "an alias makes nobody trusted");
    let partner = foreign(&Authority::ephemeral("partner").unwrap(), "old.example");
    assert_eq!(admitted(partner), None, "nor does it for any root");
}

/// An identity of a peer whose certificate `authority` signed, and who trusts everybody here.
fn foreign(authority: &Authority, domain: &str) -> Arc<IdentityConfigs> {
    let identity = format!("spiffe://{domain}/ns/default/sa/foreign").parse().unwrap();
    let key = LeafKey::generate().unwrap();
    let request = LeafRequest::from_pem(&key.request(&identity).unwrap()).unwrap();
    let now = rustls_pki_types::UnixTime::now();
    let chain = authority.sign(&request, Duration::from_secs(3600), now).unwrap();
    let credential = Arc::new(Credential::new(&identity, key, chain).unwrap());
    Arc::new(IdentityConfigs::new(credential, Arc::default(), 1).unwrap())
}

/// A handshake in which both sides verify each other.
fn handshake(client: &IdentityConfigs, server: &IdentityConfigs) -> Result<(), rustls::Error> {
    let accepted = PeerIdentities::from(server.leaf().identity.clone());
    let config = client.client(&"pod".into(), &accepted).unwrap().config().clone();
    run(config, server)
}

/// A handshake in which only the server verifies.
fn handshake_one_way(client: &IdentityConfigs, server: &IdentityConfigs) -> Result<(), rustls::Error> {
    server.server().admit(client.credential().chain(), rustls_pki_types::UnixTime::now()).map(drop)?;
    Ok(())
}

fn run(config: Arc<rustls::ClientConfig>, server: &IdentityConfigs) -> Result<(), rustls::Error> {
    let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    let mut client = ClientConnection::new(config, name)?;
    let mut server = ServerConnection::new(server.server().config().clone())?;
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        client.write_tls(&mut wire).unwrap();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
        wire.clear();
    }
    Ok(())
}
