//! Which endpoint of a service a connection goes to.

mod affinity;
mod picks;
mod pool;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use affinity::{Affinities, AffinityKey};
pub(crate) use picks::Picks;

use crate::{
    Affinity, Endpoint, EndpointTarget, Network, NetworkAddress, Service, ServiceKey, Snapshot,
    TrafficPolicy, Workload, WorkloadUid,
};
pub use pool::Draws;
use pool::Pool;

/// What a connection wants of a service.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Port of the service.
    pub port: u16,
    /// Family of the address that was dialled; none when it doesn't matter.
    pub family: Option<Family>,
    /// Who asks: locality is relative to it.
    pub client: &'a Workload,
    /// Random bits: equal requests with equal bits get equal answers.
    pub random: u64,
    /// Where this client's last connection to the service went, if that is still to be honoured.
    pub remembered: Option<&'a Remembered>,
    /// Endpoints that could not be dialled.
    pub exclude: &'a [EndpointTarget],
    /// Networks that nothing leads to.
    pub out_of_reach: &'a [Network],
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The endpoint that a client's connections go to, as its caller keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The endpoint.
    pub target: EndpointTarget,
    /// Where in the service's list it was: found at once while it still is.
    pub index: usize,
}

/// The endpoint that a connection goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The endpoint: to remember it, or to exclude it when it can't be dialled.
    pub endpoint: Remembered,
    /// The workload; none for an address that no workload is known for.
    pub workload: Option<Arc<Workload>>,
    /// Where it is.
    pub place: Place,
    /// Port of the endpoint.
    pub port: u16,
    /// Remember the endpoint for this client, for so long after its last connection.
    pub remember: Option<Duration>,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// At an address.
    Address(NetworkAddress),
    /// At whatever address a DNS name has.
    Name(Arc<str>),
    /// Somewhere on a network that is not the client's.
    Network(Network),
}

/// Why a service has no endpoint for a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
pub enum NoEndpoint {
    /// Each usable endpoint was tried.
    #[error("all {tried} usable endpoints were tried")]
    AllTried {
        /// How many were.
        tried: usize,
    },
    /// The service has endpoints, but none in the address family that was dialled.
    #[error("no endpoint has an address of the family that was dialled")]
    Family,
    /// Traffic to the service must stay near, and no endpoint is.
    #[error("no endpoint is within the scope that the service's traffic is bound to")]
    NoneNear,
    /// The service has no endpoints.
    #[error("service has no endpoints")]
    NoneAtAll,
    /// No endpoint is ready.
    #[error("none of {endpoints} endpoints is ready")]
    NotReady {
        /// How many endpoints there are.
        endpoints: usize,
    },
    /// Usable endpoints exist, but none serves the port.
    #[error("no endpoint serves port {port}")]
    NotServed {
        /// Port of the service.
        port: u16,
    },
    /// The service has no such port.
    #[error("service has no port {port}")]
    UnknownPort {
        /// The port.
        port: u16,
    },
    /// The service is not known.
    #[error("service {} in namespace {} is not known", .service.hostname.0, .service.namespace)]
    UnknownService {
        /// Its key.
        service: ServiceKey,
    },
    /// Endpoints are workloads that are not known (yet): how to reach them safely isn't known either.
    #[error("endpoint {} is not known", .workload.0)]
    UnknownWorkload {
        /// One of them.
        workload: WorkloadUid,
    },
}

/// Chooses an endpoint. Pure; the cost does not grow with the number of endpoints, but for the first choice after the
/// service changed.
///
/// Ready endpoints come first, then those that terminate but still serve. Within these, the nearest ones as the service
/// asks; within these, at random by weight.
///
/// # Errors
/// When no endpoint will do.
pub fn select(
    snapshot: &Snapshot,
    service: &ServiceKey,
    request: &Request<'_>,
) -> Result<Chosen, NoEndpoint> {
    let Some(indexed) = snapshot.indexed(service) else {
        return Err(NoEndpoint::UnknownService { service: service.clone() });
    };
    let service = indexed.service();
    if !service.has_port(request.port) {
        return Err(NoEndpoint::UnknownPort { port: request.port });
    }
    let choice = Choice { snapshot, service, request };
    let picks = indexed.picks(snapshot);
    choice.remembered(picks).or_else(|| choice.picked(picks)).ok_or_else(|| choice.why_none())
}

