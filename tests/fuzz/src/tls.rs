//! Two ends of a TLS connection that has just been made.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use certs::{Authority, Bundles, ClientTls, Credential, IdentityConfigs, LeafKey, LeafRequest, TrustBundle};
use hbone::record::{Records, accept, connect};
use hbone::socket::Socket;
use identity::SpiffeId;
use rustls_pki_types::UnixTime;
use socket2::{Domain, Type};
use tokio::runtime::Runtime;

/// What each end of one connection seals and opens with.
pub struct Ends {
    /// The client's.
    pub client: Records,
    /// The server's.
    pub server: Records,
    /// Sealed by the server behind its handshake: tickets.
    pub to_client: Vec<u8>,
}

/// Makes a connection by a real handshake.
pub fn handshake() -> Ends {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    let shared = SHARED.get_or_init(Shared::new);
    let (client, server) = socket2::Socket::pair(Domain::UNIX, Type::STREAM, None).expect("sockets are free");
    let both = async {
        let client = Socket::new(client).expect("it is a socket");
        let server = Socket::new(server).expect("it is a socket");
        tokio::join!(connect(client, &shared.client, ADDRESS), accept(server, shared.server.server()))
    };
    let (client, server) = shared.runtime.block_on(both);
    let (mut client, server) = (client.expect("it is sound"), server.expect("it is sound"));
    assert!(server.received.is_empty());
    let mut to_client = std::mem::take(&mut client.received);
    shared.runtime.block_on(read_rest(&client.socket, &mut to_client));
    Ends { client: client.records, server: server.records, to_client }
}

/// What lies in the socket, or is just on its way: a server always has tickets to give.
async fn read_rest(socket: &Socket, into: &mut Vec<u8>) {
    let mut buffer = [0; 8192];
    while into.is_empty() {
        let count = std::future::poll_fn(|cx| socket.poll_recv(cx, &mut buffer)).await;
        into.extend_from_slice(&buffer[..count.expect("the socket is sound")]);
    }
}

/// What is made once for all connections.
struct Shared {
    runtime: Runtime,
    client: Arc<ClientTls>,
    server: IdentityConfigs,
}

impl Shared {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let authority = Authority::ephemeral("cluster.local").expect("keys can be made");
        let root = TrustBundle::new(vec![authority.root().clone()]).expect("it is a root");
        let domain = "cluster.local".parse().expect("it is a domain");
        let bundles = Arc::new(Bundles::from_iter([(domain, root)]));
        let configs = |name| {
            let credential = Arc::new(credential(&authority, name));
            IdentityConfigs::new(credential, bundles.clone(), 1).expect("it is a credential")
        };
        let client = configs("client").client(&"pod-1".into(), &id("server").into());
        Self {
            runtime: runtime.expect("a reactor can be made"),
            client: client.expect("it is a configuration"),
            server: configs("server"),
        }
    }
}

fn id(name: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/test/sa/{name}").parse().expect("it is an id")
}

fn credential(authority: &Authority, name: &str) -> Credential {
    let identity = id(name);
    let key = LeafKey::generate().expect("keys can be made");
    let request = LeafRequest::from_pem(&key.request(&identity).expect("it signs")).expect("it is a request");
    let chain = authority.sign(&request, Duration::from_hours(24), UnixTime::now()).expect("it signs");
    Credential::new(&identity, key, chain).expect("they belong together")
}

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
