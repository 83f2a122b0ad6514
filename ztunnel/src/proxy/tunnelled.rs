//! A connection in a peer's tunnel.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use daemon::logs::{Direction, Path};
use daemon::metrics::ResponseFlag;
use hbone::authority::Authority;
use hbone::h2::ConnectResponse;
use hbone::tunnel::{Request, Stream};
use identity::SpiffeId;
use mesh::{Snapshot, Workload};

use super::baggage;
use super::carried::{self, Carried};
use super::counts::TunnelEnd;
use super::failure::Failure;
use super::limits::Limit;
use super::live::Opener;
use super::meter::{Metered, Reversed};
use super::pod::ServedPod;
use super::shares::Share;
use super::worker::Worker;
use super::workers::Load;
use crate::decision::{self, InboundError, InboundTarget, TunnelledCall};
use crate::redirect::HBONE_PORT;
use crate::telemetry::{End, Opening, Trace, rule_ref};

/// What the connections of one tunnel have in common.
pub(super) struct Inbound {
    pub(super) worker: Rc<Worker>,
    pub(super) pod: Arc<ServedPod>,
    pub(super) identity: SpiffeId,
    /// Who the tunnel comes from.
    pub(super) source: Opener,
    pub(super) from: IpAddr,
    pub(super) local_ip: IpAddr,
    pub(super) load: Load,
}

/// What a peer says of a connection, for its record alone.
struct Said {
    /// The trace that it belongs to.
    trace: Trace,
    /// The network that it comes from, where that is another one.
    network: Option<Arc<str>>,
}

/// A place among a pod's connections.
struct Place {
    _of_source: Share<IpAddr>,
    _beyond: Option<Box<Share<SpiffeId>>>,
}

/// Serves one request of a tunnel.
pub(super) fn serve(inbound: Rc<Inbound>, request: Request) -> impl Future<Output = ()> {
    carried::run(Box::pin(begin(inbound, request)))
}

async fn begin(inbound: Rc<Inbound>, request: Request) -> Option<Carried> {
    let Request { stream, request } = request;
    let Inbound { worker, pod, from, .. } = &*inbound;
    let places = match (inbound.connection(), worker.shared.bounds.file(&pod.uid)) {
        (Ok(connection), Ok(file)) => (connection, file),
        (Err(limit), _) | (_, Err(limit)) => {
            worker.turn_away(limit, pod, Some(*from));
            return refused(stream, 503);
        }
    };
    let load = inbound.load.another();
    let parent = request.traceparent.as_deref().and_then(|text| text.parse().ok());
    let said = Said {
        trace: inbound.worker.trace_below(parent),
        network: request.network.as_deref().filter(|name| is_network(name)).map(Into::into),
    };
    let Some(lease) = inbound.pod.lease() else { return inbound.unserved(stream, said, Failure::Released) };
    let asked = match request.is_connect() {
        true => request.authority.parse::<Authority>().map_err(InboundError::from),
        false => Err(InboundError::NotConnect),
    };
    let port = asked.as_ref().map_or(0, Authority::port);
    let decided = {
        let snapshot = inbound.worker.shared.snapshots.load();
        let local = inbound.pod.workload(&snapshot).cloned();
        local.map(|local| (asked.and_then(|asked| inbound.decide(&snapshot, &local, &asked)), local))
    };
    match decided {
        Some((Ok(target), local)) => {
            let held = (places, lease, load, inbound.clone());
            inbound.relay(stream, local, target, said, held).await
        }
        Some((Err(error), local)) => inbound.refuse(stream, local, (port, &error), said),
        None => inbound.unserved(stream, said, Failure::UnknownReceiver),
    }
}

/// Whether a text can be a network's name, which Istio has as a label's value.
fn is_network(name: &str) -> bool {
    let allowed = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    (1..=63).contains(&name.len()) && name.chars().all(allowed)
}

fn refused(stream: Stream, status: u16) -> Option<Carried> {
    stream.refuse(&ConnectResponse::new(status));
    None
}

