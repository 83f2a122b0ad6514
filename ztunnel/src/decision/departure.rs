//! What let a connection out that nobody in the mesh vouches for at its other end, to be asked again when it changes.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh::{
    EndpointTarget, Hostname, Place, Resolution, Service, Snapshot, Workload, WorkloadKind, WorkloadUid,
};

use super::outside::outside;
use super::reach::{Called, address_of, may_be_plain, receiver};
use super::{Plan, Refusal};

/// A connection of a pod that goes out in plaintext, or to who is in the mesh only because somebody wrote it down; and
/// on which grounds it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The address that the pod dialled.
    pub dialled: SocketAddr,
    /// Where it goes.
    pub reached: SocketAddr,
    /// In a tunnel, whose other end decides about it.
    pub tunnelled: bool,
    /// The workload that receives it, if one is known.
    pub receiver: Option<WorkloadUid>,
    /// The service that makes the destination known, where no workload does.
    pub service: Option<Hostname>,
    /// The name by which it was let out, or under which its destination was looked up.
    pub name: Option<Arc<str>>,
}

impl Departure {
    /// What a connection to `dialled` is to be asked about again; nothing, where its other end is asked. `reached` is
    /// where it went, if that was in plaintext.
    pub fn of(plan: &Plan, dialled: SocketAddr, reached: Option<SocketAddr>) -> Option<Self> {
        let (upstream, reached, tunnelled) = match plan {
            Plan::Direct { upstream, .. } => (Some(upstream), reached?, false),
            Plan::Hbone(tunnel) if is_written_down(tunnel.upstream.workload.as_deref()) => {
                (Some(&tunnel.upstream), tunnel.authority, true)
            }
            Plan::Passthrough { destination, .. } => (None, *destination, false),
            Plan::Hbone(_) | Plan::Local(_) | Plan::Nested(_) | Plan::Waypoint(_) => return None,
        };
        let name = match (plan, upstream.map(|upstream| &upstream.place)) {
            (Plan::Passthrough { passed, .. }, _) => passed.name().cloned(),
            (_, Some(Place::Name(host))) => Some(host.clone()),
            _ => None,
        };
        let receiver = upstream.and_then(|it| it.workload.as_ref()).map(|workload| workload.uid.clone());
        let dialled = SocketAddr::new(dialled.ip().to_canonical(), dialled.port());
        Some(Self { dialled, reached, tunnelled, receiver, service: None, name })
    }

    /// Whether it may still be, and who makes its destination known by now: its receiver's policies permit plaintext,
    /// or a service describes where it goes, or `source`'s namespace lets it out all the same.
    ///
    /// # Errors
    /// Why not.
    pub fn ask_again(&mut self, snapshot: &Snapshot, source: &Workload) -> Result<(), Refusal> {
        let known = self.receiver.as_ref().and_then(|uid| snapshot.workload(uid));
        let known = known.filter(|it| it.hostname.is_some() || it.addresses.contains(&self.reached.ip()));
        let there = address_of(source, self.reached.ip());
        // Who dials a node means whoever has the port; a service that leads there does not.
        let named =
            || snapshot.workload_at(&there, self.reached.port()).filter(|_| self.dialled == self.reached);
        if let Some(workload) = receiver(snapshot, known, &there).or_else(named) {
            self.receiver = Some(workload.uid.clone());
            self.service = None;
            return match self.tunnelled {
                true => Ok(()),
                false => may_be_plain(snapshot, source, workload, self.reached),
            };
        }
        self.service = match Called::by(snapshot, source, self.dialled) {
            Called::Service(service) if self.is_of(service, source) => Some(service.key.hostname.clone()),
            _ => None,
        };
        if self.service.is_some() {
            return Ok(());
        }
        let names = |_| self.name.iter().cloned().collect();
        outside(snapshot, &source.profile.namespace, self.reached, names).map(|_| ())
    }

    /// Whether a service leads where it goes, though no workload is known there.
    fn is_of(&self, service: &Service, source: &Workload) -> bool {
        match service.resolution {
            Resolution::Passthrough => self.dialled == self.reached,
            Resolution::Dns | Resolution::Static => {
                let there = EndpointTarget::Address(address_of(source, self.reached.ip()));
                service.endpoints.iter().any(|endpoint| endpoint.target == there)
            }
        }
    }
}

/// Whether a workload is known only because somebody wrote it down: its end of a tunnel does not know when that goes.
fn is_written_down(workload: Option<&Workload>) -> bool {
    workload.is_some_and(|workload| workload.profile.kind == WorkloadKind::Entry)
}
