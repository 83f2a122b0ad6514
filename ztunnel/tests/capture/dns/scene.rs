//! A captured pod with the DNS proxy serving it, and a name server outside.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use ::daemon::metrics::Metrics;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use mesh::{
    Change, Hostname, LoadBalancing, Network, NetworkAddress, Resolution, Service, ServiceKey, Store, Update,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use ztunnel::dns::{ClusterNames, DnsMetrics, DnsProxy, DnsSettings, NodeResolver, PodResolver};
use ztunnel::enrol::{AddPod, Pod, PodUid, client};
use ztunnel::netns::in_netns;
use ztunnel::redirect::OwnSockets;

use super::server::Server;
use crate::daemon::Daemon;
use crate::lab::{Lab, PATIENCE, Stack, dial};

/// The mesh knows `web.shop` and `api.front`; `*.up.test` is known outside.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    pub(crate) metrics: Metrics,
    _daemon: Daemon,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Scene {
    pub(crate) fn new(stack: Stack) -> Self {
        Self::with(stack, |_| PodResolver::default())
    }

    /// A scene whose pod resolves names in this way, given the addresses outside.
    pub(crate) fn with(stack: Stack, resolver: impl FnOnce(&[IpAddr]) -> PodResolver) -> Self {
        let lab = Lab::new(stack);
        let server = Server::bind(&lab.peer, &lab.peer_ips());
        let daemon = Daemon::new(&lab);
        let uid = PodUid::try_from("u-1".to_owned()).unwrap();
        let (name, namespace) = ("client".to_owned(), "shop".to_owned());
        let pod = Pod { uid, name, namespace, service_account: None, addresses: lab.pod_ips() };
        let add = AddPod { pod, netns: Some(lab.pod_path()), options: None };
        client::add(&daemon.socket(), add, None).unwrap();
        let captured = daemon.await_captured();
        let metrics = Metrics::new("test", "0", 1).unwrap();
        let proxy = proxy(&metrics);
        let resolver = watch::channel(resolver(&lab.peer_ips())).1;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                server.serve(&mut tasks);
                tasks.spawn(async move { proxy.serve(captured, resolver, Arc::default()).await });
                let _dropped = stopped.await;
            });
        });
        Self { lab, metrics, _daemon: daemon, serving: Some((stop, thread)) }
    }

    /// What the pod hears from `server` by a datagram.
    pub(crate) fn udp(&self, server: SocketAddr, name: &str, kind: RecordType) -> Message {
        Message::from_vec(&self.datagram(server, &query(name, kind))).unwrap()
    }

    /// The answer to any bytes.
    pub(crate) fn datagram(&self, server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        let here: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
        let socket = in_netns(&self.lab.pod, || UdpSocket::bind((here, 0))).unwrap();
        socket.set_read_timeout(Some(PATIENCE * 2)).unwrap();
        socket.connect(server).unwrap();
        socket.send(bytes).unwrap();
        let mut buffer = vec![0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    /// What the pod hears from `server` on one connection, in that order.
    pub(crate) fn tcp(&self, server: SocketAddr, names: &[&str]) -> Vec<Message> {
        let mut stream = dial(&self.lab.pod, server).unwrap();
        let framed = |name: &&str| {
            let query = query(name, RecordType::A);
            [&u16::try_from(query.len()).unwrap().to_be_bytes()[..], &query].concat()
        };
        stream.write_all(&names.iter().flat_map(framed).collect::<Vec<u8>>()).unwrap();
        let mut heard = || {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut bytes = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut bytes).unwrap();
            Message::from_vec(&bytes).unwrap()
        };
        names.iter().map(|_| heard()).collect()
    }

    /// The servers that the pod may send queries to.
    pub(crate) fn servers(&self) -> Vec<SocketAddr> {
        self.lab.peer_ips().into_iter().map(|ip| (ip, 53).into()).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.serving.take() {
            drop(stop);
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

pub(crate) fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

/// The addresses in an answer.
pub(crate) fn ips(message: &Message) -> Vec<String> {
    let ip = |data: &RData| match data {
        RData::A(ip) => Some(ip.0.to_string()),
        RData::AAAA(ip) => Some(ip.0.to_string()),
        _ => None,
    };
    message.answers.iter().filter_map(|record| ip(&record.data)).collect()
}

fn proxy(metrics: &Metrics) -> DnsProxy {
    let mut store = Store::new();
    let services = [service("shop", "web", "10.96.0.1"), service("front", "api", "10.96.0.2")];
    store.apply(Update { services: services.map(Change::Upsert).into(), ..Update::default() });
    let cluster = ClusterNames { domain: "cluster.local".to_owned(), servers: Vec::new() };
    let own = OwnSockets::default();
    let settings = DnsSettings { cluster, network: Network::default(), own };
    let node = Arc::new(NodeResolver::new("/nonexistent".into()));
    DnsProxy::new(store.snapshots(), settings, node, DnsMetrics::register(metrics).unwrap())
}

fn service(namespace: &str, name: &str, ip: &str) -> Service {
    let hostname = Hostname(format!("{name}.{namespace}.svc.cluster.local").into());
    Service {
        key: ServiceKey { namespace: namespace.into(), hostname },
        name: name.into(),
        addresses: [NetworkAddress::from(ip.parse::<IpAddr>().unwrap())].into_iter().collect(),
        ranges: [].into(),
        ports: [].into(),
        endpoints: [].into(),
        canonical: true,
        created: 0,
        load_balancing: LoadBalancing::default(),
        resolution: Resolution::Static,
        subject_alt_names: [].into(),
        waypoint: None,
        visible_to: None,
    }
}
