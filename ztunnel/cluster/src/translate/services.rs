//! Services.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use mesh::{Hostname, NetworkAddress, Resolution, Service, ServiceKey, ServicePort, TargetPort};
use smallvec::SmallVec;

use super::endpoints::{self, Slices};
use super::namespaces::invalid;
use super::note::{Notes, Remark};
use super::selectors::Namespaced;
use super::waypoints::Traffic;
use super::workloads::Workloads;
use super::{Scene, app_protocol, balancing, names};
use crate::objects::{self, IpFamily, IpMode, Metadata, ObjectRef, PortRef, Protocol, Selector, ServiceType};

/// All Services, with their endpoints: those that EndpointSlices list; where there are none, the pods and
/// WorkloadEntries that the Service selects. WorkloadEntries on other networks are in no slice.
pub(super) fn all<'a>(
    scene: &Scene<'a>,
    workloads: &mut Workloads<'_>,
    notes: &mut Notes,
) -> BTreeMap<ServiceKey, Service> {
    let slices = Slices::new(scene.objects);
    let slices_of = |metadata: &'a Metadata| slices.of(&metadata.namespace, &metadata.name);
    let services = &scene.objects.services;
    let selectors = services.iter().map(|service| {
        let selector = &service.spec.selector;
        let needed = workloads.has_remote() || slices_of(&service.metadata).is_none();
        let needed = needed && !selector.is_empty();
        (&service.metadata.namespace, needed.then(|| selector.clone().into()))
    });
    let selected = select(selectors, workloads);
    let mut all = BTreeMap::new();
    for (object, selected) in services.iter().zip(selected) {
        if object.spec.r#type == ServiceType::ExternalName {
            continue;
        }
        let mut service = described(scene, object, notes.of(&object.metadata.namespace));
        service.endpoints = match slices_of(&object.metadata) {
            Some(slices) => {
                let mut endpoints =
                    endpoints::listed(slices, &service.key, &service.ports, workloads, scene.settings);
                // No slice lists what is on another network.
                let remote: Vec<_> =
                    selected.into_iter().filter(|place| workloads.at(*place).remote).collect();
                let of = (&service.key, &*service.ports);
                endpoints.extend(endpoints::selected(&remote, of.0, of.1, |_| true, workloads));
                endpoints
            }
            None => {
                let admits = |ip| admits(&object.spec, ip);
                endpoints::selected(&selected, &service.key, &service.ports, admits, workloads)
            }
        }
        .into();
        all.insert(service.key.clone(), service);
    }
    all
}

/// For each selector, the places of the workloads of its namespace that it selects. Nothing is selected by none.
pub(super) fn select<'s>(
    selectors: impl ExactSizeIterator<Item = (&'s Arc<str>, Option<Selector>)>,
    workloads: &Workloads<'_>,
) -> Vec<Vec<usize>> {
    let mut selected = vec![Vec::new(); selectors.len()];
    let mut index = Namespaced::default();
    for (at, (namespace, selector)) in selectors.enumerate() {
        if let Some(selector) = selector {
            index.insert(namespace, selector, at);
        }
    }
    for (place, placed) in workloads.selectable() {
        for at in index.selecting(&placed.workload.profile.namespace, &placed.labels) {
            selected[*at].push(place);
        }
    }
    selected
}

/// Everything but the endpoints.
fn described(scene: &Scene<'_>, object: &objects::Service, notes: &mut Notes) -> Service {
    let objects::Service { metadata, spec, .. } = object;
    note_canary(metadata, names::SERVICE, notes);
    let domain = &scene.settings.cluster_domain;
    let hostname = format!("{}.{}.svc.{domain}", metadata.name, metadata.namespace);
    let ports = spec.ports.iter().filter(|port| port.protocol == Protocol::Tcp).map(|port| ServicePort {
        name: port.name.clone(),
        port: port.port,
        target: match &port.target_port {
            None | Some(PortRef::Number(0)) => TargetPort::Number(port.port),
            Some(PortRef::Number(number)) => TargetPort::Number(*number),
            Some(PortRef::Name(name)) => TargetPort::Named(name.clone()),
        },
        node_port: port.node_port,
        protocol: app_protocol::of_service(port.app_protocol.as_deref(), &port.name),
    });
    Service {
        key: ServiceKey { namespace: metadata.namespace.clone(), hostname: Hostname(hostname.into()) },
        name: metadata.name.clone(),
        addresses: addresses(scene, object),
        ranges: Arc::from([]),
        ports: ports.collect(),
        endpoints: Arc::from([]),
        canonical: true,
        created: metadata.creation_timestamp.0,
        load_balancing: balancing::of_service(scene, object),
        resolution: Resolution::Static,
        subject_alt_names: Arc::from([]),
        waypoint: scene.waypoint(metadata, Traffic::Service, notes),
        visible_to: visible_to(metadata, names::SERVICE, annotated(metadata), notes),
    }
}

fn addresses(scene: &Scene<'_>, object: &objects::Service) -> SmallVec<[NetworkAddress; 2]> {
    let spec = &object.spec;
    let of_balancer = object.status.load_balancer.ingress.iter();
    // Traffic must not go around a load balancer that is a proxy.
    let of_balancer = of_balancer.filter(|it| it.ip_mode == IpMode::Vip).filter_map(|it| it.ip);
    let mut addresses = SmallVec::new();
    for ip in spec.cluster_addresses().chain(spec.external_ips.iter().copied()).chain(of_balancer) {
        let address = NetworkAddress::new(scene.settings.network.clone(), ip);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// Whether endpoints may have the address: of a family that the Service has, as it says or as its own addresses show.
fn admits(spec: &objects::ServiceSpec, ip: IpAddr) -> bool {
    if !spec.ip_families.is_empty() {
        let family = if ip.is_ipv4() { IpFamily::V4 } else { IpFamily::V6 };
        return spec.ip_families.contains(&family);
    }
    let mut own = spec.cluster_addresses().peekable();
    own.peek().is_none() || own.any(|own| own.is_ipv4() == ip.is_ipv4())
}

/// The namespaces that see a service; none means all. `.` stands for its own, `*` for all and `~` for none.
pub(super) fn visible_to(
    metadata: &Metadata,
    kind: &str,
    export_to: Vec<&str>,
    notes: &mut Notes,
) -> Option<Arc<[Arc<str>]>> {
    if export_to.is_empty() || export_to.contains(&"*") {
        return None;
    }
    let mut seen = Vec::new();
    for name in export_to {
        match name {
            "." => seen.push(metadata.namespace.clone()),
            "~" => {}
            name if is_name(name) => seen.push(name.into()),
            other => notes.add(ObjectRef::of(kind, metadata), invalid("exportTo", other)),
        }
    }
    Some(seen.into())
}

/// Traffic is not divided between waypoints here.
pub(super) fn note_canary(metadata: &Metadata, kind: &str, notes: &mut Notes) {
    if metadata.label(names::USE_WAYPOINT_CANARY).is_some() {
        let remark = Remark::Unsupported { field: names::USE_WAYPOINT_CANARY.into() };
        notes.add(ObjectRef::of(kind, metadata), remark);
    }
}

fn annotated(metadata: &Metadata) -> Vec<&str> {
    let list = metadata.annotation(names::EXPORT_TO).unwrap_or_default();
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

fn is_name(name: &str) -> bool {
    name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-')
}
