//! NetworkPolicies of Kubernetes, as far as they say who may reach a port of a pod.
//!
//! The cluster's network enforces them as well, but of a tunnel it sees port 15008 only: which port of the pod a
//! connection inside it is for, only who opens the tunnel can tell.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::{Snapshot, Workload};

/// The ingress rules of a NetworkPolicy. A pod that any selects is reached only as one of them says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NetworkPolicy {
    /// `namespace/name`.
    pub key: Arc<str>,
    /// Any of these lets a connection in.
    pub ingress: Vec<IngressRule>,
}

/// `spec.ingress[]` of a NetworkPolicy.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct IngressRule {
    /// Who may; none means everyone.
    pub from: Option<Vec<NetworkPeer>>,
    /// TCP ports that it is about; none means all.
    pub ports: Option<Vec<NetworkPort>>,
}

/// Who a rule lets in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum NetworkPeer {
    /// The workloads that are in the group ([`NetworkMembership::groups`]).
    Group(Arc<str>),
    /// The addresses of a range, without some of it.
    Range {
        /// The range.
        range: IpNet,
        /// Parts of it that are not meant.
        except: Vec<IpNet>,
    },
}

/// A port that a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum NetworkPort {
    /// The container's port of that name.
    Named(Arc<str>),
    /// From the first to the last.
    Range(u16, u16),
}

/// What NetworkPolicies have to do with a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct NetworkMembership {
    /// Policies with ingress rules that select it, as `namespace/name`.
    pub isolated_by: Arc<[Arc<str>]>,
    /// Peers of policies that mean it.
    pub groups: Arc<[Arc<str>]>,
    /// The ports that policies which select it call by name.
    pub named_ports: Arc<[(Arc<str>, u16)]>,
}

/// NetworkPolicies select the pod, and none of them lets the connection in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
pub struct Isolated {
    /// The policies.
    pub by: Arc<[Arc<str>]>,
    /// The port.
    pub port: u16,
}

impl Snapshot {
    /// Whether NetworkPolicies let `source` at `source_ip` reach a port of a pod. Its own node always may, and the pod
    /// itself, as Kubernetes promises. A policy that is not known (yet) lets nobody in.
    ///
    /// # Errors
    /// [`Isolated`] names the policies.
    pub fn admitted_by_network(
        &self,
        local: &Workload,
        source: Option<&Workload>,
        source_ip: IpAddr,
        port: u16,
    ) -> Result<(), Isolated> {
        let NetworkMembership { isolated_by, named_ports, .. } = &local.profile.network_membership;
        let is_near = || local.node.addresses.contains(&source_ip) || local.addresses.contains(&source_ip);
        if isolated_by.is_empty() || is_near() {
            return Ok(());
        }
        let groups = source.map(|source| &*source.profile.network_membership.groups).unwrap_or_default();
        let policies = isolated_by.iter().filter_map(|key| self.network_policies.get(key));
        let mut rules = policies.flat_map(|policy| &policy.ingress);
        let admits = |rule: &IngressRule| rule.is_about(port, named_ports) && rule.lets_in(groups, source_ip);
        match rules.any(admits) {
            true => Ok(()),
            false => Err(Isolated { by: isolated_by.clone(), port }),
        }
    }
}

impl IngressRule {
    /// Whether it is about a port of a pod with such names of ports.
    pub fn is_about(&self, port: u16, named: &[(Arc<str>, u16)]) -> bool {
        self.ports.as_ref().is_none_or(|ports| {
            ports.iter().any(|it| match it {
                NetworkPort::Named(name) => named.iter().any(|(known, at)| known == name && *at == port),
                NetworkPort::Range(first, last) => (*first..=*last).contains(&port),
            })
        })
    }

    fn lets_in(&self, groups: &[Arc<str>], ip: IpAddr) -> bool {
        self.from.as_ref().is_none_or(|peers| {
            peers.iter().any(|peer| match peer {
                NetworkPeer::Group(group) => groups.contains(group),
                NetworkPeer::Range { range, except } => {
                    range.contains(&ip) && !except.iter().any(|range| range.contains(&ip))
                }
            })
        })
    }
}

impl fmt::Display for Isolated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, port } = self;
        let by = by.iter().map(|key| &**key).collect::<Vec<_>>().join(", ");
        write!(f, "no NetworkPolicy of the pod lets the connection in to port {port}: {by}")
    }
}
