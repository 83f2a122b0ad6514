//! One state of the mesh, immutable, sharing what didn't change with the states before and after it.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use authz::{Policies, PolicySet};
use identity::SpiffeId;

use crate::index::{ByPodUid, ByUid, Claims, Residence};
use crate::map::Map;
use crate::ranges::Ranges;
use crate::select::Picks;
use crate::{
    HostNode, Hostname, NamespaceSettings, Network, NetworkAddress, NetworkGateway, NetworkPolicy, PodUid,
    Service, ServiceKey, Workload, WorkloadUid,
};

/// One state of the mesh.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) workloads: Map<ByUid>,
    pub(crate) pods: Map<ByPodUid>,
    /// Best first: see [`crate::apply`].
    pub(crate) addresses: Map<Claims<NetworkAddress, Workload>>,
    /// Ports of nodes that workloads in their node's network have, whichever network that is in; best first.
    pub(crate) host_sockets: Map<Claims<(IpAddr, u16), Workload>>,
    pub(crate) services: Map<Arc<Indexed>>,
    pub(crate) vips: Map<Claims<NetworkAddress, Service>>,
    pub(crate) ranges: Ranges,
    pub(crate) hostnames: Map<Claims<Hostname, Service>>,
    pub(crate) nodes: Map<Arc<HostNode>>,
    pub(crate) node_addresses: Map<(IpAddr, Arc<HostNode>)>,
    pub(crate) namespaces: Map<Arc<NamespaceSettings>>,
    pub(crate) policies: Policies,
    pub(crate) network_policies: Map<Arc<NetworkPolicy>>,
    pub(crate) gateways: Map<Arc<NetworkGateway>>,
    /// In order of their keys.
    pub(crate) gateways_of: Map<Claims<Network, NetworkGateway>>,
    /// Entries' identities: pods are where their addresses are.
    pub(crate) residences: Map<Residence>,
    /// How many workloads have a weight other than 1.
    pub(crate) weights: usize,
}

/// A service, and what is worked out for it when it is first called: most services of a mesh aren't called from here.
#[derive(Debug)]
pub(crate) struct Indexed {
    service: Arc<Service>,
    picks: OnceLock<Picks>,
}

impl Snapshot {
    /// Counts the states of a store.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The workload of that uid.
    pub fn workload(&self, uid: &WorkloadUid) -> Option<&Arc<Workload>> {
        self.workloads.get(uid).map(|ByUid(workload)| workload)
    }

    /// The pod of that Kubernetes uid.
    pub fn workload_by_pod_uid(&self, uid: &PodUid) -> Option<&Arc<Workload>> {
        self.pods.get(uid).map(|ByPodUid(workload)| workload)
    }

    /// The workload at an address. Workloads in their node's network are at none. Where several claim one, pods that
    /// speak HBONE come first, then other pods, then what is not a pod.
    pub fn workload_by_address(&self, address: &NetworkAddress) -> Option<&Arc<Workload>> {
        self.addresses.claims(address).first()
    }

    /// All workloads that claim an address, in that order: while one takes over from another, both are there.
    pub fn workloads_by_address(&self, address: &NetworkAddress) -> &[Arc<Workload>] {
        self.addresses.claims(address)
    }

    /// The workload at a socket address: the one at the address, else the one in its node's network that speaks HBONE
    /// itself and says that it serves the port. Where several say so, those that do not terminate come first, then the
    /// uid settles it.
    pub fn workload_at(&self, address: &NetworkAddress, port: u16) -> Option<&Arc<Workload>> {
        self.workload_by_address(address).or_else(|| {
            let mut there = self.host_sockets.claims(&(address.ip, port)).iter();
            there.find(|workload| workload.profile.network == address.network)
        })
    }

