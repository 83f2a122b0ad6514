//! What a pod opens.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use daemon::logs::{Direction, Path};
use hbone::relay;
use hbone::socket::Socket;
use hbone::tunnel::Stream;
use identity::SpiffeId;
use mesh::{
    Affinities, AffinityKey, EndpointTarget, Family, GatewayHost, Place, PodUid, Remembered, ServiceKey,
    Workload,
};
use smallvec::SmallVec;

use super::accept::{self, Taken};
use super::carried::{self, Carried};
use super::conclude::policy_of;
use super::counts::TunnelEnd;
use super::failure::Failure;
use super::limits::Limit;
use super::live::Grounds;
use super::meter::Metered;
use super::nested::Crossed;
use super::node_local::Joined;
use super::pod::ServedPod;
use super::shares::Share;
use super::tunnel_out::{Asker, Towards};
use super::worker::Worker;
use super::workers::{Arrival, Load};
use crate::decision::{self, Call, Departure, Passed, Plan, Refusal, Refused, Upstream};
use crate::dns::LookupError;
use crate::enrol::Lease;
use crate::telemetry::{End, Opening, Trace};

/// Serves one connection of a pod to somewhere.
pub(super) fn serve(worker: Rc<Worker>, arrival: Arrival) -> impl Future<Output = ()> {
    carried::run(Box::pin(begin(worker, arrival)))
}

async fn begin(worker: Rc<Worker>, arrival: Arrival) -> Option<Carried> {
    let Arrival { socket, pod, load, .. } = arrival;
    let Taken { socket, client, destination } = accept::taken(socket)?;
    let places = match (pod.connection(&client.ip()), worker.shared.bounds.file(&pod.uid)) {
        (Ok(connection), Ok(file)) => (connection, file),
        (Err(limit), _) | (_, Err(limit)) => {
            worker.turn_away(limit, &pod, None);
            return None;
        }
    };
    let trace = worker.trace();
    let outbound = Outbound { worker, pod, client, destination, trace };
    let Some(lease) = outbound.pod.captured().and_then(|captured| captured.leases.take()) else {
        outbound.refuse(None, None, Failure::Released);
        return None;
    };
    outbound.begin(socket, Held { _places: places, _lease: lease, _load: load }).await
}

/// One connection on its way out.
pub(super) struct Outbound {
    pub(super) worker: Rc<Worker>,
    pub(super) pod: Arc<ServedPod>,
    pub(super) client: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) trace: Trace,
}

/// What a connection has of its pod's and its worker's until it ends.
pub(super) struct Held {
    _places: (Share<IpAddr>, Share<PodUid>),
    _lease: Lease,
    _load: Load,
}

/// What carries a connection.
enum Carrier {
    Plain(Plain),
    Local(Box<Joined>),
    Nested(Box<Crossed>),
    Stream(Stream),
}

/// A connection in plaintext.
struct Plain {
    socket: Socket,
    address: SocketAddr,
    file: Share<PodUid>,
}

/// What was tried in vain.
#[derive(Default)]
struct Tried {
    endpoints: SmallVec<[EndpointTarget; 2]>,
    gateways: Vec<decision::Gateway>,
}

/// Who opens it.
pub(super) struct Source {
    pub(super) workload: Arc<Workload>,
    pub(super) identity: Option<SpiffeId>,
}

impl Outbound {
    async fn begin(&self, socket: Socket, held: Held) -> Option<Carried> {
        let Some(source) = self.source().await else {
            self.refuse(None, None, Failure::UnknownSource);
            return None;
        };
        match self.connect(&source).await {
            Ok((plan, carrier)) => {
                self.remember(&plan);
                self.relay(socket, &source, &plan, carrier, held)
            }
            Err((plan, failure)) => {
                self.refuse(Some(&source), plan.as_deref(), failure);
                None
            }
        }
    }

    /// The pod as the mesh knows it.
    async fn source(&self) -> Option<Source> {
        let (_, workload) = self.pod.known(&self.worker.shared.snapshots).await?;
        Some(Source { identity: workload.identity(), workload })
    }

