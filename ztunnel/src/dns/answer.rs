//! What the mesh says to a question. Pure: a snapshot, who asks, what is asked.

use std::net::IpAddr;

use mesh::{
    DestinationHealth, Draws, Endpoint, EndpointTarget, Family, Network, NetworkAddress, Service, Snapshot,
    Workload,
};

use super::names::candidates;
use super::{Question, RecordKind, ResolverView};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct ClientView<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The network that its addresses belong to.
    pub network: &'a Network,
    /// DNS suffix of the cluster.
    pub domain: &'a str,
    /// How it resolves names.
    pub resolver: &'a ResolverView,
}

/// What becomes of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The mesh knows.
    Answer(Answer),
    /// The client's name servers decide: also about names of the cluster that the mesh doesn't know.
    Forward {
        /// The mesh knows addresses of the name, though not what is asked of it: such a name exists, whatever they say.
        exists: bool,
    },
    /// Nobody can say yet: the mesh isn't known.
    ServFail,
}

/// What the mesh knows of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The name that the addresses are of, where it is not the one that was asked for.
    pub canonical: Option<String>,
    /// Addresses of the family that was asked for, in random order; empty when there are none of it.
    pub addresses: Vec<IpAddr>,
}

/// Answers a question, or says who does. Equal questions with equal `random` bits get equal answers.
pub fn answer(snapshot: &Snapshot, client: &ClientView<'_>, question: &Question, random: u64) -> Decision {
    let Some(name) = &question.name else { return Decision::Forward { exists: false } };
    if snapshot.generation() == 0 {
        // An upstream's word that a name doesn't exist would outlive the moment.
        return Decision::ServFail;
    }
    let found = candidates(name, client.resolver).into_iter().find_map(|candidate| {
        let addresses = known(snapshot, client, &candidate.name)?;
        Some((candidate.stripped.then_some(candidate.name), addresses))
    });
    let Some((canonical, addresses)) = found else { return Decision::Forward { exists: false } };
    let family = match question.kind {
        RecordKind::A => Family::V4,
        RecordKind::Aaaa => Family::V6,
        RecordKind::Other(_) => return Decision::Forward { exists: canonical.is_none() },
    };
    let mut addresses: Vec<_> = addresses.into_iter().filter(|ip| Family::of(*ip) == family).collect();
    shuffle(&mut addresses, random);
    Decision::Answer(Answer { canonical: canonical.filter(|_| !addresses.is_empty()), addresses })
}

/// All addresses of the name; none when it is for others to say.
fn known(snapshot: &Snapshot, client: &ClientView<'_>, name: &str) -> Option<Vec<IpAddr>> {
    let service = snapshot.service_by_hostname(name, client.namespace);
    let is_exact = service.is_some_and(|service| *service.key.hostname.0 == *name);
    if !is_exact && let Some(pod) = pod(snapshot, client, name) {
        return Some(pod);
    }
    let service = service?;
    if service.addresses.is_empty() {
        // Endpoints of a ServiceEntry without addresses are not what its host name resolves to elsewhere.
        return is_service_name(name, client.domain).then(|| endpoints(snapshot, client, service, |_| true));
    }
    let here = |address: &&NetworkAddress| address.network == *client.network;
    let addresses: Vec<_> = service.addresses.iter().filter(here).map(|address| address.ip).collect();
    (!addresses.is_empty()).then_some(addresses)
}

/// The addresses of one pod behind a Service: `<pod>.<service>.<namespace>.svc.<domain>`. The cluster's own DNS decides
/// about pods that are not ready, or have a host name that is not theirs.
fn pod(snapshot: &Snapshot, client: &ClientView<'_>, name: &str) -> Option<Vec<IpAddr>> {
    let (host, service_name) = name.split_once('.').filter(|_| is_service_name(name, client.domain))?;
    let service = snapshot.service_by_hostname(service_name, client.namespace)?;
    if !service.canonical || *service.key.hostname.0 != *service_name {
        return None;
    }
    let found = endpoints(snapshot, client, service, |workload| *workload.name == *host);
    (!found.is_empty()).then_some(found)
}

/// Addresses of the service's endpoints that may be called, in the client's network.
fn endpoints(
    snapshot: &Snapshot,
    client: &ClientView<'_>,
    service: &Service,
    wanted: impl Fn(&Workload) -> bool,
) -> Vec<IpAddr> {
    let callable = |it: &&Endpoint| it.ready || service.load_balancing.health == DestinationHealth::All;
    let address = |endpoint: &Endpoint| match &endpoint.target {
        EndpointTarget::Address(address) => Some(address.ip).filter(|_| address.network == *client.network),
        EndpointTarget::Hostname(_) | EndpointTarget::Remote(_) => None,
        EndpointTarget::Workload(uid, ip) => {
            let workload = snapshot.workload(uid)?;
            (workload.profile.network == *client.network && wanted(workload)).then_some(*ip)
        }
    };
    service.endpoints.iter().filter(callable).filter_map(address).collect()
}

/// Whether the name is below `svc.<domain>`.
fn is_service_name(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|name| name.ends_with(".svc."))
}

/// Fisher and Yates.
fn shuffle(items: &mut [IpAddr], random: u64) {
    let mut draws = Draws::new(random);
    for last in (1..items.len()).rev() {
        items.swap(draws.below_len(last + 1), last);
    }
}
