//! Two pods of this node, joined without a tunnel.
//!
//! The decision is the receiver's, as it would be at the end of a tunnel: same policy, same records. Who the sender is
//! needs no proof, as the connection was taken from its own namespace.

use std::sync::Arc;

use daemon::logs::{Direction, Path};
use daemon::metrics::ResponseFlag;
use hbone::relay;
use hbone::socket::Socket;
use identity::SpiffeId;
use mesh::{PodUid, Workload};

use super::carried::Carried;
use super::failure::Failure;
use super::meter::Metered;
use super::outbound::{Held, Outbound, Source};
use super::pod::ServedPod;
use super::shares::Share;
use crate::decision::{self, Admission};
use crate::enrol::Lease;
use crate::telemetry::{End, Opening, rule_ref};

/// A connection to another pod of this node.
pub(super) struct Joined {
    upstream: Socket,
    pod: Arc<ServedPod>,
    admission: Admission,
    inbound: Opening,
    lease: Lease,
    file: Share<PodUid>,
}

impl Outbound {
    /// Connects to a pod of this node; none where it is not served here.
    pub(super) async fn join(
        &self,
        source: &Source,
        tunnel: &decision::Tunnel,
    ) -> Option<Result<Joined, Failure>> {
        let uid = tunnel.upstream.workload.as_ref()?.pod_uid.as_ref()?;
        let pod = self.worker.pod(uid)?;
        let lease = pod.captured()?.leases.take()?;
        Some(self.join_pod(source, tunnel, pod, lease).await)
    }

    async fn join_pod(
        &self,
        source: &Source,
        tunnel: &decision::Tunnel,
        pod: Arc<ServedPod>,
        lease: Lease,
    ) -> Result<Joined, Failure> {
        let identity = source.identity.as_ref().ok_or(Failure::UnknownSource)?;
        // It is the sender's: the receiver is not to pay for what others open.
        let file = self.worker.shared.bounds.file(&self.pod.uid).map_err(|limit| self.no_file(limit))?;
        let (decided, local) = {
            let snapshot = self.worker.shared.snapshots.load();
            let local = pod.workload(&snapshot).ok_or(Failure::Released)?;
            let from = self.client.ip();
            (decision::node_local(&snapshot, local, identity, from, tunnel.authority), local.clone())
        };
        let mut inbound = self.arriving(source, tunnel, identity, local);
        let target = match decided {
            Ok(target) => target,
            Err(error) => {
                self.worker.not_let_in(inbound, &error);
                return Err(Failure::Destination(error));
            }
        };
        inbound.policy = target.permit.by().map(rule_ref);
        self.worker.shared.counts.permitted(inbound.policy.as_ref());
        let admission = target.admission;
        self.worker.observe(&admission);
        let sockets = pod.sockets()?;
        match self.worker.dial_app(sockets, target.upstream, self.client, target.permit).await {
            Ok(upstream) => Ok(Joined { upstream, pod, admission, inbound, lease, file }),
            Err(failure) => {
                self.worker.telemetry.open(inbound).failed(ResponseFlag::Connect, failure.clone());
                Err(failure)
            }
        }
    }

    /// What the receiver's side tells of the connection.
    fn arriving(
        &self,
        source: &Source,
        tunnel: &decision::Tunnel,
        identity: &SpiffeId,
        local: Arc<Workload>,
    ) -> Opening {
        Opening {
            direction: Direction::Inbound,
            path: Path::NodeLocal,
            source: End {
                addr: self.client,
                workload: Some(source.workload.clone()),
                identity: Some(identity.clone()),
            },
            class: None,
            destination: End::of(tunnel.authority, Some(local)),
            hbone_addr: None,
            service: tunnel.upstream.service.clone(),
            hostname: None,
            network: None,
            policy: None,
            trace: self.worker.trace_below(Some(self.trace.own)),
        }
    }

    pub(super) fn relay_local(
        &self,
        socket: Socket,
        mut opening: Opening,
        joined: Joined,
        held: Held,
    ) -> Option<Carried> {
        let Joined { upstream, pod, admission, inbound, lease, file } = joined;
        opening.destination.identity = inbound.destination.identity.clone();
        let worker = &self.worker;
        let metered = Metered::new([worker.telemetry.open(opening), worker.telemetry.open(inbound)]);
        // Listed under the receiver, whose policies decide; when the sender goes, its own socket says so.
        let live = worker.listed(&pod.uid, &metered, admission.into())?;
        let relay = relay::join(socket, upstream, worker.buffers.clone(), metered.clone());
        Some(worker.carry(live, metered, relay, (lease, file, held)))
    }
}
