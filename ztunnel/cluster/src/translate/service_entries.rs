//! ServiceEntries -> one service for each host.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use identity::SpiffeId;
use ipnet::IpNet;
use mesh::{
    Endpoint, Hostname, Network, NetworkAddress, Resolution, Service, ServiceKey, ServicePort, TargetPort,
};
use smallvec::SmallVec;

use super::entries::{self, Entry};
use super::namespaces::invalid;
use super::note::{Notes, Remark};
use super::waypoints::Traffic;
use super::workloads::{Origin, Workloads};
use super::{Scene, app_protocol, balancing, endpoints, names, services};
use crate::objects::{EntryResolution, Labels, ObjectRef, ServiceEntry, ServiceEntryPort, WorkloadEntrySpec};

/// Adds the services of all ServiceEntries. Where a host name is in a namespace already, a Service counts, else the
/// oldest ServiceEntry.
pub(super) fn add<'a>(
    scene: &Scene<'a>,
    workloads: &mut Workloads<'_>,
    services: &mut BTreeMap<ServiceKey, Service>,
    notes: &mut Notes,
) {
    let mut objects: Vec<&'a ServiceEntry> = scene.objects.service_entries.iter().map(|it| &**it).collect();
    objects.sort_by_key(|it| (it.metadata.creation_timestamp, &it.metadata.namespace, &it.metadata.name));
    let selectors = objects.iter().map(|object| {
        let selector = object.spec.workload_selector.as_ref().map(|it| it.labels().into());
        (&object.metadata.namespace, selector)
    });
    let selected = services::select(selectors, workloads);
    let mut owners: HashMap<ServiceKey, ObjectRef, RandomState> = HashMap::default();
    for (object, selected) in objects.into_iter().zip(selected) {
        let reference = ObjectRef::of(names::SERVICE_ENTRY, &object.metadata);
        let notes = notes.of(&object.metadata.namespace);
        services::note_canary(&object.metadata, names::SERVICE_ENTRY, notes);
        let listed = list(scene, object, workloads, notes);
        for host in &object.spec.hosts {
            let Some(hostname) = entries::hostname(host) else {
                notes.add(reference.clone(), invalid("spec.hosts", host));
                continue;
            };
            let key =
                ServiceKey { namespace: object.metadata.namespace.clone(), hostname: Hostname(hostname) };
            if let Some(known) = services.get(&key) {
                let winner = owners.get(&key).cloned().unwrap_or_else(|| ObjectRef {
                    kind: names::SERVICE.into(),
                    namespace: known.key.namespace.clone(),
                    name: known.name.clone(),
                });
                notes.add(reference.clone(), Remark::HostTaken { host: key.hostname.0.clone(), winner });
                continue;
            }
            let mut service = described(scene, object, &key, scene.vips.of(object, host), notes);
            service.endpoints = found(scene, object, &service, &listed, &selected, workloads);
            owners.insert(key.clone(), reference.clone());
            services.insert(key, service);
        }
    }
}

/// Everything but the endpoints.
fn described(
    scene: &Scene<'_>,
    object: &ServiceEntry,
    key: &ServiceKey,
    vips: &[std::net::IpAddr],
    notes: &mut Notes,
) -> Service {
    let ServiceEntry { metadata, spec, .. } = object;
    let reference = ObjectRef::of(names::SERVICE_ENTRY, metadata);
    let network = &scene.settings.network;
    let mut addresses: SmallVec<[NetworkAddress; 2]> =
        vips.iter().map(|ip| NetworkAddress::new(network.clone(), *ip)).collect();
    let mut ranges: Vec<(Network, IpNet)> = Vec::new();
    for text in &spec.addresses {
        match (text.parse(), text.parse::<IpNet>()) {
            (Ok(ip), _) => addresses.push(NetworkAddress::new(network.clone(), ip)),
            (_, Ok(range)) if range.prefix_len() == range.max_prefix_len() => {
                addresses.push(NetworkAddress::new(network.clone(), range.addr()));
            }
            (_, Ok(range)) => ranges.push((network.clone(), range)),
            _ => notes.add(reference.clone(), invalid("spec.addresses", text)),
        }
    }
    let identities = spec.subject_alt_names.iter().filter_map(|name| {
        let identity: Option<SpiffeId> = name.parse().ok();
        if identity.is_none() {
            notes.add(reference.clone(), invalid("spec.subjectAltNames", name));
        }
        identity
    });
    let subject_alt_names = identities.collect();
    Service {
        key: key.clone(),
        name: metadata.name.clone(),
        addresses,
        ranges: ranges.into(),
        ports: spec.ports.iter().filter(|port| is_tcp(port)).map(port).collect(),
        endpoints: Arc::from([]),
        canonical: false,
        created: metadata.creation_timestamp.0,
        load_balancing: balancing::of_entry(scene, metadata),
        resolution: match spec.resolution {
            EntryResolution::Dns => Resolution::Dns,
            EntryResolution::None => Resolution::Passthrough,
            EntryResolution::Static => Resolution::Static,
        },
        subject_alt_names,
        waypoint: scene.waypoint(metadata, Traffic::Service, notes),
        visible_to: services::visible_to(
            metadata,
            names::SERVICE_ENTRY,
            spec.export_to.iter().map(|name| &**name).collect(),
            notes,
        ),
    }
}

