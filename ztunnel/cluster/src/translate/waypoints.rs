//! Which waypoint an object asks for, and where that answers.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use mesh::{NetworkAddress, WaypointRef};

use super::note::{Notes, Remark};
use super::{Scene, Settings, names, network_gateways};
use crate::objects::{FromNamespaces, Gateway, Metadata, ObjectRef, Objects, Service};

/// Gateways that are waypoints, by namespace and name.
#[derive(Debug)]
pub(super) struct Waypoints<'a>(HashMap<(&'a str, &'a str), Waypoint<'a>, RandomState>);

/// What a waypoint is asked to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    Service,
    Workload,
}

#[derive(Debug)]
struct Waypoint<'a> {
    gateway: &'a Gateway,
    port: u16,
    /// Whether it takes traffic for services, for workloads.
    takes: (bool, bool),
    address: Option<NetworkAddress>,
    /// Of the namespaces that may use it: those whose objects are refused are told apart by name.
    admits: Vec<&'a str>,
}

/// What an object asks for.
struct Wish<'a> {
    namespace: &'a str,
    name: &'a str,
    /// The object itself says so, not its namespace.
    own: bool,
}

impl<'a> Waypoints<'a> {
    pub(super) fn new(objects: &'a Objects, settings: &Settings) -> Self {
        if objects.gateways.is_empty() {
            return Self(HashMap::default());
        }
        let services: HashMap<_, _, RandomState> = objects
            .services
            .iter()
            .map(|service| ((&*service.metadata.namespace, &*service.metadata.name), &**service))
            .collect();
        let waypoint = |gateway: &'a Arc<Gateway>| {
            if network_gateways::is_remote(gateway) {
                return None;
            }
            let listener = gateway.tunnel_listener()?;
            let rule = &listener.allowed_routes.namespaces;
            let admitted =
                objects.namespaces.iter().map(|namespace| &namespace.metadata).filter(|namespace| match rule
                    .from
                {
                    FromNamespaces::Selector => rule.selector.selects(&namespace.labels),
                    FromNamespaces::All | FromNamespaces::Same | FromNamespaces::Unknown => false,
                });
            let waypoint = Waypoint {
                gateway,
                port: if listener.port == 0 { HBONE_PORT } else { listener.port },
                takes: takes(gateway),
                address: address(gateway, &services, settings),
                admits: admitted.map(|namespace| &*namespace.name).collect(),
            };
            Some(((&*gateway.metadata.namespace, &*gateway.metadata.name), waypoint))
        };
        Self(objects.gateways.iter().filter_map(waypoint).collect())
    }

    /// Whether an object is part of a waypoint: those have none themselves.
    pub(super) fn is_part_of(&self, metadata: &Metadata) -> bool {
        let managed = metadata.label(names::GATEWAY_MANAGED);
        let gateway = metadata.label(names::GATEWAY_NAME);
        matches!(managed, Some("istio.io-mesh-controller" | "istio.io-eastwest-controller"))
            || gateway.is_some_and(|name| self.0.contains_key(&(&*metadata.namespace, name)))
    }
}

impl Scene<'_> {
    /// The waypoint that traffic to an object goes through. One that isn't there or doesn't answer has no address.
    pub(super) fn waypoint(
        &self,
        metadata: &Metadata,
        traffic: Traffic,
        notes: &mut Notes,
    ) -> Option<WaypointRef> {
        let wish = self.wish(metadata)?;
        if self.waypoints.is_part_of(metadata) {
            return None;
        }
        let reference = ObjectRef {
            kind: names::GATEWAY.into(),
            namespace: wish.namespace.into(),
            name: wish.name.into(),
        };
        let Some(waypoint) = self.waypoints.0.get(&(wish.namespace, wish.name)) else {
            // What it would have taken is not known; unless it says otherwise, a waypoint takes services.
            if traffic == Traffic::Workload && !wish.own {
                return None;
            }
            notes.add(reference.clone(), Remark::WaypointMissing);
            return Some(refused(&reference));
        };
        let takes = match traffic {
            Traffic::Service => waypoint.takes.0,
            Traffic::Workload => waypoint.takes.1,
        };
        if !takes {
            return None;
        }
        if !waypoint.admits(&metadata.namespace) {
            notes.add(reference.clone(), Remark::AttachmentRefused { namespace: metadata.namespace.clone() });
            return Some(refused(&reference));
        }
        if waypoint.address.is_none() {
            notes.add(reference.clone(), Remark::WaypointNotReady);
        }
        Some(WaypointRef { address: waypoint.address.clone(), port: waypoint.port, ..refused(&reference) })
    }

    /// The object's own label counts, even if it says `none`; else its namespace's.
    fn wish<'a>(&'a self, metadata: &'a Metadata) -> Option<Wish<'a>> {
        let labelled = |labelled: &'a Metadata, own| {
            let name = labelled.label(names::USE_WAYPOINT).filter(|name| !name.is_empty())?;
            let namespace = labelled.label(names::USE_WAYPOINT_NAMESPACE).filter(|it| !it.is_empty());
            Some(Wish { namespace: namespace.unwrap_or(&metadata.namespace), name, own })
        };
        let of_namespace = || labelled(self.namespaces.of(&metadata.namespace)?, false);
        labelled(metadata, true).or_else(of_namespace).filter(|wish| wish.name != "none")
    }
}

impl Waypoint<'_> {
    fn admits(&self, namespace: &str) -> bool {
        let rule = self.gateway.tunnel_listener().map(|listener| listener.allowed_routes.namespaces.from);
        *self.gateway.metadata.namespace == *namespace
            || rule == Some(FromNamespaces::All)
            || self.admits.contains(&namespace)
    }
}

fn refused(gateway: &ObjectRef) -> WaypointRef {
    let ObjectRef { namespace, name, .. } = gateway.clone();
    WaypointRef { namespace, name, address: None, port: HBONE_PORT }
}

fn takes(gateway: &Gateway) -> (bool, bool) {
    match gateway.metadata.label(names::WAYPOINT_FOR) {
        Some("all") => (true, true),
        Some("none") => (false, false),
        Some("workload") => (false, true),
        Some(_) | None => (true, false),
    }
}

/// Where it answers: at the Service that its status names, else at an address that its status has.
fn address(
    gateway: &Gateway,
    services: &HashMap<(&str, &str), &Service, RandomState>,
    settings: &Settings,
) -> Option<NetworkAddress> {
    let addresses = &gateway.status.addresses;
    let of_service = addresses.iter().filter(|address| &*address.r#type == "Hostname").find_map(|address| {
        let suffix = format!(".svc.{}", settings.cluster_domain);
        let (name, namespace) = address.value.strip_suffix(suffix.as_str())?.split_once('.')?;
        services.get(&(namespace, name))?.spec.cluster_addresses().next()
    });
    let is_ip = |kind: &str| matches!(kind, "" | "IPAddress");
    let own = || addresses.iter().find_map(|it| is_ip(&it.r#type).then(|| it.value.parse().ok())?);
    Some(NetworkAddress::new(settings.network.clone(), of_service.or_else(own)?))
}

/// Where a waypoint takes tunnels unless its listener says otherwise.
const HBONE_PORT: u16 = 15008;
