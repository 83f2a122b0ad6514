//! Endpoints: where a service's ports are on each workload.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use mesh::{Endpoint, EndpointTarget, NetworkAddress, ServiceKey, ServicePort, TargetPort};

use super::Settings;
use super::workloads::{Origin, Placed, Workloads};
use crate::objects::{AddressType, EndpointSlice, Objects, Protocol, SliceEndpoint};

/// EndpointSlices by namespace and Service.
pub(super) struct Slices<'a>(HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>, RandomState>);

impl<'a> Slices<'a> {
    pub(super) fn new(objects: &'a Objects) -> Self {
        let mut slices: HashMap<_, Vec<&'a EndpointSlice>, _> = HashMap::default();
        for slice in &objects.endpoint_slices {
            if let Some(service) = slice.service().filter(|_| slice.address_type == AddressType::Ip) {
                slices.entry((&*slice.metadata.namespace, service)).or_default().push(slice);
            }
        }
        Self(slices)
    }

    pub(super) fn of(&self, namespace: &'a str, service: &'a str) -> Option<&[&'a EndpointSlice]> {
        self.0.get(&(namespace, service)).map(Vec::as_slice)
    }
}

/// The endpoints that slices list.
pub(super) fn listed(
    slices: &[&EndpointSlice],
    key: &ServiceKey,
    ports: &[ServicePort],
    workloads: &mut Workloads<'_>,
    settings: &Settings,
) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for slice in slices {
        let ports = slice_ports(slice, ports);
        for listed in &slice.endpoints {
            let Some(ip) = listed.addresses.first().and_then(|address| address.parse().ok()) else {
                continue;
            };
            let place = pod(listed, &key.namespace, ip, workloads);
            let target = match place {
                Some(place) => {
                    workloads.serves(place, key);
                    EndpointTarget::Workload(workloads.at(place).workload.uid.clone(), ip)
                }
                None => EndpointTarget::Address(NetworkAddress::new(settings.network.clone(), ip)),
            };
            let ready = listed.conditions.ready.unwrap_or(true);
            endpoints.push(Endpoint {
                target,
                ports: ports.clone(),
                ready,
                serving: listed.conditions.serving.unwrap_or(ready),
                terminating: listed.conditions.terminating.unwrap_or(false),
            });
        }
    }
    endpoints
}

/// The endpoints that selected workloads are.
pub(super) fn selected(
    places: &[usize],
    key: &ServiceKey,
    ports: &[ServicePort],
    admits: impl Fn(IpAddr) -> bool,
    workloads: &mut Workloads<'_>,
) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    let mut last: Arc<[(u16, u16)]> = Arc::from([]);
    for &place in places {
        let placed = workloads.at(place);
        let own = own_ports(placed, ports);
        // Workloads of one service are alike, nearly always: they share the list.
        if *last != *own {
            last = own.into();
        }
        let before = endpoints.len();
        endpoints.extend(of_workload(placed, &last, &admits));
        if endpoints.len() > before {
            workloads.serves(place, key);
        }
    }
    endpoints
}

/// One endpoint for each address of a workload; one in all for a workload on another network.
pub(super) fn of_workload<'a>(
    placed: &'a Placed<'_>,
    ports: &'a Arc<[(u16, u16)]>,
    admits: &'a impl Fn(IpAddr) -> bool,
) -> impl Iterator<Item = Endpoint> + 'a {
    let workload = &placed.workload;
    let serving = match placed.origin {
        Origin::Pod(pod) => pod.is_ready(),
        Origin::Entry(_) | Origin::Listed => true,
    };
    let remote = placed.remote.then(|| EndpointTarget::Remote(workload.uid.clone()));
    let here = remote.is_none();
    let addresses = workload.addresses.iter().copied().filter(move |ip| here && admits(*ip));
    let of_addresses = addresses.map(|ip| EndpointTarget::Workload(workload.uid.clone(), ip));
    let of_name =
        workload.hostname.as_ref().filter(|_| here).map(|_| EndpointTarget::Hostname(workload.uid.clone()));
    of_addresses.chain(of_name).chain(remote).map(move |target| Endpoint {
        target,
        ports: ports.clone(),
        ready: workload.healthy,
        serving,
        terminating: workload.terminating,
    })
}

fn pod(listed: &SliceEndpoint, namespace: &str, ip: IpAddr, workloads: &Workloads<'_>) -> Option<usize> {
    match listed.pod() {
        Some(name) => workloads.pod(namespace, name, ip),
        None => workloads.pod_at(ip),
    }
}

fn slice_ports(slice: &EndpointSlice, ports: &[ServicePort]) -> Arc<[(u16, u16)]> {
    let own = |port: &ServicePort| {
        let mut named = slice.ports.iter().filter(|own| own.protocol == Protocol::Tcp);
        let own = named.find(|own| own.name == port.name)?;
        Some((port.port, own.port.unwrap_or(port.port)))
    };
    ports.iter().filter_map(own).collect()
}

fn own_ports(placed: &Placed<'_>, ports: &[ServicePort]) -> Vec<(u16, u16)> {
    let own = |port: &ServicePort| match (&placed.origin, &port.target) {
        (Origin::Pod(pod), TargetPort::Named(name)) => pod.port(name),
        (Origin::Entry(spec), TargetPort::Named(name)) => spec.ports.get(name).copied(),
        (Origin::Entry(spec), TargetPort::Number(number)) => {
            Some(spec.ports.get(&port.name).copied().unwrap_or(*number))
        }
        (Origin::Listed, TargetPort::Named(_)) => None,
        (Origin::Listed | Origin::Pod(_), TargetPort::Number(number)) => Some(*number),
    };
    ports.iter().filter_map(|port| Some((port.port, own(port)?))).collect()
}
