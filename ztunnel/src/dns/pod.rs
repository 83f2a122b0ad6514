//! One pod's queries: answered here, or by its name servers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::ProtoError;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use mesh::{Network, NetworkAddress, PodUid, Profile, Snapshot};
use tokio::sync::watch;

use super::exchange::{Place, Transport, ask};
use super::proxy::Shared;
use super::resolve::{Records, read};
use super::resolver::is_reachable;
use super::wire::code_of;
use super::{
    Answer, ClientView, Decision, PodResolver, Query, RecordKind, ResolvedNames, ResolverView, Unusable,
    answer, reply,
};
use crate::decision::{is_egress_name, may_query};
use crate::enrol::CapturedPod;
use crate::redirect::DNS_PORT;

/// A pod whose queries are served.
pub(super) struct PodDns {
    shared: Arc<Shared>,
    pod: CapturedPod,
    uid: PodUid,
    resolver: watch::Receiver<PodResolver>,
    place: Place,
    names: Arc<ResolvedNames>,
}

/// What becomes of a message.
pub(super) enum Turn {
    /// Nothing: it asks nothing.
    Drop,
    /// Name servers are asked.
    Forward(Forward),
    /// These bytes are sent.
    Reply(Vec<u8>),
}

/// A query that name servers are to answer.
pub(super) struct Forward {
    query: Query,
    transport: Transport,
    profile: Option<Arc<Profile>>,
    servers: Vec<SocketAddr>,
    exists: bool,
    /// Egress settings are about this name: only the node's name servers are believed.
    egress: Option<Arc<str>>,
}

impl PodDns {
    pub(super) fn new(
        shared: Arc<Shared>,
        pod: CapturedPod,
        resolver: watch::Receiver<PodResolver>,
        names: Arc<ResolvedNames>,
    ) -> Self {
        let uid = PodUid::from(&pod.pod.uid);
        let place = Place::Pod(pod.sockets.clone());
        Self { shared, pod, uid, resolver, place, names }
    }

    pub(super) const fn captured(&self) -> &CapturedPod {
        &self.pod
    }

