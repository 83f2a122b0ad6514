//! Where a pod's connection goes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use certs::PeerIdentities;
use mesh::{
    Affinity, Capture, Chosen, EndpointTarget, Family, Network, NetworkAddress, NoEndpoint, Place,
    Remembered, Request, Resolution, Service, ServiceKey, Snapshot, TunnelProtocol, Workload, WorkloadKind,
    select,
};

use super::outside::outside;
use super::reach::{Called, address_of, is_protected, may_be_plain, receiver};
use super::waypoint;
use super::{Gateway, Passed, Picked, Plan, Refusal, Refused, Tunnel, Upstream, is_ours};
use crate::redirect::HBONE_PORT;

/// A pod's connection, before it is known where it goes.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The pod.
    pub source: &'a Workload,
    /// The address that it dialled.
    pub destination: SocketAddr,
    /// Random bits, for the choice among endpoints.
    pub random: u64,
    /// Says which endpoint the pod's connections to a port of a service go to. Only asked for services with affinity.
    pub recall: &'a dyn Fn(&ServiceKey, u16) -> Option<Remembered>,
    /// The names that the pod has resolved to an address of late. Only asked about addresses that nobody has, where that
    /// matters.
    pub names: &'a dyn Fn(IpAddr) -> Vec<Arc<str>>,
    /// Endpoints that could not be dialled.
    pub exclude: &'a [EndpointTarget],
    /// Gateways of other networks that could not be dialled, or did not let through.
    pub exclude_gateways: &'a [Gateway],
}

/// What holds for all decisions of a daemon.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether connections within the node may skip the tunnel.
    pub node_local: bool,
}

/// Decides where a pod's connection goes.
///
/// One order for everything: the service that has the very address, then the workload that has it, then the service
/// with the longest range around it. What is found first decides about the waypoint and about the endpoint alike.
///
/// # Errors
/// [`Refused`] when the connection must not be made, or can't be.
pub fn outbound(snapshot: &Snapshot, settings: Settings, call: &Call<'_>) -> Result<Plan, Refused> {
    let destination = SocketAddr::new(call.destination.ip().to_canonical(), call.destination.port());
    Decision { snapshot, settings, call, destination }.plan()
}

/// One decision.
pub(super) struct Decision<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) settings: Settings,
    pub(super) call: &'a Call<'a>,
    pub(super) destination: SocketAddr,
}

