//! Connections to other networks: through a network's gateway, in a tunnel within a tunnel, or not at all.
//!
//! Addresses mean nothing beyond the own network. The gateway is told the name of the service and picks the endpoint;
//! whoever that is must prove, in the inner tunnel, to be one of those that the mesh knows there.

use std::num::NonZeroU16;
use std::sync::Arc;

use certs::PeerIdentities;
use hbone::authority::{Authority, Host};
use identity::SpiffeId;
use mesh::{
    EgressMode, Family, GatewayHost, NamespaceSettings, Network, NetworkGateway, Service, ServiceKey,
    Snapshot, Workload, WorkloadUid,
};

use super::outbound::Decision;
use super::{Gateway, Nested, Plan, Refusal, Refused, Upstream};

impl Decision<'_> {
    /// Through a gateway of `network`, where the endpoint that was picked is.
    pub(super) fn across(&self, network: &Network, upstream: Upstream) -> Result<Plan, Refused> {
        let by_name_only = || Refusal::NotCalledByName { network: network.clone() };
        let Some(service) = upstream.service.clone() else { return Err(Refused::new(by_name_only())) };
        let refused = |refusal| {
            let refused = Refused::new(refusal).of_service(Some(&service));
            Refused { workload: upstream.workload.clone(), ..refused }
        };
        let host = service.key.hostname.0.parse().ok().zip(NonZeroU16::new(self.destination.port()));
        let (host, port) = host.ok_or_else(|| refused(by_name_only()))?;
        let (gateway, identity) = self.gateway(network, &service).map_err(refused)?;
        let picked = upstream.workload.as_deref().and_then(Workload::identity);
        let identities: PeerIdentities =
            accepted(self.snapshot, network, &service).cloned().chain(picked).collect();
        if identities.is_empty() {
            let nobody = |workload: &Arc<Workload>| Refusal::NoIdentity { workload: workload.uid.clone() };
            return Err(refused(upstream.workload.as_ref().map_or_else(by_name_only, nobody)));
        }
        let authority = Authority::new(Host::Name(host), port);
        let (network, service) = (network.clone(), service.key.clone());
        Ok(Plan::Nested(Box::new(Nested {
            upstream,
            service,
            network,
            gateway,
            identity,
            authority,
            identities,
        })))
    }

    /// To an endpoint on another network than the one that `refused` says cannot be reached: nothing that is wrong on the
    /// way there is in the way of others. Where nobody is left, what was in the way is why.
    #[cold]
    pub(super) fn to_nearer(&self, service: &Arc<Service>, refused: Refused) -> Result<Plan, Refused> {
        let mut out_of_reach = Vec::new();
        let mut next = refused.refusal.network().cloned();
        while let Some(network) = next {
            out_of_reach.push(network);
            let decided = self.to_endpoint(service, &out_of_reach);
            next = match &decided {
                Err(another) if matches!(*another.refusal, Refusal::NoEndpoint { .. }) => None,
                Err(another) if another.refusal.network().is_some() => another.refusal.network().cloned(),
                _ => return decided,
            };
        }
        Err(refused)
    }

    /// The gateway to try: any of those that were not tried in vain, as the call's random bits say; equal bits, equal
    /// choice. Those that the pod has an address for come before others.
    fn gateway(&self, network: &Network, service: &Service) -> Result<(Gateway, SpiffeId), Refusal> {
        let all = self.snapshot.gateways_of(network);
        let (network, service) = (network.clone(), service.key.hostname.0.clone());
        if self.call.exclude_gateways.len() >= GATEWAYS {
            return Err(Refusal::GatewaysTried { network, service });
        }
        let Some(first) = all.first() else { return Err(Refusal::NoGateway { network, service }) };
        let mut usable: Vec<_> = all.iter().flat_map(places).collect();
        if usable.is_empty() {
            return Err(Refusal::GatewayUnusable { gateway: first.key.clone(), network, service });
        }
        usable.retain(|(gateway, _)| !self.call.exclude_gateways.contains(gateway));
        if usable.iter().any(|(gateway, _)| self.has_family_of(gateway)) {
            usable.retain(|(gateway, _)| self.has_family_of(gateway));
        }
        let count = u64::try_from(usable.len()).unwrap_or(u64::MAX).max(1);
        let at = usize::try_from(self.call.random % count).unwrap_or_default();
        usable.into_iter().nth(at).ok_or(Refusal::GatewaysTried { network, service })
    }

    fn has_family_of(&self, gateway: &Gateway) -> bool {
        let has = |family| self.call.source.addresses.iter().any(|own| Family::of(*own) == family);
        match gateway.host {
            GatewayHost::Ip(ip) => has(Family::of(ip)),
            GatewayHost::Name(_) => true,
        }
    }
}

