//! Whoever else ends tunnels: a peer, a waypoint, a gateway between networks. It keeps what streams ask for, and passes on
//! what is in them unread.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use certs::{Authority, Bundles, Credential, IdentityConfigs, LeafKey, LeafRequest, TrustBundle};
use harness::{Mesh, Pod};
use hbone::h2::{ConnectRequest, ConnectResponse, Limits};
use hbone::record;
use hbone::socket::{Listener, Socket};
use hbone::tunnel::{Buffers, Meter, Request, Timing, Tunnel, drive};
use rustls_pki_types::UnixTime;
use socket2::Socket as RawSocket;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

/// A server that runs on a thread. Dropped, it is killed: its sockets are closed, and nobody is told why.
pub struct HboneServer {
    address: SocketAddr,
    /// The number of its certificate.
    serial: String,
    state: Arc<Mutex<State>>,
    orders: watch::Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// To serve.
    Serve,
    /// To take no more streams in the tunnels that are there, so many times.
    Leave(u32),
    /// To be gone.
    End,
}

#[derive(Default)]
struct State {
    /// What streams asked for.
    asked: Vec<ConnectRequest>,
    /// Tunnels so far.
    tunnels: usize,
    /// Streams that are open.
    open: usize,
}

/// How it passes streams on.
#[derive(Clone)]
pub struct Beyond {
    /// Where it stands, or stands on the other network.
    pub from: Pod,
    /// Where streams are passed on to.
    pub to: SocketAddr,
    /// Who is there, as it says in its answers: their `baggage`.
    pub baggage: Option<String>,
}

impl HboneServer {
    /// Starts one that shows itself as `identity`, under `authority`.
    ///
    /// # Errors
    /// When it has no address.
    ///
    /// # Panics
    /// When the authority signs no such identity.
    pub fn start(
        listener: TcpListener,
        authority: &Authority,
        identity: &str,
        beyond: Beyond,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let configs = configs(authority, identity);
        let serial = certs::serial_number(&configs.credential().chain()[0]).map_err(io::Error::other)?;
        let state = Arc::<Mutex<State>>::default();
        let (orders, told) = watch::channel(Order::Serve);
        let serving = state.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            let mut ending = told.clone();
            LocalSet::new().block_on(&runtime, async move {
                let server = Rc::new(Serving { configs, beyond, state: serving, told });
                let accepting = server.accept(listener);
                tokio::select! {
                    () = accepting => {}
                    _ = ending.wait_for(|order| *order == Order::End) => {}
                }
            });
        });
        Ok(Self { address, serial, state, orders, thread: Some(thread) })
    }

    /// Where it takes tunnels.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of its certificate, in hexadecimal digits.
    pub fn serial(&self) -> String {
        self.serial.clone()
    }

    /// Where streams asked to be led so far.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.iter().map(|request| request.authority.to_string()).collect()
    }

    /// All that streams said so far.
    pub fn requests(&self) -> Vec<ConnectRequest> {
        self.state().asked.clone()
    }

    /// Tunnels so far.
    pub fn tunnels(&self) -> usize {
        self.state().tunnels
    }

    /// Streams that are open.
    pub fn open(&self) -> usize {
        self.state().open
    }

    /// Has the tunnels that are there take no more streams.
    pub fn leave(&self) {
        self.orders.send_modify(|order| {
            *order = match *order {
                Order::Serve => Order::Leave(1),
                Order::Leave(times) => Order::Leave(times + 1),
                Order::End => Order::End,
            };
        });
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HboneServer {
    fn drop(&mut self) {
        self.orders.send_replace(Order::End);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

struct Serving {
    configs: IdentityConfigs,
    beyond: Beyond,
    state: Arc<Mutex<State>>,
    told: watch::Receiver<Order>,
}

impl Serving {
    async fn accept(self: Rc<Self>, listener: TcpListener) {
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let listener = Listener::new(RawSocket::from(listener)).expect("there are descriptors");
        let buffers = Buffers::new();
        while let Ok(socket) = listener.accept().await {
            let Ok(socket) = Socket::from_nonblocking(socket) else { continue };
            drop(spawn_local(self.clone().tunnel(socket, buffers.clone())));
        }
    }

    async fn tunnel(self: Rc<Self>, socket: Socket, buffers: Buffers) {
        let Ok(established) = record::accept(socket, self.configs.server()).await else { return };
        self.change(|state| state.tunnels += 1);
        let tunnel = Tunnel::server(established, Limits::default(), Timing::default(), buffers);
        let leaving = tunnel.clone();
        let mut told = self.told.clone();
        told.mark_unchanged();
        let leave = async move {
            while told.changed().await.is_ok() {
                leaving.leave();
            }
        };
        let driving = drive(tunnel, |request| {
            drop(spawn_local(self.clone().pass_on(request)));
        });
        tokio::select! {
            _ended = driving => {}
            () = leave => {}
        }
    }

    async fn pass_on(self: Rc<Self>, Request { mut stream, request }: Request) {
        self.change(|state| state.asked.push(request));
        let Ok(there) = self.beyond.from.connect(self.beyond.to) else {
            return stream.refuse(&ConnectResponse::new(503));
        };
        let Ok(there) = Socket::new(RawSocket::from(there)) else { return };
        let baggage = self.beyond.baggage.as_deref().map(Into::into);
        stream.respond(&ConnectResponse { baggage, ..ConnectResponse::new(200) });
        self.change(|state| state.open += 1);
        let _ended = stream.relay(there, Rc::new(Unread)).await;
        self.change(|state| state.open -= 1);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A mesh's own CA, as somebody has it who broke into it.
///
/// # Errors
/// When its root cannot be read.
pub fn authority_of(mesh: &Mesh) -> io::Result<Authority> {
    let root = |name| fs::read_to_string(mesh.ca().root_folder().join(name));
    Authority::from_pem(&root("root-cert.pem")?, &root("root-key.pem")?).map_err(io::Error::other)
}

fn configs(authority: &Authority, identity: &str) -> IdentityConfigs {
    let identity = identity.parse().expect("a SPIFFE id");
    let key = LeafKey::generate().expect("a key");
    let request = LeafRequest::from_pem(&key.request(&identity).expect("a request")).expect("a request");
    let chain = authority.sign(&request, Duration::from_hours(1), UnixTime::now()).expect("a certificate");
    let credential = Credential::new(&identity, key, chain).expect("it is of the key");
    let root = TrustBundle::new(vec![authority.root().clone()]).expect("it has a root");
    let domain = "cluster.local".parse().expect("a trust domain");
    let bundles = Arc::new(Bundles::from_iter([(domain, root)]));
    IdentityConfigs::new(Arc::new(credential), bundles, 1).expect("the certificate is of the root")
}

/// The port of tunnels.
pub const HBONE: u16 = 15008;

#[derive(Debug)]
struct Unread;

impl Meter for Unread {
    fn sent(&self, _bytes: usize) {}

    fn received(&self, _bytes: usize) {}
}