/// One selection.
struct Choice<'a> {
    snapshot: &'a Snapshot,
    service: &'a Service,
    request: &'a Request<'a>,
}

impl Choice<'_> {
    /// The endpoint that the client's connections go to, while it would be a candidate still.
    fn remembered(&self, picks: &Picks) -> Option<Chosen> {
        let remembered = self.request.remembered?;
        let Affinity::ClientIp(_) = self.service.load_balancing.affinity else { return None };
        let endpoints = &self.service.endpoints;
        let there = |endpoint: &Endpoint| endpoint.target == remembered.target;
        let index = match endpoints.get(remembered.index) {
            Some(endpoint) if there(endpoint) => remembered.index,
            _ => endpoints.iter().position(there)?,
        };
        picks.best_tier_has(index, self.service).then(|| self.usable(index))?
    }

    fn picked(&self, picks: &Picks) -> Option<Chosen> {
        let mut draws = Draws::new(self.request.random);
        let near = picks.near(self.request.client, self.service);
        picks.tiers().iter().find_map(|tier| {
            self.families().into_iter().flatten().find_map(|family| {
                let pool = tier.pool(family);
                self.prefixes(near.len()).find_map(|length| {
                    let members = pool.around(near.get(..length)?);
                    self.drawn(pool, members, &mut draws)
                })
            })
        })
    }

    /// How many scopes must match, best first.
    fn prefixes(&self, known: usize) -> impl Iterator<Item = usize> + use<> {
        let all = self.service.load_balancing.preference.len();
        let lengths = match self.service.load_balancing.policy {
            TrafficPolicy::Standard => 0..1,
            TrafficPolicy::Failover => 0..known + 1,
            // A client that doesn't know where it is has nothing near it.
            TrafficPolicy::Strict if known < all => 0..0,
            TrafficPolicy::Strict => all..all + 1,
        };
        lengths.rev()
    }

    /// The dialled family first. A ServiceEntry's address stands for its endpoints whatever their family is; a
    /// Kubernetes Service has an address for each family that it serves.
    fn families(&self) -> [Option<Family>; 2] {
        let asked = self.request.family;
        let first = asked.unwrap_or(Family::V4);
        let other = (asked.is_none() || !self.service.canonical).then_some(first.other());
        [Some(first), other]
    }

    /// A usable member at random. Most draws are usable; when some are not, all are looked at.
    fn drawn(&self, pool: &Pool, members: std::ops::Range<usize>, draws: &mut Draws) -> Option<Chosen> {
        if members.is_empty() {
            return None;
        }
        for _ in 0..DRAWS {
            if let Some(chosen) = self.usable(pool.draw(members.clone(), draws)) {
                return Some(chosen);
            }
        }
        let usable = pool.members(members).filter(|(index, _)| self.usable(*index).is_some());
        self.usable(draws.weighted(usable)?)
    }

    /// The endpoint at `index`, if a connection can go there.
    fn usable(&self, index: usize) -> Option<Chosen> {
        let endpoint = self.service.endpoints.get(index)?;
        if self.request.exclude.contains(&endpoint.target) {
            return None;
        }
        let port = endpoint.port_for(self.request.port)?;
        let (workload, place) = self.resolve(&endpoint.target)?;
        if place.network().is_some_and(|network| self.request.out_of_reach.contains(network)) {
            return None;
        }
        let remember = match self.service.load_balancing.affinity {
            Affinity::None => None,
            Affinity::ClientIp(timeout) => Some(timeout),
        };
        let endpoint = Remembered { target: endpoint.target.clone(), index };
        Some(Chosen { endpoint, workload, place, port, remember })
    }

    fn resolve(&self, target: &EndpointTarget) -> Option<(Option<Arc<Workload>>, Place)> {
        match target {
            EndpointTarget::Address(address) => Some((None, Place::Address(address.clone()))),
            EndpointTarget::Workload(uid, ip) => {
                let workload = self.snapshot.workload(uid)?;
                let address = NetworkAddress::new(workload.profile.network.clone(), *ip);
                Some((Some(workload.clone()), Place::Address(address)))
            }
            EndpointTarget::Hostname(uid) => {
                let workload = self.snapshot.workload(uid)?;
                Some((Some(workload.clone()), Place::Name(workload.hostname.clone()?)))
            }
            EndpointTarget::Remote(uid) => {
                let workload = self.snapshot.workload(uid)?;
                let network = &workload.profile.network;
                // Not every client is on the network that the list was made for.
                if *network != self.request.client.profile.network {
                    return Some((Some(workload.clone()), Place::Network(network.clone())));
                }
                let own = workload.addresses.first().map(|ip| NetworkAddress::new(network.clone(), *ip));
                let place = own.map(Place::Address);
                Some((Some(workload.clone()), place.or_else(|| workload.hostname.clone().map(Place::Name))?))
            }
        }
    }

    /// The most telling reason why nothing was found.
    fn why_none(&self) -> NoEndpoint {
        let endpoints = &self.service.endpoints;
        if endpoints.is_empty() {
            return NoEndpoint::NoneAtAll;
        }
        let live: Vec<_> = endpoints.iter().filter(|endpoint| self.is_live(endpoint)).collect();
        if live.is_empty() {
            return NoEndpoint::NotReady { endpoints: endpoints.len() };
        }
        let port = self.request.port;
        let served: Vec<_> = live.iter().filter(|endpoint| endpoint.port_for(port).is_some()).collect();
        if served.is_empty() {
            return NoEndpoint::NotServed { port };
        }
        let families: Vec<_> = self.families().into_iter().flatten().collect();
        let reachable: Vec<_> = served
            .iter()
            .filter(|endpoint| endpoint.target.family().is_none_or(|family| families.contains(&family)))
            .collect();
        if reachable.is_empty() {
            return NoEndpoint::Family;
        }
        let tried =
            reachable.iter().filter(|endpoint| self.request.exclude.contains(&endpoint.target)).count();
        if tried > 0 {
            return NoEndpoint::AllTried { tried };
        }
        match reachable.iter().find_map(|endpoint| self.unknown(&endpoint.target)) {
            Some(workload) => NoEndpoint::UnknownWorkload { workload },
            None => NoEndpoint::NoneNear,
        }
    }

    fn is_live(&self, endpoint: &Endpoint) -> bool {
        Picks::tier_of(endpoint, self.service.load_balancing.health).is_some()
    }

    fn unknown(&self, target: &EndpointTarget) -> Option<WorkloadUid> {
        self.resolve(target).is_none().then(|| target.workload().cloned())?
    }
}

