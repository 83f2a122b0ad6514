//! Sample objects.

use std::net::IpAddr;
use std::sync::Arc;

use mesh::{
    AppProtocol, Capture, Change, ClusterId, Endpoint, EndpointTarget, HostNode, Hostname, LoadBalancing,
    Locality, Network, NetworkAddress, PodUid, Profile, Resolution, Service, ServiceKey, ServicePort,
    TargetPort, TunnelProtocol, Update, Workload, WorkloadKind, WorkloadUid,
};

/// An enrolled pod.
pub(crate) fn pod(namespace: &str, name: &str, ip: &str) -> Workload {
    Workload {
        uid: uid(namespace, name),
        pod_uid: Some(PodUid(format!("pod-{namespace}-{name}").into())),
        name: name.into(),
        addresses: [ip.parse().unwrap()].into_iter().collect(),
        hostname: None,
        node: Arc::new(HostNode::default()),
        profile: Arc::new(profile(namespace)),
        capture: Capture::Enabled,
        healthy: true,
        terminating: false,
        weight: 1,
        services: [].into(),
    }
}

/// A Service with addresses and one port, 80 to 8080.
pub(crate) fn service(namespace: &str, name: &str, addresses: &[&str]) -> Service {
    Service {
        key: key(namespace, name),
        name: name.into(),
        addresses: addresses.iter().map(|ip| NetworkAddress::from(ip.parse::<IpAddr>().unwrap())).collect(),
        ranges: [].into(),
        ports: [ServicePort {
            name: "http".into(),
            port: 80,
            target: TargetPort::Number(8080),
            node_port: 0,
            protocol: AppProtocol::Http11,
        }]
        .into(),
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

/// The pod, with another profile.
pub(crate) fn with_profile(mut pod: Workload, change: impl FnOnce(&mut Profile)) -> Workload {
    change(Arc::make_mut(&mut pod.profile));
    pod
}

/// The pod, in its node's network, where it speaks HBONE itself on that port.
pub(crate) fn native(pod: Workload, port: u16) -> Workload {
    with_profile(host_network(pod), |profile| profile.native_ports = [port].into())
}

/// The pod, in its node's network.
pub(crate) fn host_network(pod: Workload) -> Workload {
    with_profile(pod, |profile| profile.host_network = true)
}

/// The uid of a pod.
pub(crate) fn uid(namespace: &str, name: &str) -> WorkloadUid {
    WorkloadUid(format!("Kubernetes//Pod/{namespace}/{name}").into())
}

/// The key of a Service.
pub(crate) fn key(namespace: &str, name: &str) -> ServiceKey {
    let hostname = Hostname(format!("{name}.{namespace}.svc.cluster.local").into());
    ServiceKey { namespace: namespace.into(), hostname }
}

/// An update of workloads.
pub(crate) fn workloads(list: impl IntoIterator<Item = Workload>) -> Update {
    Update { workloads: list.into_iter().map(Change::Upsert).collect(), ..Update::default() }
}

/// An update of services.
pub(crate) fn services(list: impl IntoIterator<Item = Service>) -> Update {
    Update { services: list.into_iter().map(Change::Upsert).collect(), ..Update::default() }
}

/// An address in the default network.
pub(crate) fn at(ip: &str) -> NetworkAddress {
    ip.parse::<IpAddr>().unwrap().into()
}

/// A ready endpoint at a pod's first address, 80 to 8080.
pub(crate) fn endpoint(pod: &Workload) -> Endpoint {
    let target = EndpointTarget::Workload(pod.uid.clone(), pod.addresses[0]);
    Endpoint { target, ports: [(80, 8080)].into(), ready: true, serving: true, terminating: false }
}

/// The pod, on a node of a zone.
pub(crate) fn on(mut pod: Workload, node: &str, zone: &str) -> Workload {
    let locality = Locality { zone: zone.into(), ..Locality::default() };
    pod.node = Arc::new(HostNode { name: node.into(), locality, ..HostNode::default() });
    pod
}

fn profile(namespace: &str) -> Profile {
    Profile {
        namespace: namespace.into(),
        service_account: "default".into(),
        trust_domain: "cluster.local".parse().unwrap(),
        network: Network::default(),
        cluster: ClusterId("Kubernetes".into()),
        kind: WorkloadKind::Deployment,
        workload_name: "deployment".into(),
        canonical_name: "deployment".into(),
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