    /// Finds somebody who takes the connection: the next endpoint where one fails before anything was sent.
    async fn connect(&self, source: &Source) -> Result<(Plan, Carrier), (Option<Box<Plan>>, Failure)> {
        let mut tried = Tried::default();
        let mut last: Option<(Box<Plan>, Failure)> = None;
        loop {
            let plan = match self.decide(source, &tried) {
                Ok(plan) => plan,
                // Nobody else is left: what the last one said tells more.
                Err(refused) => {
                    return Err(match last {
                        Some((plan, failure)) => (Some(plan), failure),
                        None => (None, Failure::Refused(refused)),
                    });
                }
            };
            match self.carry(source, &plan).await {
                Ok(carrier) => return Ok((carried_out(plan, &carrier), carrier)),
                Err(failure) => {
                    if !failure.is_endpoints_own() || !tried.note(&plan, &failure) {
                        return Err((Some(Box::new(plan)), failure));
                    }
                    tracing::debug!(error = %failure, "endpoint failed, trying another");
                    last = Some((Box::new(plan), failure));
                }
            }
        }
    }

    fn decide(&self, source: &Source, tried: &Tried) -> Result<Plan, Refused> {
        let shared = &self.worker.shared;
        let settings = decision::Settings { node_local: shared.settings.node_local };
        let recall = |service: &ServiceKey, port: u16| self.recall(service, port);
        let names = |ip: IpAddr| self.pod.names.of(ip, Instant::now());
        let call = Call {
            source: &source.workload,
            destination: self.destination,
            random: self.worker.random(),
            recall: &recall,
            names: &names,
            exclude: &tried.endpoints,
            exclude_gateways: &tried.gateways,
        };
        let plan = decision::outbound(&shared.snapshots.load(), settings, &call)?;
        Ok(match plan {
            // Captured by somebody else on this node: a proxy of its own.
            Plan::Local(tunnel) if !self.worker.serves(&tunnel) => Plan::Hbone(tunnel),
            plan => plan,
        })
    }

    async fn carry(&self, source: &Source, plan: &Plan) -> Result<Carrier, Failure> {
        let (worker, began) = (&self.worker, Instant::now());
        let carried = match plan {
            Plan::Local(tunnel) => match self.join(source, tunnel).await {
                Some(joined) => joined.map(|joined| Carrier::Local(Box::new(joined))),
                // Not served here (any more): its node's daemon is asked like any other.
                None => self.tunnelled(source, tunnel).await,
            },
            Plan::Hbone(tunnel) | Plan::Waypoint(tunnel) => self.tunnelled(source, tunnel).await,
            Plan::Nested(nested) => match self.asker(source) {
                Ok(asker) => {
                    let crossed = Box::pin(self.cross(&asker, nested)).await;
                    crossed.map(|crossed| Carrier::Nested(Box::new(crossed)))
                }
                Err(failure) => Err(failure),
            },
            Plan::Direct { upstream, .. } => match self.place(upstream).await {
                Ok(address) => self.dial(address).await,
                Err(failure) => Err(failure),
            },
            Plan::Passthrough { destination, .. } => self.dial(*destination).await,
        };
        worker.count_dial(path(plan).as_str(), began, &carried);
        if let Plan::Nested(nested) = plan {
            worker.shared.counts.crossed(&nested.network, carried.as_ref().err().map(Failure::label));
        }
        carried
    }

    async fn dial(&self, address: SocketAddr) -> Result<Carrier, Failure> {
        let file = self.worker.shared.bounds.file(&self.pod.uid);
        let file = file.map_err(|limit| self.no_file(limit))?;
        let socket = self.worker.dial(self.pod.sockets()?, address).await?;
        Ok(Carrier::Plain(Plain { socket, address, file }))
    }

    /// The connection would need one descriptor more than its pod may have.
    pub(super) fn no_file(&self, limit: Limit) -> Failure {
        self.worker.turn_away(limit, &self.pod, None);
        Failure::NoOpenFiles
    }

    async fn tunnelled(&self, source: &Source, tunnel: &decision::Tunnel) -> Result<Carrier, Failure> {
        let asker = self.asker(source)?;
        let stream = self.worker.stream(&asker, Towards::of(&asker, tunnel)).await;
        stream.map(Carrier::Stream).map_err(|failure| failure.of(tunnel))
    }

    fn asker<'a>(&'a self, source: &'a Source) -> Result<Asker<'a>, Failure> {
        let Some(identity) = &source.identity else { return Err(Failure::UnknownSource) };
        let (client, trace) = (self.client, self.trace);
        Ok(Asker { pod: &self.pod, workload: &source.workload, identity, client, trace })
    }