impl Place {
    /// The network that it is known to be on.
    pub const fn network(&self) -> Option<&Network> {
        match self {
            Self::Address(NetworkAddress { network, .. }) | Self::Network(network) => Some(network),
            Self::Name(_) => None,
        }
    }
}

impl Family {
    /// The family of an address; IPv4 in IPv6 is IPv4.
    pub const fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

impl EndpointTarget {
    /// The workload that it is, unless it is but an address.
    pub const fn workload(&self) -> Option<&WorkloadUid> {
        match self {
            Self::Address(_) => None,
            Self::Hostname(uid) | Self::Remote(uid) | Self::Workload(uid, _) => Some(uid),
        }
    }

    /// The family of its address; none for a name, which may have both, and where the address doesn't matter.
    pub const fn family(&self) -> Option<Family> {
        match self {
            Self::Address(address) => Some(Family::of(address.ip)),
            Self::Hostname(_) | Self::Remote(_) => None,
            Self::Workload(_, ip) => Some(Family::of(*ip)),
        }
    }
}

impl Endpoint {
    /// The endpoint's own port for a port of the service, if it serves it.
    pub fn port_for(&self, service_port: u16) -> Option<u16> {
        self.ports.iter().find(|(port, _)| *port == service_port).map(|(_, own)| *own)
    }
}

/// Draws before all members are looked at. Enough that a service with half of its endpoints excluded rarely needs to.
const DRAWS: usize = 8;
