//! Two identities that accept each other.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use certs::{Authority, Bundles, Credential, IdentityConfigs, LeafKey, LeafRequest, TrustBundle};
use hbone::record::{self, Established};
use hbone::socket::Socket;
use identity::SpiffeId;
use rustls::pki_types::UnixTime;

/// Both ends of a connection after the handshake.
pub(crate) async fn handshake(near: Socket, far: Socket) -> (Established, Established) {
    let authority = Authority::ephemeral("cluster.local").expect("it can sign");
    let root = TrustBundle::new(vec![authority.root().clone()]).expect("it has a root");
    let domain = "cluster.local".parse().expect("it is a trust domain");
    let bundles = Arc::new(Bundles::from_iter([(domain, root)]));
    let configs = |account| {
        let credential = Arc::new(credential(&authority, &id(account)));
        IdentityConfigs::new(credential, bundles.clone(), 1).expect("the certificate is of the root")
    };
    let (client, server) = (configs("client"), configs("server"));
    let towards = client.client(&"pod-1".into(), &id("server").into()).expect("it has a certificate");
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (near, far) =
        tokio::join!(record::connect(near, &towards, address), record::accept(far, server.server()));
    (near.expect("they agree"), far.expect("they agree"))
}

fn credential(authority: &Authority, identity: &SpiffeId) -> Credential {
    let key = LeafKey::generate().expect("keys can be made");
    let request = key.request(identity).expect("keys sign");
    let request = LeafRequest::from_pem(&request).expect("it was made this moment");
    let day = Duration::from_hours(24);
    let chain = authority.sign(&request, day, UnixTime::now()).expect("it is asked for little");
    Credential::new(identity, key, chain).expect("it is of the key")
}

fn id(account: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/town/sa/{account}").parse().expect("it is an id")
}