    /// The address of an upstream; one that is known by name is looked up.
    async fn place(&self, upstream: &Upstream) -> Result<SocketAddr, Failure> {
        let ip = match &upstream.place {
            Place::Address(address) => address.ip,
            Place::Name(host) => {
                let family = Family::of(self.destination.ip());
                let unknown =
                    |source: LookupError| Failure::Lookup { host: host.clone(), source: Arc::new(source) };
                let found = self.worker.shared.resolver.lookup(host, family).await.map_err(unknown)?;
                *found.first().ok_or_else(|| Failure::HostUnknown { host: host.clone() })?
            }
            // Nothing goes there but through its gateway.
            Place::Network(network) => return Err(Failure::HostUnknown { host: network.as_str().into() }),
        };
        Ok(SocketAddr::new(ip, upstream.port))
    }

    fn relay(
        &self,
        socket: Socket,
        source: &Source,
        plan: &Plan,
        carrier: Carrier,
        held: Held,
    ) -> Option<Carried> {
        let worker = &self.worker;
        if worker.pod(&self.pod.uid).is_none() {
            // It went while somebody was dialled: nobody would cut what was listed from here on.
            self.refuse(Some(source), Some(plan), Failure::Released);
            return None;
        }
        let mut opening = self.opening(Some(source), Some(plan));
        if let Carrier::Local(joined) = carrier {
            return self.relay_local(socket, opening, *joined, held);
        }
        if let Carrier::Stream(stream) = &carrier {
            opening.destination.identity = Some(stream.tunnel().peer().clone());
        }
        if let Carrier::Nested(crossed) = &carrier {
            let Crossed { gateway, crossing, answering, .. } = &**crossed;
            opening.destination.identity = Some(crossing.peer.clone());
            opening.destination.workload = answering.clone().or(opening.destination.workload);
            opening.hbone_addr = Some(*gateway);
        }
        let metered = Metered::new([worker.telemetry.open(opening)]);
        let live = worker.listed(&self.pod.uid, &metered, self.grounds(plan, &carrier))?;
        self.count(source, plan);
        match carrier {
            Carrier::Stream(stream) => {
                let open = worker.shared.counts.stream(TunnelEnd::Outbound);
                let relay = stream.relay(socket, metered.clone());
                Some(worker.carry(live, metered, relay, (open, held)))
            }
            Carrier::Nested(crossed) => {
                let Crossed { stream, inner, files, .. } = *crossed;
                let open = worker.shared.counts.stream(TunnelEnd::Outbound);
                let relay = stream.relay(socket, metered.clone());
                // Places are kept until the last bytes are gone.
                let leaving = inner.drive(worker, (held, files));
                Some(worker.carry(live, metered, relay, (open, leaving)))
            }
            Carrier::Plain(Plain { socket: upstream, file, .. }) => {
                let relay = relay::join(socket, upstream, worker.buffers.clone(), metered.clone());
                Some(worker.carry(live, metered, relay, (file, held)))
            }
            Carrier::Local(_) => None,
        }
    }

    /// What may change so that the connection must end, if anything may.
    fn grounds(&self, plan: &Plan, carrier: &Carrier) -> Grounds {
        let reached = match carrier {
            Carrier::Plain(plain) => Some(plain.address),
            Carrier::Nested(crossed) => return crossed.crossing.clone().into(),
            Carrier::Local(_) | Carrier::Stream(_) => None,
        };
        Departure::of(plan, self.destination, reached).into()
    }

    /// Counts what is worth knowing of connections that leave the mesh's protection.
    fn count(&self, source: &Source, plan: &Plan) {
        match plan {
            Plan::Direct { unprotected: true, .. } => self.worker.shared.counts.unprotected.inc(),
            Plan::Passthrough { destination, passed, .. } => {
                if let Some(outcome) = passed.egress_outcome() {
                    self.count_egress(outcome);
                }
                if *passed == Passed::UnknownReported {
                    let Workload { name, profile, .. } = &*source.workload;
                    let namespace = &*profile.namespace;
                    tracing::info!(target: "egress", namespace, pod = &**name, %destination, "connection leaves the mesh");
                }
            }
            _ => {}
        }
    }

    fn count_egress(&self, outcome: &str) {
        let namespace = self.pod.captured().map_or("", |captured| &*captured.pod.namespace);
        self.worker.shared.counts.egress.inc(&[namespace, outcome]);
    }

