//! What is worked out once for a service, so that choosing an endpoint of it is cheap.

use std::collections::BTreeMap;
use std::sync::Arc;

use identity::SpiffeId;

use super::Family;
use super::pool::{Candidate, Pool};
use crate::{
    DestinationHealth, Endpoint, EndpointTarget, HostNode, Network, Scope, Service, Snapshot, TrafficPolicy,
    Workload, WorkloadKind,
};

/// The candidates of a service.
#[derive(Debug)]
pub(crate) struct Picks {
    /// Best first: ready ones, then those that terminate but still serve.
    tiers: [Tier; 2],
    /// Who is on other networks: nothing for most services.
    remote: Box<[(Network, Box<[SpiffeId]>)]>,
}

/// Candidates that are equally fit, by family. An endpoint that has no address but a name is in both.
#[derive(Debug)]
pub(crate) struct Tier {
    v4: Pool,
    v6: Pool,
}

/// Where something is, in one scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Near {
    /// Near nothing.
    Unknown,
    Network(Network),
    Named(Arc<str>),
}

impl Picks {
    pub(crate) fn new(snapshot: &Snapshot, service: &Service) -> Self {
        let tiers = [0, 1].map(|tier| Tier::new(snapshot, service, tier));
        Self { tiers, remote: remote(snapshot, service) }
    }

    /// The identities of the endpoints on another network.
    pub(crate) fn identities_on(&self, network: &Network) -> &[SpiffeId] {
        let there = self.remote.iter().find(|(known, _)| known == network);
        there.map_or(&[], |(_, identities)| identities)
    }

    pub(crate) const fn tiers(&self) -> &[Tier; 2] {
        &self.tiers
    }

    /// Whether the endpoint belongs to the best tier that has any.
    pub(crate) fn best_tier_has(&self, index: usize, service: &Service) -> bool {
        let best = self.tiers.iter().position(|tier| !tier.is_empty());
        best.is_some() && Self::tier_of(&service.endpoints[index], service.load_balancing.health) == best
    }

    /// Which tier an endpoint belongs to, if any.
    pub(crate) const fn tier_of(endpoint: &Endpoint, health: DestinationHealth) -> Option<usize> {
        match health {
            DestinationHealth::All => Some(0),
            DestinationHealth::Ready if endpoint.ready => Some(0),
            DestinationHealth::Ready if endpoint.serving && endpoint.terminating => Some(1),
            DestinationHealth::Ready => None,
        }
    }

    /// Where a client is in the scopes that the service asks for, as far as that is known.
    pub(crate) fn near(&self, client: &Workload, service: &Service) -> Vec<Near> {
        let scopes = scopes(service).iter().map(|scope| Near::of(client, *scope));
        scopes.take_while(|near| *near != Near::Unknown).collect()
    }

    /// Whether what is worked out for a service depends on what changed of a workload that is an endpoint of it. One
    /// that isn't known counts with a weight of 1.
    pub(crate) fn depend_on(service: &Service, old: Option<&Workload>, new: Option<&Workload>) -> bool {
        let weight = |workload: Option<&Workload>| workload.map_or(1, |workload| workload.weight);
        // Only entries are on other networks.
        let who = |workload: Option<&Workload>| {
            let entry = workload.filter(|workload| workload.profile.kind == WorkloadKind::Entry);
            entry.map(|entry| (entry.profile.network.clone(), entry.identity()))
        };
        weight(old) != weight(new) || place(service, old) != place(service, new) || who(old) != who(new)
    }
}

impl Tier {
    fn new(snapshot: &Snapshot, service: &Service, tier: usize) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (index, endpoint) in (0..).zip(service.endpoints.iter()) {
            if Picks::tier_of(endpoint, service.load_balancing.health) != Some(tier) {
                continue;
            }
            let family = endpoint.target.family();
            if family != Some(Family::V6) {
                v4.push(Candidate::new(snapshot, service, endpoint, index));
            }
            if family != Some(Family::V4) {
                v6.push(Candidate::new(snapshot, service, endpoint, index));
            }
        }
        Self { v4: Pool::new(v4), v6: Pool::new(v6) }
    }

    pub(crate) const fn pool(&self, family: Family) -> &Pool {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    const fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl Candidate {
    fn new(snapshot: &Snapshot, service: &Service, endpoint: &Endpoint, index: u32) -> Self {
        // Looking up every workload is most of the work: not where neither place nor weight matters.
        let matters = !scopes(service).is_empty() || snapshot.has_weights();
        let workload = endpoint.target.workload().filter(|_| matters).and_then(|uid| snapshot.workload(uid));
        let workload = workload.map(|workload| &**workload);
        Self {
            place: place(service, workload),
            index,
            weight: workload.map_or(1, |workload| workload.weight),
        }
    }
}

impl Near {
    fn of(workload: &Workload, scope: Scope) -> Self {
        let HostNode { name, locality, .. } = &*workload.node;
        match scope {
            Scope::Cluster => Self::Named(workload.profile.cluster.0.clone()),
            Scope::Network => Self::Network(workload.profile.network.clone()),
            Scope::Node if name.is_empty() => Self::Unknown,
            Scope::Node => Self::Named(name.clone()),
            // Clusters that name zones and no regions are common: an empty name is a name here.
            Scope::Region => Self::Named(locality.region.clone()),
            Scope::Subzone => Self::Named(locality.subzone.clone()),
            Scope::Zone => Self::Named(locality.zone.clone()),
        }
    }
}

/// Who is at the endpoints on other networks.
fn remote(snapshot: &Snapshot, service: &Service) -> Box<[(Network, Box<[SpiffeId]>)]> {
    let mut networks: BTreeMap<Network, Vec<SpiffeId>> = BTreeMap::new();
    for endpoint in service.endpoints.iter() {
        if let EndpointTarget::Remote(uid) = &endpoint.target
            && let Some(workload) = snapshot.workload(uid)
        {
            let there = networks.entry(workload.profile.network.clone()).or_default();
            there.extend(workload.identity());
        }
    }
    let each_once = |(network, mut identities): (Network, Vec<SpiffeId>)| {
        identities.sort_unstable();
        identities.dedup();
        (network, identities.into_boxed_slice())
    };
    networks.into_iter().map(each_once).collect()
}

/// The scopes that matter to a service.
fn scopes(service: &Service) -> &[Scope] {
    match service.load_balancing.policy {
        TrafficPolicy::Standard => &[],
        TrafficPolicy::Failover | TrafficPolicy::Strict => &service.load_balancing.preference,
    }
}

/// Where an endpoint is in the scopes that matter to its service.
fn place(service: &Service, workload: Option<&Workload>) -> Box<[Near]> {
    let near = |scope: &Scope| workload.map_or(Near::Unknown, |workload| Near::of(workload, *scope));
    scopes(service).iter().map(near).collect()
}
