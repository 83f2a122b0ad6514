//! Whom an address means, and who may be reached in plaintext: asked when a connection is opened, and again of those
//! that live.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh::{Capture, Family, NetworkAddress, Service, Snapshot, Workload, WorkloadKind};

use super::Refusal;

/// Whom a pod means by the address that it dials.
#[derive(Clone, Copy, Debug)]
pub(super) enum Called<'a> {
    /// Nobody that the mesh knows.
    Nobody,
    /// A service.
    Service(&'a Arc<Service>),
    /// A workload.
    Workload(&'a Arc<Workload>),
}

impl<'a> Called<'a> {
    /// The service that has the very address, then the workload that has it (in its node's network, that port of it),
    /// then the service with the longest range around it.
    pub(super) fn by(snapshot: &'a Snapshot, source: &Workload, destination: SocketAddr) -> Self {
        let (address, port) = (address_of(source, destination.ip()), destination.port());
        let namespace = &*source.profile.namespace;
        // A ServiceEntry says nothing about ports that it doesn't list, on addresses that aren't the mesh's to give.
        if let Some(service) = snapshot.service_with_address(&address, port, namespace)
            && (service.canonical || service.has_port(port))
        {
            return Self::Service(service);
        }
        if let Some(workload) = snapshot.workload_at(&address, port) {
            return Self::Workload(workload);
        }
        snapshot.service_with_range(&address, port, namespace).map_or(Self::Nobody, Self::Service)
    }
}

/// An address as `source` means it.
pub(super) fn address_of(source: &Workload, ip: IpAddr) -> NetworkAddress {
    NetworkAddress::new(source.profile.network.clone(), ip)
}

/// Who receives what goes to an address. `known` is the endpoint's own workload; one that names no pod may be one all the
/// same. At a node's address it is none: what a service leads to there (the API server, say) is not a pod's for the pod's
/// saying that it has the port.
pub(super) fn receiver<'a>(
    snapshot: &'a Snapshot,
    known: Option<&'a Arc<Workload>>,
    address: &NetworkAddress,
) -> Option<&'a Arc<Workload>> {
    let there = snapshot.workload_by_address(address);
    match known {
        Some(known) if !is_only_listed(known) || there.is_none_or(|it| is_only_listed(it)) => Some(known),
        _ => there,
    }
}

/// Whether the mesh protects what goes to that port of a workload, or is to.
pub(super) fn is_protected(workload: &Workload, port: u16) -> bool {
    workload.capture != Capture::Off && workload.answers_at(port)
}

/// Whether plaintext may go from `source` to a workload.
///
/// # Errors
/// [`Refusal::PlaintextRefused`], where its policies demand an identity or refuse for another reason.
pub(super) fn may_be_plain(
    snapshot: &Snapshot,
    source: &Workload,
    workload: &Workload,
    destination: SocketAddr,
) -> Result<(), Refusal> {
    if !is_protected(workload, destination.port()) {
        return Ok(());
    }
    let policies = snapshot.policies_for(workload);
    let admitted = policies.admits_plaintext(source_ip(source, destination.ip()), destination);
    admitted.map_err(|denied| Refusal::PlaintextRefused { workload: workload.uid.clone(), denied })
}

/// The address that a pod will have for who is at `destination`.
fn source_ip(source: &Workload, destination: IpAddr) -> IpAddr {
    let own = &source.addresses;
    let alike = own.iter().find(|ip| Family::of(**ip) == Family::of(destination));
    alike.or_else(|| own.first()).copied().unwrap_or(destination)
}

/// Whether all that is known of a workload is that somebody wrote its address down.
fn is_only_listed(workload: &Workload) -> bool {
    workload.profile.kind == WorkloadKind::Entry && workload.capture == Capture::Off
}