/// Makes workloads of the endpoints that the object lists; their places, and ports by place.
fn list<'a>(
    scene: &Scene<'_>,
    object: &'a ServiceEntry,
    workloads: &mut Workloads<'_>,
    notes: &mut Notes,
) -> Vec<(usize, &'a WorkloadEntrySpec)> {
    let mut seen = HashSet::new();
    let mut listed = Vec::new();
    for (at, spec) in object.spec.endpoints.iter().enumerate() {
        let name = if seen.insert(&spec.address) {
            spec.address.to_string()
        } else {
            format!("{}#{at}", spec.address)
        };
        if let Some(place) = add_listed(scene, object, &name, spec, workloads) {
            let network = workloads.at(place).workload.profile.network.as_str();
            if let Some(remark) = scene.networks.remark(network) {
                notes.add(ObjectRef::of(names::SERVICE_ENTRY, &object.metadata), remark);
            }
            listed.push((place, spec));
        }
    }
    listed
}

fn add_listed(
    scene: &Scene<'_>,
    object: &ServiceEntry,
    name: &str,
    spec: &WorkloadEntrySpec,
    workloads: &mut Workloads<'_>,
) -> Option<usize> {
    let metadata = &object.metadata;
    let entry = Entry {
        uid: format!("networking.istio.io/ServiceEntry/{}/{}/{name}", metadata.namespace, metadata.name),
        namespace: &metadata.namespace,
        name: &metadata.name,
        labels: &spec.labels,
        spec,
        native: spec.labels.get(names::TUNNEL).is_some_and(|value| &**value == "http"),
        waypoint: None,
        terminating: metadata.is_deleting(),
    };
    let workload = entry.workload(scene, workloads.profiles())?;
    Some(workloads.add(workload, Labels::default(), Origin::Listed))
}

/// The endpoints of one host: those listed and those selected; where neither is asked for, the host itself, by DNS.
fn found(
    scene: &Scene<'_>,
    object: &ServiceEntry,
    service: &Service,
    listed: &[(usize, &WorkloadEntrySpec)],
    selected: &[usize],
    workloads: &mut Workloads<'_>,
) -> Arc<[Endpoint]> {
    let spec = &object.spec;
    if spec.resolution == EntryResolution::None {
        return Arc::from([]);
    }
    let admits = |_| true;
    let mut endpoints = endpoints::selected(selected, &service.key, &service.ports, admits, workloads);
    let itself;
    let mut listed = listed;
    let host = &service.key.hostname.0;
    let by_name = spec.endpoints.is_empty() && spec.workload_selector.is_none() && !host.starts_with('*');
    let host_spec = WorkloadEntrySpec { address: host.clone(), ..WorkloadEntrySpec::default() };
    if spec.resolution == EntryResolution::Dns && by_name {
        itself = add_listed(scene, object, host, &host_spec, workloads).map(|place| (place, &host_spec));
        listed = itself.as_slice();
    }
    for (place, spec) in listed {
        let ports = service.ports.iter().map(|port| (port.port, listed_port(port, spec))).collect();
        endpoints.extend(endpoints::of_workload(workloads.at(*place), &ports, &admits));
        workloads.serves(*place, &service.key);
    }
    endpoints.into()
}

fn listed_port(port: &ServicePort, spec: &WorkloadEntrySpec) -> u16 {
    let target = match &port.target {
        TargetPort::Named(_) => port.port,
        TargetPort::Number(number) => *number,
    };
    spec.ports.get(&port.name).copied().unwrap_or(target)
}

fn is_tcp(port: &ServiceEntryPort) -> bool {
    !port.protocol.eq_ignore_ascii_case("udp")
}

fn port(port: &ServiceEntryPort) -> ServicePort {
    ServicePort {
        name: port.name.clone(),
        port: port.number,
        target: TargetPort::Number(port.target_port.filter(|port| *port > 0).unwrap_or(port.number)),
        node_port: 0,
        protocol: app_protocol::of_entry(&port.protocol),
    }
}
