//! What comes in without a tunnel: clients outside of the mesh, and the node's own probes.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use authz::SourceClass;
use daemon::logs::{Direction, Path};
use daemon::metrics::ResponseFlag;
use hbone::relay;
use hbone::socket::Socket;
use mesh::{NetworkAddress, Workload};

use super::accept::{self, Taken};
use super::carried::{self, Carried};
use super::failure::Failure;
use super::meter::Metered;
use super::pod::ServedPod;
use super::worker::Worker;
use super::workers::Arrival;
use crate::decision::{self, InboundTarget, class_by_address};
use crate::telemetry::{End, Opening, rule_ref};

/// Serves one connection to a pod.
pub(super) fn serve(worker: Rc<Worker>, arrival: Arrival) -> impl Future<Output = ()> {
    carried::run(Box::pin(begin(worker, arrival)))
}

async fn begin(worker: Rc<Worker>, arrival: Arrival) -> Option<Carried> {
    let Arrival { socket, pod, load, .. } = arrival;
    let Taken { socket, client, destination } = accept::taken(socket)?;
    let bounds = &worker.shared.bounds;
    let places = match (pod.connection(&client.ip()), bounds.file(&pod.uid), bounds.file(&pod.uid)) {
        (Ok(connection), Ok(near), Ok(far)) => (connection, near, far),
        (Err(limit), ..) | (_, Err(limit), _) | (.., Err(limit)) => {
            worker.turn_away(limit, &pod, Some(client.ip()));
            return None;
        }
    };
    let plaintext = Plaintext { worker, pod, client, destination };
    let Some(lease) = plaintext.pod.captured().and_then(|captured| captured.leases.take()) else {
        plaintext.failed(Failure::Released);
        return None;
    };
    plaintext.begin(socket, (places, lease, load)).await
}

struct Plaintext {
    worker: Rc<Worker>,
    pod: Arc<ServedPod>,
    client: SocketAddr,
    destination: SocketAddr,
}

impl Plaintext {
    async fn begin<H: Unpin + 'static>(&self, socket: Socket, held: H) -> Option<Carried> {
        // Where it is not known nobody knows which policies apply: closed.
        let Some((snapshot, local)) = self.pod.known(&self.worker.shared.snapshots).await else {
            self.failed(Failure::UnknownReceiver);
            return None;
        };
        let address = NetworkAddress::new(local.profile.network.clone(), self.client.ip());
        let source = snapshot.workload_by_address(&address).cloned();
        let mut opening = self.opening(Some(local.clone()), source);
        let ip = self.client.ip();
        opening.class =
            if self.is_probe() { Some(SourceClass::Probe) } else { class_by_address(&snapshot, ip) };
        let decided = decision::inbound_plaintext(&snapshot, &local, ip, self.destination, opening.class);
        let target = match decided {
            Ok(target) => target,
            Err(error) => {
                self.worker.not_let_in(opening, &error);
                return None;
            }
        };
        drop(snapshot);
        opening.policy = target.permit.by().map(rule_ref);
        if target.admission.class == Some(SourceClass::Probe) {
            self.worker.shared.counts.probes.inc();
        } else {
            self.worker.shared.counts.permitted(opening.policy.as_ref());
        }
        self.worker.observe(&target.admission);
        self.relay(socket, opening, target, held).await
    }

    /// Whether it is a probe of the node's own. Not to be known means no.
    fn is_probe(&self) -> bool {
        let Some(sockets) = self.worker.host_sockets.as_ref() else { return false };
        let ports = self.pod.probe_ports.load();
        let is_probe = sockets.is_probe(&ports, self.client, self.destination);
        let failed =
            |error: &std::io::Error| tracing::warn!(%error, "the node's sockets cannot be looked at");
        is_probe.inspect_err(failed).unwrap_or(false)
    }

    async fn relay<H: Unpin + 'static>(
        &self,
        socket: Socket,
        opening: Opening,
        target: InboundTarget,
        held: H,
    ) -> Option<Carried> {
        let InboundTarget { permit, admission, .. } = target;
        let sockets = self.pod.sockets().ok()?;
        let began = Instant::now();
        let dialled = self.worker.dial_app(sockets, self.destination, self.client, permit).await;
        self.worker.count_dial("application", began, &dialled);
        let upstream = match dialled {
            Ok(upstream) => upstream,
            Err(failure) => {
                self.worker.telemetry.open(opening).failed(ResponseFlag::Connect, failure);
                return None;
            }
        };
        let metered = Metered::new([self.worker.telemetry.open(opening)]);
        let live = self.worker.listed(&self.pod.uid, &metered, admission.into())?;
        let relay = relay::join(socket, upstream, self.worker.buffers.clone(), metered.clone());
        Some(self.worker.carry(live, metered, relay, held))
    }

    /// Notes that it came to nothing before anybody was asked.
    fn failed(&self, failure: Failure) {
        let local = self.pod.workload(&self.worker.shared.snapshots.load()).cloned();
        self.worker.telemetry.open(self.opening(local, None)).failed(failure.flag(), failure);
    }

    fn opening(&self, local: Option<Arc<Workload>>, source: Option<Arc<Workload>>) -> Opening {
        Opening {
            direction: Direction::Inbound,
            path: Path::Passthrough,
            source: End { addr: self.client, workload: source, identity: None },
            class: None,
            destination: End::of(self.destination, local),
            hbone_addr: None,
            service: None,
            hostname: None,
            network: None,
            policy: None,
            trace: self.worker.trace(),
        }
    }
}
