//! What let an inbound connection in, to be asked again when it changes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use authz::{Attributes, Permit, PolicySet, SourceClass};
use identity::SpiffeId;
use mesh::{NetworkAddress, Snapshot, Workload, WorkloadUid};

use super::InboundError;

/// An inbound connection that was let in, and on which grounds.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The verified identity of who opened it.
    pub source: Option<SpiffeId>,
    /// What it is known to be without one.
    pub class: Option<SourceClass>,
    /// Its address.
    pub source_ip: IpAddr,
    /// The workload at that address, if one is known.
    pub peer: Option<WorkloadUid>,
    /// What it reaches.
    pub destination: SocketAddr,
    /// What decided.
    pub policies: Arc<PolicySet>,
}

/// Who opens a connection, as far as its way in tells.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// A verified identity.
    Peer(&'a SpiffeId),
    /// Nobody proves who it is; what it is known to be.
    Unproven(Option<SourceClass>),
}

impl Admission {
    /// Decides about a connection: policy first, then the cluster's NetworkPolicies.
    pub(super) fn decide(
        snapshot: &Snapshot,
        local: &Workload,
        source: Source<'_>,
        source_ip: IpAddr,
        destination: SocketAddr,
    ) -> Result<(Permit, Self), InboundError> {
        let source_ip = source_ip.to_canonical();
        let (source, class) = match source {
            Source::Peer(peer) => (Some(peer.clone()), None),
            Source::Unproven(class) => (None, class),
        };
        let policies = snapshot.policies_for(local);
        let mut admission = Self { source, class, source_ip, peer: None, destination, policies };
        let permit = admission.evaluate()?;
        let peer = admission.find_peer(snapshot, local);
        admission.admitted_by_network(snapshot, local, peer.map(|peer| &**peer))?;
        admission.peer = peer.map(|peer| peer.uid.clone());
        Ok((permit, admission))
    }

    /// Decides anew, if anything that decided has changed.
    ///
    /// # Errors
    /// Why it would not be let in any more.
    pub fn ask_again(&mut self, snapshot: &Snapshot, local: &Workload) -> Result<(), InboundError> {
        let policies = snapshot.policies_for(local);
        let class = match (&self.source, self.class) {
            (None, None | Some(SourceClass::Node)) => class_by_address(snapshot, self.source_ip),
            (_, class) => class,
        };
        if class != self.class || !Arc::ptr_eq(&policies, &self.policies) {
            (self.class, self.policies) = (class, policies);
            let _permitted = self.evaluate()?;
        }
        // Who is gone takes its connections along: until then it is whom it was.
        let peer = self.peer.as_ref().and_then(|peer| snapshot.workload(peer));
        match (&self.peer, peer) {
            (Some(_), None) => Ok(()),
            (_, peer) => self.admitted_by_network(snapshot, local, peer.map(|peer| &**peer)),
        }
    }

    /// Whether the workload that it came from has another identity by now than the one that it proved.
    pub fn is_of_another(&self, snapshot: &Snapshot) -> bool {
        let peer = self.peer.as_ref().and_then(|peer| snapshot.workload(peer));
        let proved = self.source.as_ref();
        proved.is_some_and(|proved| peer.is_some_and(|peer| !peer.is(proved)))
    }

    /// What policy sees of it.
    pub fn attributes(&self) -> Attributes<'_> {
        let Self { source, class, source_ip, destination, .. } = self;
        Attributes {
            source: source.as_ref(),
            class: *class,
            source_ip: *source_ip,
            destination: *destination,
        }
    }

    fn evaluate(&self) -> Result<Permit, InboundError> {
        self.policies.evaluate(&self.attributes()).map_err(InboundError::Denied)
    }

    fn admitted_by_network(
        &self,
        snapshot: &Snapshot,
        local: &Workload,
        peer: Option<&Workload>,
    ) -> Result<(), InboundError> {
        if self.class == Some(SourceClass::Probe) {
            return Ok(());
        }
        let port = self.destination.port();
        snapshot.admitted_by_network(local, peer, self.source_ip, port).map_err(InboundError::Isolated)
    }

    /// The workload at its address; one with its identity where it has one.
    fn find_peer<'a>(&self, snapshot: &'a Snapshot, local: &Workload) -> Option<&'a Arc<Workload>> {
        let address = NetworkAddress::new(local.profile.network.clone(), self.source_ip);
        let there = snapshot.workloads_by_address(&address);
        match &self.source {
            Some(identity) => there.iter().find(|workload| workload.is(identity)),
            None => there.first(),
        }
    }
}

/// What a source without an identity is known to be by its address.
pub fn class_by_address(snapshot: &Snapshot, ip: IpAddr) -> Option<SourceClass> {
    snapshot.node_by_address(ip.to_canonical()).map(|_| SourceClass::Node)
}