impl Inbound {
    /// A place among the pod's connections: of the tunnel's address, and where that is a gateway's, also of who opens it.
    fn connection(&self) -> Result<Place, Limit> {
        let beyond = match self.source {
            Opener::Beyond(_) => Some(Box::new(self.pod.connection_beyond(&self.identity)?)),
            Opener::Workload(_) | Opener::Unknown => None,
        };
        Ok(Place { _of_source: self.pod.connection(&self.from)?, _beyond: beyond })
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        local: &Workload,
        authority: &Authority,
    ) -> Result<InboundTarget, InboundError> {
        let call = TunnelledCall {
            local,
            peer: &self.identity,
            source_ip: self.from,
            authority,
            local_ip: self.local_ip,
            reach: self.pod.reach(),
        };
        decision::inbound(snapshot, &call)
    }

    async fn relay<H: Unpin + 'static>(
        &self,
        mut stream: Stream,
        local: Arc<Workload>,
        target: InboundTarget,
        said: Said,
        held: H,
    ) -> Option<Carried> {
        let source = SocketAddr::new(self.from, 0);
        let mut opening = self.opening(Some(local.clone()), target.upstream, said);
        opening.service = target.service;
        opening.policy = target.permit.by().map(rule_ref);
        self.worker.shared.counts.permitted(opening.policy.as_ref());
        let admission = target.admission;
        self.worker.observe(&admission);
        let began = Instant::now();
        let dial = self.worker.deliver(&self.pod, target.upstream, source, target.permit);
        let dialled = tokio::select! {
            dialled = dial => dialled,
            given_up = stream.given_up() => Err(Failure::Stream(given_up)),
        };
        self.worker.count_dial("application", began, &dialled);
        let app = match dialled {
            Ok(app) => app,
            Err(failure) => {
                self.worker.telemetry.open(opening).failed(ResponseFlag::Connect, failure);
                return refused(stream, 503);
            }
        };
        let open = self.worker.shared.counts.stream(TunnelEnd::Inbound);
        let metered = Metered::new([self.worker.telemetry.open(opening)]);
        let live = match self.worker.list(&self.pod.uid, &metered, admission.into()) {
            Ok(live) => live,
            Err(cut) => {
                self.worker.cut_off(&metered, &cut);
                return refused(stream, if cut.is_refusal() { 401 } else { 503 });
            }
        };
        stream.respond(&ConnectResponse { status: 200, baggage: Some(baggage::of(&local)) });
        // What the tunnel sends goes to the application: the source of the connection is at the tunnel's end.
        let relay = stream.relay(app, Rc::new(Reversed(metered.clone())));
        Some(self.worker.carry(live, metered, relay, (open, held)))
    }

    /// Refuses what asks for that port, which is 0 where that is not known.
    fn refuse(
        &self,
        stream: Stream,
        local: Arc<Workload>,
        (port, error): (u16, &InboundError),
        said: Said,
    ) -> Option<Carried> {
        let opening = self.opening(Some(local), SocketAddr::new(self.local_ip, port), said);
        self.worker.not_let_in(opening, error);
        refused(stream, error.status())
    }

    /// Refuses whatever is asked for, of a pod that is served no more.
    fn unserved(&self, stream: Stream, said: Said, failure: Failure) -> Option<Carried> {
        let local = self.pod.workload(&self.worker.shared.snapshots.load()).cloned();
        let opening = self.opening(local, SocketAddr::new(self.local_ip, 0), said);
        self.worker.telemetry.open(opening).failed(failure.flag(), failure);
        refused(stream, 503)
    }

    fn opening(&self, local: Option<Arc<Workload>>, destination: SocketAddr, said: Said) -> Opening {
        Opening {
            direction: Direction::Inbound,
            path: Path::Hbone,
            source: End {
                addr: SocketAddr::new(self.from, 0),
                workload: self.source.workload().cloned(),
                identity: Some(self.identity.clone()),
            },
            class: None,
            destination: End::of(destination, local),
            hbone_addr: Some(SocketAddr::new(self.local_ip, HBONE_PORT)),
            service: None,
            hostname: None,
            network: said.network,
            policy: None,
            trace: said.trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_calls_its_network_is_told_only_if_it_can_be_the_name_of_one() {
        for (name, is_one) in [
            ("west", true),
            ("Net_1.a-b", true),
            (&"a".repeat(63), true),
            (&"a".repeat(64), false),
            ("", false),
            ("a b", false),
            ("a\nb", false),
            ("a\"", false),
        ] {
            assert_eq!(is_network(name), is_one, "{name:?}");
        }
    }
}
