//! Gateways between networks: those of others, which lead there, and those of the own, from which others' tunnels come.
//!
//! As Istio has it: a Gateway of class `istio-remote` describes a gateway that somebody else runs, on the network that its
//! label `topology.istio.io/network` names (istio `pilot/pkg/serviceregistry/kube/controller/ambient/networks.go`); one of
//! class `istio-east-west` is run in this cluster, by pods that name it in `gateway.networking.k8s.io/gateway-name`.
//! The annotation `gateway.istio.io/trust-domain` is read here only: Istio expects the own trust domain of every gateway.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use identity::{SpiffeId, TrustDomain};
use mesh::{GatewayHost, Network, NetworkGateway};

use super::entries;
use super::namespaces::invalid;
use super::note::{Notes, Remark};
use super::{Settings, names};
use crate::objects::{Gateway, GatewayAddress, Labels, ObjectRef, Objects};

/// The Gateways that lead out of other networks into the own, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct OwnGateways<'a>(HashSet<(&'a str, &'a str), RandomState>);

impl<'a> OwnGateways<'a> {
    pub(super) fn new(objects: &'a Objects, settings: &Settings) -> Self {
        let is_own =
            |gateway: &&'a Arc<Gateway>| is_east_west(gateway) && why_not_own(gateway, settings).is_none();
        let key = |gateway: &'a Arc<Gateway>| (&*gateway.metadata.namespace, &*gateway.metadata.name);
        Self(objects.gateways.iter().filter(is_own).map(key).collect())
    }

    /// Whether a workload of that namespace, with these labels, is one of them.
    pub(super) fn has(&self, namespace: &str, labels: &Labels) -> bool {
        // Nearly every cluster has none.
        !self.0.is_empty()
            && labels.get(names::GATEWAY_NAME).is_some_and(|name| self.0.contains(&(namespace, name)))
    }
}

/// The networks that Gateways lead to.
#[derive(Debug)]
pub(super) struct Networks<'a> {
    own: &'a str,
    others: BTreeSet<&'a str>,
}

impl<'a> Networks<'a> {
    pub(super) fn new(objects: &'a Objects, settings: &'a Settings) -> Self {
        let remote = objects.gateways.iter().filter(|gateway| is_remote(gateway));
        let others = remote.filter_map(|gateway| gateway.metadata.label(names::NETWORK)).collect();
        Self { own: settings.network.as_str(), others }
    }

    /// What there is to say of an object that is on that network.
    pub(super) fn remark(&self, network: &str) -> Option<Remark> {
        if network == self.own || self.others.contains(network) {
            return None;
        }
        let mut known = format!("mesh.network is {:?}", self.own);
        for other in &self.others {
            known.push_str(&format!(", a Gateway leads to {other:?}"));
        }
        Some(Remark::NetworkUnknown { network: network.into(), known })
    }
}

/// The gateways of other networks. One that is of no use is among them, so that it can be named as what is in the way.
pub(super) fn all(objects: &Objects, settings: &Settings, notes: &mut Notes) -> Vec<NetworkGateway> {
    for gateway in objects.gateways.iter().filter(|gateway| is_east_west(gateway)) {
        if let Some(why) = why_not_own(gateway, settings) {
            notes.add(ObjectRef::of(names::GATEWAY, &gateway.metadata), Remark::GatewayNotOwn { why });
        }
    }
    let remote = objects.gateways.iter().filter(|gateway| is_remote(gateway));
    remote.filter_map(|gateway| described(gateway, settings, notes)).collect()
}

fn is_east_west(gateway: &Gateway) -> bool {
    &*gateway.spec.gateway_class_name == EAST_WEST
}

/// Why a gateway of this cluster does not lead into the own network, if it does not.
fn why_not_own(gateway: &Gateway, settings: &Settings) -> Option<String> {
    if gateway.tunnel_listener().is_none() {
        return Some("it has no listener of protocol HBONE".to_owned());
    }
    let (network, own) =
        (gateway.metadata.label(names::NETWORK).unwrap_or_default(), settings.network.as_str());
    (network != own)
        .then(|| format!("its label topology.istio.io/network is {network:?}, and mesh.network is {own:?}"))
}

/// Whether it describes a gateway that somebody else runs.
pub(super) fn is_remote(gateway: &Gateway) -> bool {
    &*gateway.spec.gateway_class_name == REMOTE
}

fn described(gateway: &Gateway, settings: &Settings, notes: &mut Notes) -> Option<NetworkGateway> {
    let metadata = &gateway.metadata;
    let mut note = |remark| notes.add(ObjectRef::of(names::GATEWAY, metadata), remark);
    let Some(network) = metadata.label(names::NETWORK).filter(|network| !network.is_empty()) else {
        note(Remark::GatewayUnusable { why: "it has no label topology.istio.io/network" });
        return None;
    };
    let listener = gateway.tunnel_listener();
    let mut hosts = Vec::new();
    for address in &gateway.spec.addresses {
        match host(address) {
            Some(host) => hosts.push(host),
            None => note(invalid("spec.addresses", &address.value)),
        }
    }
    match listener {
        None => {
            hosts.clear();
            note(Remark::GatewayUnusable { why: "it has no listener of protocol HBONE" });
        }
        Some(_) if hosts.is_empty() => note(Remark::GatewayUnusable { why: "it has no address in its spec" }),
        Some(_) => {}
    }
    let identity = identity(gateway, settings);
    if identity.is_none() {
        note(Remark::GatewayUnusable { why: "its names make no identity to expect of it" });
    }
    Some(NetworkGateway {
        key: format!("{}/{}", metadata.namespace, metadata.name).into(),
        network: Network::new(network),
        hosts: hosts.into(),
        port: listener.map(|listener| listener.port).filter(|port| *port > 0).unwrap_or(HBONE_PORT),
        identity,
    })
}

/// Where it is; none for what leads nowhere, or back to who asks.
fn host(address: &GatewayAddress) -> Option<GatewayHost> {
    match &*address.r#type {
        "" | "IPAddress" => {
            let ip = address.value.parse::<IpAddr>().ok()?.to_canonical();
            let leads_nowhere = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
            (!leads_nowhere).then_some(GatewayHost::Ip(ip))
        }
        "Hostname" => {
            let name = entries::hostname(&address.value)?;
            let is_ip = name.parse::<IpAddr>().is_ok();
            (!name.starts_with('*') && !is_ip).then_some(GatewayHost::Name(name))
        }
        _ => None,
    }
}

/// Whom to expect there: the account that its annotation names, else the one that Istio makes for such a Gateway.
fn identity(gateway: &Gateway, settings: &Settings) -> Option<SpiffeId> {
    let metadata = &gateway.metadata;
    let annotated = |name| metadata.annotation(name).filter(|value| !value.is_empty());
    let trust_domain = match annotated(names::GATEWAY_TRUST_DOMAIN) {
        Some(name) => name.parse::<TrustDomain>().ok()?,
        None => settings.trust_domain.clone(),
    };
    let made = || format!("{}-{REMOTE}", metadata.name);
    let account = annotated(names::GATEWAY_SERVICE_ACCOUNT).map_or_else(made, str::to_owned);
    SpiffeId::new(&trust_domain, &metadata.namespace, &account).ok()
}

/// The class of gateways that somebody else runs.
pub(super) const REMOTE: &str = "istio-remote";

/// The class of gateways that take other networks' tunnels into the cluster.
pub(super) const EAST_WEST: &str = "istio-east-west";

/// Where a gateway takes tunnels unless its listener says otherwise.
const HBONE_PORT: u16 = 15008;