    /// What is told of the connection.
    pub(super) fn opening(&self, source: Option<&Source>, plan: Option<&Plan>) -> Opening {
        let workload = plan.and_then(Plan::workload).cloned();
        let tunnel = match plan {
            Some(Plan::Hbone(tunnel) | Plan::Waypoint(tunnel)) => Some(tunnel.address),
            Some(Plan::Nested(nested)) => match nested.gateway.host {
                GatewayHost::Ip(ip) => Some(SocketAddr::new(ip, nested.gateway.port)),
                GatewayHost::Name(_) => None,
            },
            _ => None,
        };
        let addr = match plan {
            Some(Plan::Hbone(tunnel) | Plan::Local(tunnel) | Plan::Waypoint(tunnel)) => tunnel.authority,
            Some(Plan::Direct {
                upstream: Upstream { place: Place::Address(address), port, .. }, ..
            }) => SocketAddr::new(address.ip, *port),
            _ => self.destination,
        };
        Opening {
            direction: Direction::Outbound,
            path: plan.map_or(Path::Passthrough, path),
            source: End {
                addr: self.client,
                workload: source.map(|source| source.workload.clone()),
                identity: source.and_then(|source| source.identity.clone()),
            },
            class: None,
            destination: End { addr, workload, identity: None },
            hbone_addr: tunnel,
            service: plan.and_then(Plan::service).cloned(),
            hostname: match plan {
                Some(Plan::Passthrough { passed, .. }) => passed.name().cloned(),
                _ => None,
            },
            network: match plan {
                Some(Plan::Nested(nested)) => Some(nested.network.as_str().into()),
                _ => None,
            },
            policy: None,
            trace: self.trace,
        }
    }

    fn refuse(&self, source: Option<&Source>, plan: Option<&Plan>, failure: Failure) {
        let mut opening = self.opening(source, plan);
        if let Failure::Refused(refused) = &failure {
            opening.service = refused.service.clone();
            opening.destination.workload = refused.workload.clone();
            if let Some(network) = refused.refusal.network() {
                self.worker.shared.counts.crossed(network, Some(failure.label()));
            }
            match &*refused.refusal {
                Refusal::UnknownDestination { .. } => self.count_egress("denied"),
                Refusal::PlaintextRefused { denied, .. } => {
                    opening.policy = self.worker.denied(denied);
                }
                _ => {}
            }
        }
        if let Failure::Destination(error) = &failure {
            opening.policy = policy_of(error);
        }
        self.worker.telemetry.open(opening).failed(failure.flag(), failure);
    }

    fn recall(&self, service: &ServiceKey, port: u16) -> Option<Remembered> {
        self.affinities().recall(&self.affinity(service, port), Instant::now()).cloned()
    }

    fn remember(&self, plan: &Plan) {
        if let Some(picked) = plan.picked()
            && let Some(timeout) = picked.remember
        {
            let key = self.affinity(&picked.service, picked.port);
            self.affinities().remember(key, picked.endpoint.clone(), timeout, Instant::now());
        }
    }

    fn affinity(&self, service: &ServiceKey, port: u16) -> AffinityKey {
        AffinityKey { client: self.client.ip(), service: service.clone(), port }
    }

    fn affinities(&self) -> MutexGuard<'_, Affinities> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.worker.shared.affinities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The plan as it came about: a pod that was to be joined here may have been reached by its node's daemon.
fn carried_out(plan: Plan, carrier: &Carrier) -> Plan {
    match (plan, carrier) {
        (Plan::Local(tunnel), Carrier::Stream(_)) => Plan::Hbone(tunnel),
        (plan, _) => plan,
    }
}

/// How the bytes of a plan travel.
const fn path(plan: &Plan) -> Path {
    match plan {
        Plan::Direct { .. } => Path::Direct,
        Plan::Hbone(_) | Plan::Waypoint(_) => Path::Hbone,
        Plan::Local(_) => Path::NodeLocal,
        Plan::Nested(_) => Path::DoubleHbone,
        Plan::Passthrough { .. } => Path::Passthrough,
    }
}

impl Tried {
    /// Has the next try go elsewhere; false where there have been enough. A gateway that failed says nothing of the
    /// endpoints behind it, nor of others: how many of them are tried is for the decision to say.
    fn note(&mut self, plan: &Plan, failure: &Failure) -> bool {
        if let (Plan::Nested(nested), Failure::Gateway { .. }) = (plan, failure) {
            self.gateways.push(nested.gateway.clone());
            return true;
        }
        let Some(picked) = plan.picked() else { return false };
        self.endpoints.push(picked.endpoint.target.clone());
        self.endpoints.len() < ATTEMPTS
    }
}

/// Endpoints that are tried for one connection.
const ATTEMPTS: usize = 3;
