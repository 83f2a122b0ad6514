//! A small mesh to decide in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use authz::{Action, Clause, Match, Pattern, Policy, PolicyName, Rule, Scope};
use mesh::{
    AppProtocol, Capture, Change, ClusterId, EgressList, EgressMode, Endpoint, EndpointTarget, HostNode,
    Hostname, LoadBalancing, NamespaceSettings, Network, NetworkAddress, NetworkGateway, NetworkPolicy,
    PodUid, Profile, Remembered, Resolution, Service, ServiceKey, ServicePort, Store, TargetPort,
    TunnelProtocol, Update, Workload, WorkloadKind, WorkloadUid,
};

use crate::decision::{Call, Gateway, Plan, Refusal, Refused, Settings, Upstream, outbound};

/// A mesh with a client: pod `shop/client` at 10.0.0.1 (and fd00::1) on node `here`.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) client: Workload,
    pub(super) settings: Settings,
    /// The names that the client has resolved, to any address.
    pub(super) names: Vec<Arc<str>>,
    /// Gateways that could not be dialled.
    pub(super) tried: Vec<Gateway>,
    /// Where the client's connections went so far.
    pub(super) remembered: Option<Remembered>,
    /// Random bits of calls.
    pub(super) random: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let mut client = pod("shop", "client", "10.0.0.1", "here");
        client.addresses.push("fd00::1".parse().unwrap());
        let mut world = Self {
            store: Store::new(),
            client,
            settings: Settings { node_local: true },
            names: Vec::new(),
            tried: Vec::new(),
            remembered: None,
            random: 1,
        };
        world.put(world.client.clone());
        world
    }

    /// Adds or replaces a workload.
    pub(super) fn put(&mut self, workload: Workload) -> &mut Self {
        self.apply(Update { workloads: vec![Change::Upsert(workload)], ..Update::default() })
    }

    /// Adds or replaces a service.
    pub(super) fn serve(&mut self, service: Service) -> &mut Self {
        self.apply(Update { services: vec![Change::Upsert(service)], ..Update::default() })
    }

    /// Takes out a service.
    pub(super) fn unserve(&mut self, service: &Service) -> &mut Self {
        let key = service.key.clone();
        self.apply(Update { services: vec![Change::Remove(key)], ..Update::default() })
    }

    /// Adds or replaces a policy.
    pub(super) fn govern(&mut self, policy: Policy) -> &mut Self {
        self.apply(Update { policies: vec![Change::Upsert(policy)], ..Update::default() })
    }

    /// Takes out a policy.
    pub(super) fn ungovern(&mut self, name: &PolicyName) -> &mut Self {
        self.apply(Update { policies: vec![Change::Remove(name.clone())], ..Update::default() })
    }

    /// Takes out a workload.
    pub(super) fn remove(&mut self, workload: &Workload) -> &mut Self {
        let uid = workload.uid.clone();
        self.apply(Update { workloads: vec![Change::Remove(uid)], ..Update::default() })
    }

    /// Adds or replaces a gateway of another network.
    pub(super) fn gate(&mut self, gateway: NetworkGateway) -> &mut Self {
        self.apply(Update { gateways: vec![Change::Upsert(gateway)], ..Update::default() })
    }

    /// Takes out a gateway of another network.
    pub(super) fn ungate(&mut self, key: &str) -> &mut Self {
        self.apply(Update { gateways: vec![Change::Remove(key.into())], ..Update::default() })
    }

    /// Adds or replaces a NetworkPolicy.
    pub(super) fn guard(&mut self, policy: NetworkPolicy) -> &mut Self {
        self.apply(Update { network_policies: vec![Change::Upsert(policy)], ..Update::default() })
    }

    /// What namespace `shop` says of unknown destinations, and what it lists.
    pub(super) fn egress_list(&mut self, egress: EgressMode, list: &str) -> &mut Self {
        let egress_allow = EgressList(list.split(',').map(|entry| entry.parse().unwrap()).collect());
        let settings = NamespaceSettings { egress, egress_allow, ..NamespaceSettings::new("shop") };
        self.apply(Update { namespaces: vec![Change::Upsert(settings)], ..Update::default() })
    }

    /// What namespace `shop` says of unknown destinations.
    pub(super) fn egress(&mut self, egress: EgressMode) -> &mut Self {
        let settings = NamespaceSettings { egress, ..NamespaceSettings::new("shop") };
        self.apply(Update { namespaces: vec![Change::Upsert(settings)], ..Update::default() })
    }

    /// Adds a node.
    pub(super) fn node(&mut self, name: &str, ip: &str) -> &mut Self {
        let addresses = [ip.parse::<IpAddr>().unwrap()].into_iter().collect();
        let node = HostNode { name: name.into(), addresses, ..HostNode::default() };
        self.apply(Update { nodes: vec![Change::Upsert(node)], ..Update::default() })
    }

    /// What becomes of the client's connection to `destination`.
    pub(super) fn call(&self, destination: &str) -> Result<Plan, Refused> {
        self.call_again(destination, &[])
    }

    /// The same, after endpoints could not be dialled.
    pub(super) fn call_again(&self, destination: &str, exclude: &[EndpointTarget]) -> Result<Plan, Refused> {
        let recall = |_: &ServiceKey, _: u16| self.remembered.clone();
        let destination = destination.parse().unwrap();
        let call = Call {
            source: &self.client,
            destination,
            random: self.random,
            recall: &recall,
            names: &|_| self.names.clone(),
            exclude,
            exclude_gateways: &self.tried,
        };
        outbound(&self.store.snapshot(), self.settings, &call)
    }

    /// Why the client's connection to `destination` is refused.
    pub(super) fn refusal(&self, destination: &str) -> Refusal {
        *self.call(destination).unwrap_err().refusal
    }

    fn apply(&mut self, update: Update) -> &mut Self {
        self.store.apply(update);
        self
    }
}