/// Each place of a gateway that is of use, with whom to expect there.
fn places(gateway: &Arc<NetworkGateway>) -> Vec<(Gateway, SpiffeId)> {
    let Some(identity) = &gateway.identity else { return Vec::new() };
    let place =
        |host: &GatewayHost| Gateway { key: gateway.key.clone(), host: host.clone(), port: gateway.port };
    gateway.hosts.iter().map(|host| (place(host), identity.clone())).collect()
}

/// Who may answer for a service on another network, besides who was picked.
fn accepted<'a>(
    snapshot: &'a Snapshot,
    network: &Network,
    service: &'a Service,
) -> impl Iterator<Item = &'a SpiffeId> {
    snapshot.identities_on(network, &service.key).iter().chain(service.subject_alt_names.iter())
}

/// A connection to another network, and on which grounds it is: the other end decides about it, but does not know whom
/// this mesh takes for who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The network.
    pub network: Network,
    /// The service that was called.
    pub service: ServiceKey,
    /// The endpoint that was picked, which may be a pod: who that is may answer as well.
    pub picked: Option<WorkloadUid>,
    /// The gateway's identity, as proved.
    pub gateway: SpiffeId,
    /// The identity of who answered, as proved.
    pub peer: SpiffeId,
}

/// Why a connection to another network may no longer be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrossingError {
    /// Nothing leads to the network any more through whom it went.
    #[error("no gateway of network {:?} is {gateway} any more", .network.as_str())]
    Gateway {
        /// The network.
        network: Network,
        /// Whom it went through.
        gateway: SpiffeId,
    },
    /// The service has nobody there any more, and the source's namespace lets nothing unknown out.
    #[error(transparent)]
    Egress(Refusal),
    /// Somebody else is there than who answered.
    #[error("the service has others on that network than {peer}")]
    Peer {
        /// Who answered.
        peer: SpiffeId,
    },
}

impl Crossing {
    /// Whether it may still be: a gateway of the network is who it was, and so is who answers for the service there.
    /// Who is gone keeps its connections, unless `source`'s namespace lets nothing unknown out.
    ///
    /// # Errors
    /// Why not.
    pub fn ask_again(&self, snapshot: &Snapshot, source: &Workload) -> Result<(), CrossingError> {
        let Self { network, gateway, peer, .. } = self;
        let leads = |it: &Arc<NetworkGateway>| it.identity.as_ref() == Some(gateway);
        if !snapshot.gateways_of(network).iter().any(leads) {
            return Err(CrossingError::Gateway { network: network.clone(), gateway: gateway.clone() });
        }
        let service = snapshot.service(&self.service);
        let picked = self.picked.as_ref().and_then(|picked| snapshot.workload(picked));
        let picked = picked.filter(|picked| picked.profile.network == *network);
        if picked.is_some_and(|picked| picked.is(peer)) {
            return Ok(());
        }
        let mut known = service.into_iter().flat_map(|it| accepted(snapshot, network, it)).peekable();
        if known.peek().is_some() {
            let is_known = known.any(|identity| identity == peer);
            return is_known.then_some(()).ok_or_else(|| CrossingError::Peer { peer: peer.clone() });
        }
        // No address stands for what is on another network, and no list can have it.
        let namespace = &source.profile.namespace;
        let denies = |settings: &Arc<NamespaceSettings>| settings.egress == EgressMode::Deny;
        if snapshot.namespace(namespace).is_some_and(denies) {
            let namespace = namespace.clone();
            return Err(CrossingError::Egress(Refusal::UnknownDestination { namespace }));
        }
        Ok(())
    }
}

/// Gateways that are tried for one connection, whichever networks they lead to.
const GATEWAYS: usize = 3;