impl Decision<'_> {
    fn plan(&self) -> Result<Plan, Refused> {
        let (ip, port) = (self.destination.ip(), self.destination.port());
        let source = self.call.source;
        if is_ours(port) && (ip.is_loopback() || source.addresses.contains(&ip)) {
            return Err(Refused::new(Refusal::OwnPort { port }));
        }
        match Called::by(self.snapshot, source, self.destination) {
            Called::Service(service) => self.to_service(service),
            Called::Workload(workload) => self.to_named_workload(workload),
            Called::Nobody => self.to_outside(),
        }
    }

    fn to_service(&self, service: &Arc<Service>) -> Result<Plan, Refused> {
        if let Some(waypoint) = &service.waypoint
            && !waypoint::is_at(self.call.source, self.snapshot, waypoint)
        {
            return self.to_waypoint(waypoint, Some(service), None);
        }
        if service.resolution == Resolution::Passthrough {
            return self.passed_by(service);
        }
        match self.to_endpoint(service, &[]) {
            Err(refused) if refused.refusal.network().is_some() => self.to_nearer(service, refused),
            decided => decided,
        }
    }

    /// To an endpoint on a network that is in reach.
    pub(super) fn to_endpoint(
        &self,
        service: &Arc<Service>,
        out_of_reach: &[Network],
    ) -> Result<Plan, Refused> {
        let (port, family) = (self.destination.port(), Some(Family::of(self.destination.ip())));
        let chosen = self.select(service, port, family, out_of_reach).map_err(|source| {
            let (namespace, service_name) = (service.key.namespace.clone(), service.key.hostname.0.clone());
            Refused::new(Refusal::NoEndpoint { namespace, service: service_name, source })
                .of_service(Some(service))
        })?;
        self.to_upstream(Upstream::chosen(chosen, &service.key, port, Some(service)))
    }

    /// To the very address that was dialled, as a service says. It opens nothing of a pod that is there.
    fn passed_by(&self, service: &Arc<Service>) -> Result<Plan, Refused> {
        let destination = self.destination;
        let there = address_of(self.call.source, destination.ip());
        if let Some(workload) = self.snapshot.workload_at(&there, destination.port()) {
            self.may_be_plain(workload, destination, Some(service))?;
        }
        Ok(Plan::Passthrough { destination, passed: Passed::Service, service: Some(service.clone()) })
    }

    fn to_named_workload(&self, workload: &Arc<Workload>) -> Result<Plan, Refused> {
        if let Some(waypoint) = &workload.profile.waypoint
            && !waypoint::is_at(self.call.source, self.snapshot, waypoint)
        {
            return self.to_waypoint(waypoint, None, Some(workload));
        }
        let network = workload.profile.network.clone();
        self.to_upstream(Upstream {
            place: Place::Address(NetworkAddress::new(network, self.destination.ip())),
            port: self.destination.port(),
            workload: Some(workload.clone()),
            service: None,
            picked: None,
        })
    }

    fn to_outside(&self) -> Result<Plan, Refused> {
        let (destination, namespace) = (self.destination, &self.call.source.profile.namespace);
        let passed = outside(self.snapshot, namespace, destination, self.call.names).map_err(Refused::new)?;
        Ok(Plan::Passthrough { destination, passed, service: None })
    }

    pub(super) fn select(
        &self,
        service: &Service,
        port: u16,
        family: Option<Family>,
        out_of_reach: &[Network],
    ) -> Result<Chosen, NoEndpoint> {
        let remembered = match service.load_balancing.affinity {
            Affinity::None => None,
            Affinity::ClientIp(_) => (self.call.recall)(&service.key, port),
        };
        let Call { source: client, random, exclude, .. } = *self.call;
        let remembered = remembered.as_ref();
        let request = Request { port, family, client, random, remembered, exclude, out_of_reach };
        select(self.snapshot, &service.key, &request)
    }

    /// By tunnel where the workload has one, else in plaintext where that may be.
    fn to_upstream(&self, mut upstream: Upstream) -> Result<Plan, Refused> {
        let own = &self.call.source.profile.network;
        match &upstream.place {
            Place::Address(address) if address.network == *own => {
                let found = receiver(self.snapshot, upstream.workload.as_ref(), address).cloned();
                upstream.workload = found;
            }
            Place::Address(NetworkAddress { network, .. }) | Place::Network(network) => {
                let network = network.clone();
                return self.across(&network, upstream);
            }
            Place::Name(_) => {}
        }
        let Some(workload) = upstream.workload.clone() else {
            return Ok(Plan::Direct { upstream, unprotected: false });
        };
        match (workload.capture, workload.profile.protocol) {
            _ if !is_protected(&workload, upstream.port) => Ok(Plan::Direct { upstream, unprotected: false }),
            (Capture::Enabled, TunnelProtocol::Hbone) => self.by_tunnel(upstream, &workload),
            _ => self.unprotected(upstream, &workload),
        }
    }

    fn by_tunnel(&self, upstream: Upstream, workload: &Arc<Workload>) -> Result<Plan, Refused> {
        let refused =
            |refusal| Refused::new(refusal).of_service(upstream.service.as_ref()).of_workload(workload);
        let Place::Address(address) = &upstream.place else {
            return Err(refused(Refusal::NoTunnelAddress { workload: workload.uid.clone() }));
        };
        let Some(identities) = identities(workload, upstream.service.as_ref()) else {
            return Err(refused(Refusal::NoIdentity { workload: workload.uid.clone() }));
        };
        let (address, authority) =
            (SocketAddr::new(address.ip, HBONE_PORT), SocketAddr::new(address.ip, upstream.port));
        let tunnel = Tunnel { upstream, address, authority, identities, waypoint: None };
        Ok(if self.is_local(workload) { Plan::Local(tunnel) } else { Plan::Hbone(tunnel) })
    }

    fn unprotected(&self, upstream: Upstream, workload: &Arc<Workload>) -> Result<Plan, Refused> {
        let ip = match &upstream.place {
            Place::Address(address) => address.ip,
            Place::Name(_) | Place::Network(_) => self.destination.ip(),
        };
        let destination = SocketAddr::new(ip, upstream.port);
        self.may_be_plain(workload, destination, upstream.service.as_ref())?;
        Ok(Plan::Direct { upstream, unprotected: true })
    }

    fn may_be_plain(
        &self,
        workload: &Arc<Workload>,
        destination: SocketAddr,
        service: Option<&Arc<Service>>,
    ) -> Result<(), Refused> {
        may_be_plain(self.snapshot, self.call.source, workload, destination)
            .map_err(|refusal| Refused::new(refusal).of_service(service).of_workload(workload))
    }

    /// Whether the bytes need not leave the daemon: two captured pods of this node that no NetworkPolicy selects. Bytes
    /// from socket to socket cross no veth, where the cluster's network would enforce one.
    fn is_local(&self, workload: &Workload) -> bool {
        let source = self.call.source;
        let is_here = !source.node.name.is_empty()
            && source.node.name == workload.node.name
            && source.profile.cluster == workload.profile.cluster;
        let is_free_pod = |pod: &Workload| {
            pod.profile.kind != WorkloadKind::Entry
                && pod.capture == Capture::Enabled
                && !pod.profile.network_policy_selected
                && !pod.profile.host_network
        };
        self.settings.node_local && is_here && is_free_pod(source) && is_free_pod(workload)
    }
}

impl Upstream {
    pub(super) fn chosen(
        chosen: Chosen,
        from: &ServiceKey,
        port: u16,
        called: Option<&Arc<Service>>,
    ) -> Self {
        let Chosen { endpoint, workload, place, port: own_port, remember } = chosen;
        let picked = Some(Picked { service: from.clone(), port, endpoint, remember });
        Self { place, port: own_port, workload, service: called.cloned(), picked }
    }
}

/// Who may answer for a workload: itself, and whom its service names. None when the workload cannot have an identity.
pub(super) fn identities(workload: &Workload, service: Option<&Arc<Service>>) -> Option<PeerIdentities> {
    let own = workload.identity()?;
    let named = service.map(|service| &*service.subject_alt_names).unwrap_or_default();
    if named.is_empty() {
        return Some(own.into());
    }
    Some(std::iter::once(own).chain(named.iter().cloned()).collect())
}