/// A captured pod.
pub(crate) fn pod(namespace: &str, name: &str, ip: &str, node: &str) -> Workload {
    Workload {
        uid: WorkloadUid(format!("Kubernetes//Pod/{namespace}/{name}").into()),
        pod_uid: Some(PodUid(format!("{namespace}-{name}").into())),
        name: name.into(),
        addresses: [ip.parse().unwrap()].into_iter().collect(),
        hostname: None,
        node: Arc::new(HostNode { name: node.into(), ..HostNode::default() }),
        profile: Arc::new(profile(namespace, name)),
        capture: Capture::Enabled,
        healthy: true,
        terminating: false,
        weight: 1,
        services: [].into(),
    }
}

fn profile(namespace: &str, name: &str) -> Profile {
    Profile {
        namespace: namespace.into(),
        service_account: name.into(),
        trust_domain: "cluster.local".parse().unwrap(),
        network: Network::default(),
        cluster: ClusterId("Kubernetes".into()),
        kind: WorkloadKind::Deployment,
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
    }
}

/// The workload, with another profile.
pub(crate) fn with_profile(mut workload: Workload, change: impl FnOnce(&mut Profile)) -> Workload {
    change(Arc::make_mut(&mut workload.profile));
    workload
}

/// The workload, not part of the mesh.
pub(super) fn off(mut workload: Workload) -> Workload {
    workload.capture = Capture::Off;
    with_profile(workload, |profile| profile.protocol = TunnelProtocol::Tcp)
}

/// The workload, labelled and not captured yet.
pub(super) fn pending(mut workload: Workload) -> Workload {
    workload.capture = Capture::Pending;
    workload
}

/// A Service at an address, with port 80 and these pods' port 8080 as endpoints.
pub(crate) fn service(namespace: &str, name: &str, vip: &str, pods: &[&Workload]) -> Service {
    let hostname = Hostname(format!("{name}.{namespace}.svc.cluster.local").into());
    Service {
        key: ServiceKey { namespace: namespace.into(), hostname },
        name: name.into(),
        addresses: [at(vip)].into_iter().collect(),
        ranges: [].into(),
        ports: [port(80)].into(),
        endpoints: pods.iter().map(|pod| endpoint(target(pod), 80, 8080)).collect(),
        canonical: true,
        created: 0,
        load_balancing: LoadBalancing::default(),
        resolution: Resolution::Static,
        subject_alt_names: [].into(),
        waypoint: None,
        visible_to: None,
    }
}

/// A port of a service.
pub(super) fn port(port: u16) -> ServicePort {
    let target = TargetPort::Number(8080);
    ServicePort { name: "".into(), port, target, node_port: 0, protocol: AppProtocol::Unknown }
}

/// A ready endpoint.
pub(super) fn endpoint(target: EndpointTarget, from: u16, to: u16) -> Endpoint {
    Endpoint { target, ports: [(from, to)].into(), ready: true, serving: true, terminating: false }
}

/// The pod as an endpoint.
pub(super) fn target(pod: &Workload) -> EndpointTarget {
    EndpointTarget::Workload(pod.uid.clone(), pod.addresses[0])
}

/// A policy of namespace `shop` that denies whoever has no identity, as STRICT does.
pub(super) fn strict() -> Policy {
    let nobody = Match { not_principals: vec![Pattern::parse("*")], ..Match::default() };
    deny("strict", nobody)
}

/// A policy of namespace `shop` that denies what matches.
pub(super) fn deny(name: &str, matched: Match) -> Policy {
    Policy {
        name: PolicyName::new("shop", name),
        scope: Scope::Namespace,
        action: Action::Deny,
        dry_run: false,
        rules: vec![Rule::of([Clause::of([matched])])],
    }
}

/// An address in the default network.
pub(super) fn at(ip: &str) -> NetworkAddress {
    ip.parse::<IpAddr>().unwrap().into()
}

/// A socket address.
pub(super) fn to(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// Where a plan in plaintext goes.
pub(super) fn place(upstream: &Upstream) -> String {
    match &upstream.place {
        mesh::Place::Address(address) => SocketAddr::new(address.ip, upstream.port).to_string(),
        mesh::Place::Name(name) => format!("{name}:{}", upstream.port),
        mesh::Place::Network(network) => format!("on {}:{}", network.as_str(), upstream.port),
    }
}
