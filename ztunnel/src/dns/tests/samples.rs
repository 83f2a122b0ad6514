//! A small mesh to ask about.

use std::net::IpAddr;
use std::sync::Arc;

use mesh::{
    Capture, Change, ClusterId, Endpoint, EndpointTarget, HostNode, Hostname, LoadBalancing, Network,
    NetworkAddress, Profile, Resolution, Service, ServiceKey, Store, TunnelProtocol, Update, Workload,
    WorkloadKind, WorkloadUid,
};

use crate::dns::{
    Answer, ClientView, ClusterNames, Decision, PodResolver, Question, RecordKind, ResolvConf, ResolverView,
    answer,
};

/// A mesh, and a client in namespace `shop` with an ordinary resolver.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) namespace: &'static str,
    pub(super) network: Network,
    pub(super) resolver: ResolverView,
}

impl World {
    pub(super) fn new() -> Self {
        let resolver = PodResolver::default().view("shop", &cluster(), &ResolvConf::default());
        Self { store: Store::new(), namespace: "shop", network: Network::default(), resolver }
    }

    /// A mesh with these services.
    pub(super) fn of(services: impl IntoIterator<Item = Service>) -> Self {
        let mut world = Self::new();
        for service in services {
            world.apply(Update { services: vec![Change::Upsert(service)], ..Update::default() });
        }
        world
    }

    pub(super) fn with_pod(mut self, workload: &Workload) -> Self {
        self.apply(Update { workloads: vec![Change::Upsert(workload.clone())], ..Update::default() });
        self
    }

    pub(super) fn ask(&self, name: &str, kind: RecordKind) -> Decision {
        let client = ClientView {
            namespace: self.namespace,
            network: &self.network,
            domain: "cluster.local",
            resolver: &self.resolver,
        };
        let question = Question { name: Some(name.to_owned()), kind };
        answer(&self.store.snapshot(), &client, &question, 1)
    }

    /// The IPv4 addresses that the client gets, sorted; none when others are to say.
    pub(super) fn v4(&self, name: &str) -> Option<Vec<String>> {
        match self.ask(name, RecordKind::A) {
            Decision::Answer(Answer { addresses, .. }) => {
                let mut addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
                addresses.sort();
                Some(addresses)
            }
            Decision::Forward { .. } | Decision::ServFail => None,
        }
    }

    /// The alias that the client is told of.
    pub(super) fn canonical(&self, name: &str) -> Option<String> {
        match self.ask(name, RecordKind::A) {
            Decision::Answer(answer) => answer.canonical,
            Decision::Forward { .. } | Decision::ServFail => None,
        }
    }

    fn apply(&mut self, update: Update) {
        self.store.apply(update);
    }
}

pub(super) fn cluster() -> ClusterNames {
    ClusterNames { domain: "cluster.local".to_owned(), servers: Vec::new() }
}

/// A Kubernetes Service at these addresses.
pub(super) fn service(namespace: &str, name: &str, addresses: &[&str]) -> Service {
    let canonical = true;
    let host = format!("{name}.{namespace}.svc.cluster.local");
    Service { name: name.into(), canonical, ..entry(namespace, &host, addresses) }
}

/// A ServiceEntry of this host.
pub(super) fn entry(namespace: &str, host: &str, addresses: &[&str]) -> Service {
    Service {
        key: ServiceKey { namespace: namespace.into(), hostname: Hostname(host.into()) },
        name: "entry".into(),
        addresses: addresses.iter().map(|ip| at(ip)).collect(),
        ranges: [].into(),
        ports: [].into(),
        endpoints: [].into(),
        canonical: false,
        created: 0,
        load_balancing: LoadBalancing::default(),
        resolution: Resolution::Static,
        subject_alt_names: [].into(),
        waypoint: None,
        visible_to: None,
    }
}

/// The service, with these pods behind it.
pub(super) fn behind(mut service: Service, pods: &[&Workload]) -> Service {
    let targets = pods
        .iter()
        .flat_map(|pod| pod.addresses.iter().map(|ip| EndpointTarget::Workload(pod.uid.clone(), *ip)));
    service.endpoints = targets.map(ready).collect();
    service
}

pub(super) fn ready(target: EndpointTarget) -> Endpoint {
    Endpoint { target, ports: [].into(), ready: true, serving: true, terminating: false }
}

/// A pod with these addresses, in namespace `shop`.
pub(super) fn pod(name: &str, addresses: &[&str]) -> Workload {
    Workload {
        uid: WorkloadUid(format!("Kubernetes//Pod/shop/{name}").into()),
        pod_uid: None,
        name: name.into(),
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        hostname: None,
        node: Arc::new(HostNode::default()),
        profile: Arc::new(Profile {
            namespace: "shop".into(),
            service_account: "default".into(),
            trust_domain: "cluster.local".parse().unwrap(),
            network: Network::default(),
            cluster: ClusterId("Kubernetes".into()),
            kind: WorkloadKind::Pod,
            workload_name: name.into(),
            canonical_name: name.into(),
            canonical_revision: "latest".into(),
            app: "".into(),
            version: "".into(),
            protocol: TunnelProtocol::Hbone,
            host_network: false,
            native_ports: [].into(),
            waypoint: None,
            policies: [].into(),
            network_policy_selected: false,
            network_gateway: false,
            network_membership: mesh::NetworkMembership::default(),
        }),
        capture: Capture::Enabled,
        healthy: true,
        terminating: false,
        weight: 1,
        services: [].into(),
    }
}

pub(super) fn at(ip: &str) -> NetworkAddress {
    ip.parse::<IpAddr>().unwrap().into()
}