    /// Decides about a message. `origin` says where it was going, and is asked only if that matters.
    pub(super) fn take(
        &self,
        message: &[u8],
        transport: Transport,
        origin: impl FnOnce() -> io::Result<SocketAddr>,
    ) -> Turn {
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(Unusable::NotAQuery) => return Turn::Drop,
            Err(Unusable::Refused { id, code }) => return Turn::made(reply::refused(id, code)),
        };
        let view = self.view();
        let snapshot = self.shared.snapshots.load();
        let profile = snapshot.workload_by_pod_uid(&self.uid).map(|workload| &workload.profile);
        let metrics = &self.shared.metrics;
        metrics.asked(&metrics.labels(transport, query.question().kind, profile.map(|it| &**it)));
        let client = ClientView {
            namespace: &self.pod.pod.namespace,
            network: profile.map_or(&self.shared.settings.network, |profile| &profile.network),
            domain: &self.shared.settings.cluster.domain,
            resolver: &view,
        };
        // Without randomness the order is as good as any.
        let random = getrandom::u64().unwrap_or_default();
        match answer(&snapshot, &client, query.question(), random) {
            Decision::Answer(answer) => {
                Turn::made(reply::answered(&query, &answer, limit(&query, transport)))
            }
            Decision::ServFail => Turn::made(reply::failed(&query, ResponseCode::ServFail)),
            Decision::Forward { exists } => {
                let egress = self.egress_name(&snapshot, &query);
                let servers = match &egress {
                    Some(_) => self.trusted().collect(),
                    None => servers(origin, &view),
                };
                let asked =
                    servers.iter().copied().filter(|it| self.may_query(&snapshot, client.network, *it));
                let asked: Vec<_> = asked.collect();
                if asked.is_empty() && !servers.is_empty() {
                    return Turn::made(reply::failed(&query, ResponseCode::Refused));
                }
                let profile = profile.cloned();
                Turn::Forward(Forward { query, transport, profile, servers: asked, exists, egress })
            }
        }
    }

    /// The name that is asked for, if egress settings of the pod's namespace are about it.
    fn egress_name(&self, snapshot: &Snapshot, query: &Query) -> Option<Arc<str>> {
        let question = query.question();
        let name = question.name.as_deref().filter(|_| record_type(question.kind).is_some())?;
        let matters =
            is_egress_name(snapshot, &self.pod.pod.namespace, name) && self.trusted().next().is_some();
        matters.then(|| name.into())
    }

    /// Name servers that no pod has chosen. Inside of a pod, what the daemon finds there is the pod's choice.
    fn trusted(&self) -> impl Iterator<Item = SocketAddr> {
        let settings = &self.shared.settings;
        let node = (!settings.own.is_inside()).then(|| self.shared.node.current());
        let of_node = node.iter().flat_map(|node| &node.servers);
        let ips: Vec<_> = settings.cluster.servers.iter().chain(of_node).copied().collect();
        ips.into_iter().map(|ip| SocketAddr::new(ip, UPSTREAM_PORT))
    }

    fn may_query(&self, snapshot: &Snapshot, network: &Network, server: SocketAddr) -> bool {
        let namespace = &*self.pod.pod.namespace;
        let address = NetworkAddress::new(network.clone(), server.ip());
        let is_known = self.trusted().any(|it| it.ip() == server.ip())
            || snapshot.workload_by_address(&address).is_some()
            || snapshot.node_by_address(server.ip()).is_some()
            || snapshot.service_with_address(&address, server.port(), namespace).is_some();
        may_query(snapshot, namespace, server, is_known)
    }

    /// The name servers' answer to a query, or that there is none.
    ///
    /// # Cancel safety
    /// The query is given up when the future is dropped.
    pub(super) async fn forward(&self, forward: Forward) -> Option<Vec<u8>> {
        let Forward { query, transport, profile, servers, exists, egress } = forward;
        let nothing = || reply::answered(&query, &Answer::default(), limit(&query, transport));
        if servers.is_empty() && exists {
            return written(nothing());
        }
        let labels = self.shared.metrics.labels(transport, query.question().kind, profile.as_deref());
        let metrics = &self.shared.metrics;
        metrics.forwarded(&labels);
        let began = Instant::now();
        // Asked from outside of the pod where the answer opens a way: whoever may look at the pod's packets could answer.
        let daemon = || Place::Daemon(self.shared.settings.own.clone());
        let place = egress.as_ref().map_or_else(|| self.place.clone(), |_| daemon());
        match ask(&place, transport, &servers, &query).await {
            Ok(answer) => {
                if let Some(name) = &egress {
                    self.learn(name, query.question().kind, &answer);
                }
                metrics.answered(&labels, began.elapsed());
                if exists && code_of(&answer) == Some(ResponseCode::NXDomain) {
                    return written(nothing());
                }
                Some(query.adopt(answer, limit(&query, transport)))
            }
            Err(error) => {
                metrics.unanswered(&labels);
                tracing::debug!(pod = %self.pod.pod.uid, ?servers, %error, "DNS query is not answered");
                written(reply::failed(&query, ResponseCode::ServFail))
            }
        }
    }

    fn learn(&self, name: &Arc<str>, kind: RecordKind, answer: &[u8]) {
        let Some(Ok(Records { addresses, ttl })) = record_type(kind).map(|kind| read(answer, kind)) else {
            return;
        };
        let now = Instant::now();
        addresses.into_iter().for_each(|ip| self.names.note(name, ip, ttl, now));
    }

    fn view(&self) -> ResolverView {
        let node = self.shared.node.current();
        self.resolver.borrow().view(&self.pod.pod.namespace, &self.shared.settings.cluster, &node)
    }
}

impl Forward {
    /// The answer when too many queries wait already.
    pub(super) fn declined(&self) -> Option<Vec<u8>> {
        written(reply::failed(&self.query, ResponseCode::ServFail))
    }
}

impl Turn {
    fn made(reply: Result<Vec<u8>, ProtoError>) -> Self {
        written(reply).map_or(Self::Drop, Self::Reply)
    }
}

/// Where the query was going, and there alone: whoever asks a particular server wants its word. A query that was not
/// redirected, or whose flow the kernel has forgotten, goes where the pod's resolver asks.
fn servers(origin: impl FnOnce() -> io::Result<SocketAddr>, view: &ResolverView) -> Vec<SocketAddr> {
    match origin() {
        Ok(server) if is_reachable(server.ip()) && server.port() != DNS_PORT => vec![server],
        _ => view.servers.iter().map(|ip| SocketAddr::new(*ip, UPSTREAM_PORT)).collect(),
    }
}

/// The type of records that hold addresses.
const fn record_type(kind: RecordKind) -> Option<RecordType> {
    match kind {
        RecordKind::A => Some(RecordType::A),
        RecordKind::Aaaa => Some(RecordType::AAAA),
        RecordKind::Other(_) => None,
    }
}

fn limit(query: &Query, transport: Transport) -> usize {
    match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => query.datagram_limit(),
    }
}

fn written(reply: Result<Vec<u8>, ProtoError>) -> Option<Vec<u8>> {
    reply.inspect_err(|error| tracing::debug!(%error, "DNS answer cannot be written")).ok()
}

/// The port of name servers.
const UPSTREAM_PORT: u16 = 53;
