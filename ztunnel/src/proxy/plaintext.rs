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
use super::meter::Metered;
use super::pod::ServedPod;
use super::worker::Worker;
use super::workers::Arrival;
use crate::decision::{self, InboundTarget};
use crate::telemetry::{End, Opening, policy_ref};

/// Serves one connection to a pod.
pub(super) async fn serve(worker: Rc<Worker>, arrival: Arrival) {
    let Arrival { socket, pod, load: _load, .. } = arrival;
    let Some(Taken { socket, client, destination }) = accept::taken(socket) else { return };
    let bounds = &worker.shared.bounds;
    let _places = match (pod.connection(&client.ip()), bounds.file(&pod.uid), bounds.file(&pod.uid)) {
        (Ok(connection), Ok(near), Ok(far)) => (connection, near, far),
        (Err(limit), ..) | (_, Err(limit), _) | (.., Err(limit)) => {
            return worker.turn_away(limit, &pod, Some(client.ip()));
        }
    };
    let Some(_lease) = pod.captured.leases.take() else { return };
    Plaintext { worker, pod, client, destination }.run(socket).await;
}

struct Plaintext {
    worker: Rc<Worker>,
    pod: Arc<ServedPod>,
    client: SocketAddr,
    destination: SocketAddr,
}

impl Plaintext {
    async fn run(&self, socket: Socket) {
        let snapshot = self.worker.shared.snapshots.load_full();
        let Some(local) = self.pod.workload(&snapshot).cloned() else {
            // Nobody knows which policies apply: closed.
            return;
        };
        let address = NetworkAddress::new(local.profile.network.clone(), self.client.ip());
        let source = snapshot.workload_by_address(&address).cloned();
        let mut opening = self.opening(local.clone(), source);
        let (ip, is_probe) = (self.client.ip(), || self.is_probe());
        let decided = decision::inbound_plaintext(&snapshot, &local, ip, self.destination, is_probe);
        let target = match decided {
            Ok(target) => target,
            Err(error) => return self.worker.not_let_in(opening, &error),
        };
        drop(snapshot);
        opening.policy = target.permit.by().map(|name| policy_ref(name, None));
        if target.admission.class == Some(SourceClass::Probe) {
            self.worker.shared.counts.probes.inc();
        } else {
            self.worker.shared.counts.permitted(&target.permit);
        }
        self.worker.observe(&target.admission);
        self.relay(socket, opening, target).await;
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

    async fn relay(&self, socket: Socket, opening: Opening, target: InboundTarget) {
        let InboundTarget { permit, admission, .. } = target;
        let sockets = &self.pod.captured.sockets;
        let began = Instant::now();
        let dialled = self.worker.dial_app(sockets, self.destination, self.client, permit).await;
        self.worker.count_dial("application", began, &dialled);
        let upstream = match dialled {
            Ok(upstream) => upstream,
            Err(failure) => {
                return self.worker.telemetry.open(opening).failed(ResponseFlag::Connect, failure);
            }
        };
        let metered = Metered::new([self.worker.telemetry.open(opening)]);
        let live = match self.worker.list(&self.pod.uid, &metered, admission.into()) {
            Ok(live) => live,
            Err(cut) => return self.worker.cut_off(&metered, &cut),
        };
        let joined = relay::join(socket, upstream, &self.worker.buffers, metered.clone());
        self.worker.conclude(&metered, live.run(joined).await);
    }

    fn opening(&self, local: Arc<Workload>, source: Option<Arc<Workload>>) -> Opening {
        Opening {
            direction: Direction::Inbound,
            path: Path::Passthrough,
            source: End { addr: self.client, workload: source, identity: None },
            destination: End { addr: self.destination, identity: local.identity(), workload: Some(local) },
            hbone_addr: None,
            service: None,
            hostname: None,
            policy: None,
            trace: self.worker.trace(),
        }
    }
}
