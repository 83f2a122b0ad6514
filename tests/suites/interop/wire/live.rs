//! A conversation with a live peer: the suite ends the TLS itself, as the daemon of a pod that has none.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use certs::{
    Bundles, CaClient, CaClientConfig, Credential, IdentityConfigs, LeafKey, NodeKey, PeerIdentities, Signer,
    SystemClock, TrustBundle,
};
use harness::{Authority, LabError, PATIENCE, Pod};
use identity::SpiffeId;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};

use super::end::{Act, End, Source};
use super::scenario::{Called, Peer, Scenario};
use super::transcript::{Said, Transcript};
use crate::world::{APP, BARE_SERVICE, World};

/// Has a conversation, and says what was said.
pub(crate) fn converse(world: &mut World, scenario: &Scenario) -> Result<Transcript, LabError> {
    let (bare, theirs) = (world.mesh.pod("shop/bare"), world.mesh.pod("shop/theirs"));
    let identity = Identity::of(world, &bare)?;
    let mut live = match scenario.peer {
        Peer::Server => {
            let tls = identity.connect(&bare, &theirs, theirs.at(HBONE))?;
            Live { world, identity, tls, said: Vec::new(), caller: None }
        }
        Peer::Client(called) => {
            let any = Ipv6Addr::UNSPECIFIED;
            let listener = bare.netns().within(|| TcpListener::bind((any, HBONE)))?;
            let to = address(&bare, called);
            let app = Some(theirs.connect(to)?);
            let tls = identity.accept(&listener)?;
            Live { world, identity, tls, said: Vec::new(), caller: Some(Caller { app, to, listener }) }
        }
    };
    let mut end = match scenario.peer {
        Peer::Client(_) => End::server(&mut live),
        Peer::Server => End::client(&mut live),
    };
    (scenario.run)(&mut end)?;
    let account = end.into_account();
    Ok(Transcript { lines: live.said, account })
}

/// A connection, past its TLS handshake.
struct Live<'w> {
    world: &'w mut World,
    identity: Identity,
    tls: Box<dyn Stream>,
    said: Vec<Said>,
    caller: Option<Caller>,
}

/// The application at the peer's side that calls.
struct Caller {
    /// None once it has reset its connection.
    app: Option<TcpStream>,
    to: SocketAddr,
    listener: TcpListener,
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// What proves a pod's identity.
struct Identity {
    configs: IdentityConfigs,
    uid: Arc<str>,
}

impl Source for Live<'_> {
    fn read(&mut self) -> Result<Option<Vec<u8>>, LabError> {
        let mut buffer = vec![0; 16 << 10];
        match self.tls.read(&mut buffer) {
            Ok(0) => Ok(None),
            Ok(count) => {
                buffer.truncate(count);
                self.said.push(Said::Peer(buffer.clone()));
                Ok(Some(buffer))
            }
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LabError> {
        self.said.push(Said::Us(bytes.to_vec()));
        self.tls.write_all(bytes)?;
        Ok(self.tls.flush()?)
    }

    fn act(&mut self, act: Act) -> Result<(), LabError> {
        if let Act::Upgrade = act {
            return self.world.upgrade_peer();
        }
        let caller = self.caller.as_mut().expect("the peer's side calls");
        let app = caller.app.as_mut().expect("the client has not reset its connection");
        match act {
            Act::Send(bytes) => app.write_all(bytes)?,
            Act::Hear(wanted) => {
                let mut heard = vec![0; wanted.len()];
                app.read_exact(&mut heard)?;
                assert_eq!(heard, wanted);
            }
            Act::Finish => app.shutdown(Shutdown::Write)?,
            Act::HearEnd => assert!(!matches!(app.read(&mut [0]), Ok(1..)), "nothing more is heard"),
            Act::Reset => {
                socket2::SockRef::from(&*app).set_linger(Some(Duration::ZERO))?;
                caller.app = None;
            }
            Act::ConnectElsewhere => {
                let theirs = self.world.mesh.pod("shop/theirs");
                let _second = theirs.connect(caller.to)?;
                self.identity.accept(&caller.listener).map(drop)?;
            }
            Act::Upgrade => {}
        }
        Ok(())
    }
}

impl Identity {
    /// Asks the CA, as the daemon of the pod's node would.
    fn of(world: &World, pod: &Pod) -> Result<Self, LabError> {
        let id: SpiffeId = pod.identity().parse().map_err(broken)?;
        let (node, roots) = (pod.node(), world.mesh.ca().roots());
        let key = std::fs::read_to_string(Authority::node_key(node))?;
        let tokens = Arc::new(NodeKey::from_pem(node.name(), &key).map_err(broken)?);
        let config = CaClientConfig {
            address: Authority::address(node).parse().map_err(broken)?,
            server_name: ServerName::try_from(Authority::NAME).map_err(broken)?,
            roots: roots.clone(),
            cluster_id: "Kubernetes".to_owned(),
            lifetime: Duration::from_hours(1),
            timeout: PATIENCE,
        };
        let client = CaClient::new(config, tokens, Arc::new(SystemClock));
        let leaf = LeafKey::generate().map_err(broken)?;
        let csr = leaf.request(&id).map_err(broken)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signed = node.netns().within(|| Ok(runtime.block_on(client.sign(&id, &csr))))?.map_err(broken)?;
        let credential = Credential::new(&id, leaf, signed.chain).map_err(broken)?;
        let bundle = TrustBundle::from_pem(&std::fs::read(roots)?).map_err(broken)?;
        let bundles: Bundles = [("cluster.local".parse().map_err(broken)?, bundle)].into_iter().collect();
        let configs = IdentityConfigs::new(Arc::new(credential), Arc::new(bundles), 0).map_err(broken)?;
        Ok(Self { configs, uid: pod.uid().into() })
    }

    fn accept(&self, listener: &TcpListener) -> Result<Box<dyn Stream>, LabError> {
        let (stream, _) = listener.accept()?;
        let tls = ServerConnection::new(self.configs.server().config().clone()).map_err(broken)?;
        finish(StreamOwned::new(tls, patient(stream)?), |tls| tls.conn.complete_io(&mut tls.sock))
    }

    fn connect(&self, from: &Pod, to: &Pod, at: SocketAddr) -> Result<Box<dyn Stream>, LabError> {
        let wanted = PeerIdentities::from(to.identity().parse::<SpiffeId>().map_err(broken)?);
        let tls = self.configs.client(&self.uid, &wanted).map_err(broken)?;
        let name = ServerName::from(at.ip());
        let tls = ClientConnection::new(tls.config().clone(), name).map_err(broken)?;
        finish(StreamOwned::new(tls, from.connect(at)?), |tls| tls.conn.complete_io(&mut tls.sock))
    }
}

/// Completes the handshake.
fn finish<S: Stream + 'static>(
    mut tls: S,
    handshake: impl Fn(&mut S) -> io::Result<(usize, usize)>,
) -> Result<Box<dyn Stream>, LabError> {
    handshake(&mut tls)?;
    Ok(Box::new(tls))
}

fn patient(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn address(pod: &Pod, called: Called) -> SocketAddr {
    match called {
        Called::V4 => pod.at(APP),
        Called::V6 => SocketAddr::new(pod.v6().expect("the pod has both families"), APP),
        Called::Service => SocketAddr::new(BARE_SERVICE, 80),
    }
}

fn broken(error: impl std::fmt::Display) -> LabError {
    LabError::Unreadable { what: "what the suite needs".to_owned(), problem: error.to_string() }
}

/// The port of tunnels.
const HBONE: u16 = 15008;
