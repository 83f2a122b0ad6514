//! What comes in without a tunnel: clients outside of the mesh, and the node's own probes.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use authz::{Attributes, Denied, Permit, PolicySet};
use daemon::logs::{Direction, Path};
use daemon::metrics::ResponseFlag;
use hbone::relay;
use hbone::socket::Socket;
use mesh::{NetworkAddress, Workload};

use super::live::Admission;
use super::meter::Metered;
use super::pod::ServedPod;
use super::worker::Worker;
use super::workers::Arrival;
use crate::decision::{self, InboundError};
use crate::redirect::{canonical, original_destination};
use crate::telemetry::{End, Opening, policy_ref};

/// Serves one connection to a pod.
pub(super) async fn serve(worker: Rc<Worker>, arrival: Arrival) {
    let Arrival { socket, pod, load: _load, .. } = arrival;
    let ends = (original_destination(&socket), socket.peer_addr());
    let (Ok(destination), Ok(client)) = ends else { return };
    let Some(client) = client.as_socket().map(canonical) else { return };
    let Ok(socket) = Socket::from_nonblocking(socket) else { return };
    let limit = worker.shared.settings.limits.connections_per_pod;
    let (Some(_slot), Some(_lease)) = (pod.connection(limit), pod.captured.leases.take()) else {
        worker.shared.counts.turned_away.with_label_values(&["connections_per_pod"]).inc();
        return socket.reset_on_close();
    };
    Plaintext { worker, pod, client, destination }.run(socket).await;
}

struct Plaintext {
    worker: Rc<Worker>,
    pod: Arc<ServedPod>,
    client: SocketAddr,
    destination: SocketAddr,
}

/// What lets a connection in.
struct Admitted {
    permit: Permit,
    /// None for a probe: policy has no say in it.
    admission: Option<Admission>,
}

impl Plaintext {
    async fn run(&self, socket: Socket) {
        let snapshot = self.worker.shared.snapshots.load_full();
        let Some(local) = self.pod.workload(&snapshot).cloned() else {
            // Nobody knows which policies apply: closed.
            return socket.reset_on_close();
        };
        let address = NetworkAddress::new(local.profile.network.clone(), self.client.ip());
        let source = snapshot.workload_by_address(&address).cloned();
        let mut opening = self.opening(local.clone(), source);
        let admitted = match self.admit(&snapshot, &local) {
            Ok(admitted) => admitted,
            Err(error) => {
                socket.reset_on_close();
                return self.worker.not_let_in(opening, &error);
            }
        };
        drop(snapshot);
        opening.policy = admitted.permit.by().map(|name| policy_ref(name, None));
        self.relay(socket, opening, admitted).await;
    }

    fn admit(&self, snapshot: &mesh::Snapshot, local: &Workload) -> Result<Admitted, InboundError> {
        match decision::inbound_plaintext(snapshot, local, self.client.ip(), self.destination) {
            Ok(target) => {
                self.worker.shared.counts.permitted(&target.permit);
                let admission = Admission {
                    source: None,
                    peer: None,
                    source_ip: self.client.ip(),
                    destination: target.upstream,
                    policies: target.policies,
                };
                self.worker.observe(&admission);
                Ok(Admitted { permit: target.permit, admission: Some(admission) })
            }
            Err(InboundError::Denied(denied)) => match self.probe() {
                Some(permit) => Ok(Admitted { permit, admission: None }),
                None => Err(InboundError::Denied(denied)),
            },
            Err(error) => Err(error),
        }
    }

    /// What permits a probe of the node's own. Only asked where policy refuses.
    fn probe(&self) -> Option<Permit> {
        let sockets = self.worker.host_sockets.as_ref()?;
        let ports = self.pod.probe_ports.load();
        let is_probe = sockets.is_probe(&ports, self.client, self.destination);
        if !is_probe
            .inspect_err(|error| tracing::warn!(%error, "the node's sockets cannot be looked at"))
            .ok()?
        {
            return None;
        }
        self.worker.shared.counts.probes.inc();
        let attributes =
            Attributes { source: None, source_ip: self.client.ip(), destination: self.destination };
        let permit: Result<Permit, Denied> = PolicySet::allow_all().evaluate(&attributes);
        permit.ok()
    }

    async fn relay(&self, socket: Socket, opening: Opening, admitted: Admitted) {
        let Admitted { permit, admission } = admitted;
        let sockets = &self.pod.captured.sockets;
        let began = Instant::now();
        let dialled = self.worker.dial_app(sockets, self.destination, self.client, permit).await;
        self.worker.count_dial("application", began, &dialled);
        let upstream = match dialled {
            Ok(upstream) => upstream,
            Err(failure) => {
                socket.reset_on_close();
                return self.worker.telemetry.open(opening).failed(ResponseFlag::Connect, failure);
            }
        };
        let metered = Metered::new([self.worker.telemetry.open(opening)]);
        let listed = match admission {
            Some(admission) => self.worker.list(&self.pod.uid, &metered, admission),
            None => Ok(self.worker.live.connection(&self.pod.uid, &metered, None)),
        };
        let live = match listed {
            Ok(live) => live,
            Err(cut) => {
                socket.reset_on_close();
                return self.worker.cut_off(&metered, &cut);
            }
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
        }
    }
}
