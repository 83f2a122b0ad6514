//! Connections that go through a waypoint, or are refused while it doesn't answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh::{Family, NetworkAddress, Place, Service, Snapshot, WaypointRef, Workload};

use super::outbound::{Decision, identities};
use super::{Plan, Refusal, Refused, Tunnel, Upstream};

impl Decision<'_> {
    /// To the waypoint of `service` or `workload`, which is told the original destination.
    pub(super) fn to_waypoint(
        &self,
        waypoint: &WaypointRef,
        service: Option<&Arc<Service>>,
        workload: Option<&Arc<Workload>>,
    ) -> Result<Plan, Refused> {
        let refused =
            |refusal| Refused { workload: workload.cloned(), ..Refused::new(refusal).of_service(service) };
        let (namespace, name) = (waypoint.namespace.clone(), waypoint.name.clone());
        let Some(address) = &waypoint.address else {
            return Err(refused(Refusal::WaypointNotReady { namespace, name }));
        };
        if address.network != self.call.source.profile.network {
            let network = address.network.clone();
            return Err(refused(Refusal::WaypointElsewhere { namespace, name, network }));
        }
        if let Some(own) = self.snapshot.service_with_address(address, waypoint.port, &waypoint.namespace) {
            let family = Some(Family::of(address.ip));
            let chosen = self
                .select(own, waypoint.port, family, &[])
                .map_err(|source| refused(Refusal::WaypointDown { namespace, name, source }))?;
            let upstream = Upstream::chosen(chosen, &own.key, waypoint.port, service);
            return self.by_waypoint(upstream, waypoint, own).map_err(refused);
        }
        let upstream = Upstream {
            place: Place::Address(address.clone()),
            port: waypoint.port,
            workload: self.snapshot.workload_by_address(address).cloned(),
            service: service.cloned(),
            picked: None,
        };
        self.tunnel(upstream, address.ip, waypoint, None).map_err(refused)
    }

    fn by_waypoint(
        &self,
        mut upstream: Upstream,
        waypoint: &WaypointRef,
        own: &Arc<Service>,
    ) -> Result<Plan, Refusal> {
        let (namespace, name) = (waypoint.namespace.clone(), waypoint.name.clone());
        let NetworkAddress { network, ip } = match upstream.place.clone() {
            Place::Address(address) if address.network == self.call.source.profile.network => address,
            Place::Address(NetworkAddress { network, .. }) | Place::Network(network) => {
                return Err(Refusal::WaypointElsewhere { namespace, name, network });
            }
            Place::Name(_) => return Err(Refusal::WaypointUnknown { namespace, name }),
        };
        if upstream.workload.is_none() {
            let at = NetworkAddress::new(network, ip);
            upstream.workload = self.snapshot.workload_by_address(&at).cloned();
        }
        self.tunnel(upstream, ip, waypoint, Some(own))
    }

    /// A tunnel to an instance of the waypoint, which must be somebody whom the mesh knows.
    fn tunnel(
        &self,
        upstream: Upstream,
        ip: IpAddr,
        waypoint: &WaypointRef,
        own: Option<&Arc<Service>>,
    ) -> Result<Plan, Refusal> {
        let Some(instance) = &upstream.workload else {
            let (namespace, name) = (waypoint.namespace.clone(), waypoint.name.clone());
            return Err(Refusal::WaypointUnknown { namespace, name });
        };
        let Some(identities) = identities(instance, own) else {
            return Err(Refusal::NoIdentity { workload: instance.uid.clone() });
        };
        Ok(Plan::Waypoint(Tunnel {
            address: SocketAddr::new(ip, upstream.port),
            upstream,
            authority: self.destination,
            identities,
            waypoint: Some(waypoint.into()),
        }))
    }
}

/// Whether the workload is that very waypoint: what it sends on has been through it.
pub(super) fn is_at(workload: &Workload, snapshot: &Snapshot, waypoint: &WaypointRef) -> bool {
    let Some(address) = &waypoint.address else { return false };
    if address.network == workload.profile.network && workload.addresses.contains(&address.ip) {
        return true;
    }
    // Most callers are in no service of the waypoint's namespace: they need no look-up.
    let may_be = workload.services.iter().any(|key| key.namespace == waypoint.namespace);
    may_be
        && snapshot
            .service_with_address(address, waypoint.port, &waypoint.namespace)
            .is_some_and(|own| workload.services.contains(&own.key))
}