    /// All workloads, in no order.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.iter().map(|ByUid(workload)| workload)
    }

    /// The service of that key.
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.get(key).map(|indexed| indexed.service())
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter().map(|indexed| indexed.service())
    }

    /// The service that a client in `namespace` means by an address: one that has it as its own, else the one with the
    /// longest range around it. Among several: visible to the client only, its own namespace first, then a Service
    /// before a ServiceEntry, then the oldest.
    pub fn service_by_vip(&self, address: &NetworkAddress, namespace: &str) -> Option<&Arc<Service>> {
        let exact = best(self.vips.claims(address), namespace, |_| true);
        exact.or_else(|| self.ranges.longest(address, |claims| best(claims, namespace, |_| true)))
    }

    /// The service that a client in `namespace` means by a socket address that a service has as its own. Services may
    /// share an address and serve different ports of it: those that have the port come first, then ties as for
    /// [`Self::service_by_vip`]. The service that is found need not have the port.
    pub fn service_with_address(
        &self,
        address: &NetworkAddress,
        port: u16,
        namespace: &str,
    ) -> Option<&Arc<Service>> {
        match self.vips.claims(address) {
            [only] => only.is_visible_to(namespace).then_some(only),
            several => best(several, namespace, |service| service.has_port(port))
                .or_else(|| best(several, namespace, |_| true)),
        }
    }

    /// The service with the longest range around an address that a client in `namespace` means by it, among those that
    /// have the port.
    pub fn service_with_range(
        &self,
        address: &NetworkAddress,
        port: u16,
        namespace: &str,
    ) -> Option<&Arc<Service>> {
        self.ranges.longest(address, |claims| best(claims, namespace, |service| service.has_port(port)))
    }

    /// The service that a client in `namespace` means by a host name: of that very name, else by the most specific
    /// wildcard that covers it. Ties as for addresses.
    pub fn service_by_hostname(&self, host: &str, namespace: &str) -> Option<&Arc<Service>> {
        let mut candidates =
            self.services_by_hostname(host).filter(|service| service.is_visible_to(namespace));
        let first = candidates.next()?;
        let name = &first.key.hostname;
        let ties = candidates.take_while(|service| service.key.hostname == *name);
        Some(ties.fold(first, |best, other| if better(other, best, namespace) { other } else { best }))
    }

    /// Services whose host name covers `host`: those of that very name, then wildcards, most specific first.
    pub fn services_by_hostname(&self, host: &str) -> impl Iterator<Item = &Arc<Service>> {
        Hostname::covering(host).flat_map(|pattern| self.hostnames.claims(&pattern))
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Arc<HostNode>> {
        self.nodes.get(name)
    }

    /// The node that has the address.
    pub fn node_by_address(&self, ip: IpAddr) -> Option<&Arc<HostNode>> {
        self.node_addresses.get(&ip).map(|(_, node)| node)
    }

    /// All nodes, in no order.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<HostNode>> {
        self.nodes.iter()
    }

    /// Settings of a namespace; none when it has none.
    pub fn namespace(&self, name: &str) -> Option<&Arc<NamespaceSettings>> {
        self.namespaces.get(name)
    }

    /// All authorization policies.
    pub const fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The NetworkPolicies that are enforced here, in no order.
    pub fn network_policies(&self) -> impl Iterator<Item = &Arc<NetworkPolicy>> {
        self.network_policies.iter()
    }

    /// All gateways of other networks, in no order.
    pub fn gateways(&self) -> impl Iterator<Item = &Arc<NetworkGateway>> {
        self.gateways.iter()
    }

    /// The gateways of a network, in order of namespace and name.
    pub fn gateways_of(&self, network: &Network) -> &[Arc<NetworkGateway>] {
        self.gateways_of.claims(network)
    }

    /// Whether some entry on another network than that has the identity.
    pub fn is_known_beyond(&self, network: &Network, identity: &SpiffeId) -> bool {
        self.residences.get(identity).is_some_and(|residence| residence.is_beyond(network))
    }

    /// Who may answer for a service on another network: its endpoints there, in order and each once, ready or not: the
    /// gateway picks among them.
    pub fn identities_on(&self, network: &Network, service: &ServiceKey) -> &[SpiffeId] {
        self.indexed(service).map_or(&[], |indexed| indexed.picks(self).identities_on(network))
    }

    /// What applies to connections to the workload.
    pub fn policies_for(&self, workload: &Workload) -> Arc<PolicySet> {
        self.policies.set(&workload.profile.namespace, &workload.profile.policies)
    }

    pub(crate) fn indexed(&self, key: &ServiceKey) -> Option<&Indexed> {
        self.services.get(key).map(|indexed| &**indexed)
    }

    /// Whether any workload has a weight other than 1.
    pub(crate) const fn has_weights(&self) -> bool {
        self.weights > 0
    }
}

impl Indexed {
    pub(crate) const fn new(service: Arc<Service>) -> Self {
        Self { service, picks: OnceLock::new() }
    }

    pub(crate) const fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The service's candidates. `snapshot` is one that has this very entry: all of them agree on the answer.
    pub(crate) fn picks(&self, snapshot: &Snapshot) -> &Picks {
        self.picks.get_or_init(|| Picks::new(snapshot, &self.service))
    }
}

/// The best of several services for a client in `namespace`, among those that will do.
fn best<'a>(
    claims: &'a [Arc<Service>],
    namespace: &str,
    will_do: impl Fn(&Service) -> bool,
) -> Option<&'a Arc<Service>> {
    let mut visible = claims.iter().filter(|service| service.is_visible_to(namespace) && will_do(service));
    let first = visible.next()?;
    Some(visible.fold(first, |best, other| if better(other, best, namespace) { other } else { best }))
}

/// Own namespace, then Kubernetes Services, then the oldest; the key settles the rest, so that all readers agree.
fn better(one: &Service, other: &Service, namespace: &str) -> bool {
    let rank = |service: &Service| {
        (service.key.namespace.as_ref() != namespace, !service.canonical, service.created)
    };
    (rank(one), &one.key) < (rank(other), &other.key)
}
