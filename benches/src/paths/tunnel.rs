//! Bytes and streams through both ends of a tunnel: from an application's socket to another's, TLS and all.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hbone::h2::{ConnectRequest, ConnectResponse, Limits};
use hbone::socket::Socket;
use hbone::tunnel::{Buffers, Request, Timing, Tunnel, drive};
use tokio::runtime::Runtime;
use tokio::task::{LocalSet, spawn_local};

use super::app::{BULK, MESSAGE, Uncounted, carry, connection, end, runtime};
use crate::trust::handshake;

/// A tunnel whose both ends are here.
struct Ends {
    runtime: Runtime,
    tasks: LocalSet,
    client: Tunnel,
    /// Where streams have led to, last one last.
    servers: Rc<RefCell<Vec<Socket>>>,
}

/// A connection through it.
struct Connection {
    client: Socket,
    server: Socket,
}

/// A piece of what a client sends in bulk.
pub(super) fn up() -> Box<dyn FnMut()> {
    let (ends, bytes, mut room) = (Ends::new(), vec![7; BULK], vec![0; BULK]);
    let connection = ends.connected();
    Box::new(move || ends.run(carry(&connection.client, &connection.server, &bytes, &mut room)))
}

/// A piece of what a server sends in bulk.
pub(super) fn down() -> Box<dyn FnMut()> {
    let (ends, bytes, mut room) = (Ends::new(), vec![7; BULK], vec![0; BULK]);
    let connection = ends.connected();
    Box::new(move || ends.run(carry(&connection.server, &connection.client, &bytes, &mut room)))
}

/// A request and its answer.
pub(super) fn message() -> Box<dyn FnMut()> {
    let (ends, bytes, mut room) = (Ends::new(), [7; MESSAGE], [0; MESSAGE]);
    let connection = ends.connected();
    Box::new(move || {
        ends.run(async {
            carry(&connection.client, &connection.server, &bytes, &mut room).await;
            carry(&connection.server, &connection.client, &bytes, &mut room).await;
        });
    })
}

/// A connection from its beginning to its end, with nothing in between.
pub(super) fn stream() -> Box<dyn FnMut()> {
    let ends = Ends::new();
    Box::new(move || {
        ends.run(async {
            let Connection { client, server } = ends.connect().await;
            client.shutdown_write().expect("it is connected");
            end(&server).await;
            server.shutdown_write().expect("it is connected");
            end(&client).await;
            while ends.client.stream_count() > 0 {
                tokio::task::yield_now().await;
            }
        });
    })
}

impl Ends {
    fn new() -> Self {
        let (runtime, tasks) = (runtime(), LocalSet::new());
        let servers = Rc::<RefCell<Vec<Socket>>>::default();
        let reached = servers.clone();
        let client = tasks.block_on(&runtime, async {
            let (near, far) = connection();
            let (near, far) = handshake(near, far).await;
            let buffers = Buffers::new();
            // No ping falls into what is counted, however slowly that goes.
            let timing = Timing { ping_every: Duration::from_hours(1), ..Timing::default() };
            let client = Tunnel::client(near, Limits::default(), timing, buffers.clone());
            let server = Tunnel::server(far, Limits::default(), timing, buffers);
            drop(spawn_local(drive(client.clone(), |_| {})));
            let serve = move |Request { mut stream, .. }| {
                stream.respond(&ConnectResponse::new(200));
                let (server, app) = connection();
                reached.borrow_mut().push(server);
                drop(spawn_local(stream.relay(app, Rc::new(Uncounted))));
            };
            drop(spawn_local(drive(server, serve)));
            client
        });
        Self { runtime, tasks, client, servers }
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.tasks.block_on(&self.runtime, work)
    }

    fn connected(&self) -> Connection {
        self.run(self.connect())
    }

    /// Opens a stream as the daemon does, and joins it to a connection.
    async fn connect(&self) -> Connection {
        let request = ConnectRequest {
            baggage: Some(BAGGAGE.into()),
            forwarded: Some("for=10.0.0.1;proto=HTTP;host=web.town.svc.cluster.local".into()),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            ..ConnectRequest::new("10.0.0.2:8080")
        };
        let mut stream = self.client.open(&request).expect("there is room for one");
        let response = stream.response().await.expect("it is answered");
        assert!(response.is_success());
        let (client, app) = connection();
        drop(spawn_local(stream.relay(app, Rc::new(Uncounted))));
        let server = self.servers.borrow_mut().pop().expect("it has been reached");
        Connection { client, server }
    }
}

/// As of a pod of a deployment.
const BAGGAGE: &str = "k8s.cluster.name=Kubernetes,k8s.namespace.name=town,k8s.deployment.name=web,\
    service.name=web,service.version=v1";
