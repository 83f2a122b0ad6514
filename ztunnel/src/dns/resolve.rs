//! Addresses of workloads that are known by a DNS name: looked up when a connection goes to one.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use daemon::metrics::{Metrics, RegisterError};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use mesh::Family;
use prometheus::IntCounter;
use tokio::sync::OnceCell;

use super::exchange::{AskError, Place, Transport, ask};
use super::wire::{MAX_DATAGRAM, is_truncated};
use super::{NodeResolver, Query};
use crate::redirect::OwnSockets;

/// Looks names up for the daemon itself, in the daemon's own namespace. Shared by all workers; its answers are kept as
/// long as they say.
#[derive(Debug)]
pub struct Resolver {
    /// None inside of a pod, whose containers write the file.
    node: Option<Arc<NodeResolver>>,
    cluster: Vec<IpAddr>,
    place: Place,
    known: Mutex<HashMap<Arc<str>, Entry, foldhash::fast::RandomState>>,
    lookups: IntCounter,
}

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Name servers say that there are none.
    #[error("name has no addresses")]
    NoAddresses,
    /// Nobody is there to ask.
    #[error("no name server is known that may be asked: see dns.clusterResolvers")]
    NoServer,
    /// It is no DNS name.
    #[error("name is malformed")]
    NotAName,
    /// No name server answered.
    #[error("no name server answered")]
    Unanswered,
}

/// A name that was asked for. Whoever comes first looks it up, and all others wait for the same answer.
#[derive(Clone, Debug)]
struct Entry {
    found: Arc<OnceCell<Found>>,
    /// What was found before, should nobody answer this time.
    before: Option<Arc<[IpAddr]>>,
}

#[derive(Clone, Debug)]
struct Found {
    addresses: Result<Arc<[IpAddr]>, LookupError>,
    until: Instant,
}

impl Resolver {
    /// A resolver that asks the cluster's name servers, then the node's.
    ///
    /// # Errors
    /// When its metric is registered already.
    pub fn new(
        node: Arc<NodeResolver>,
        cluster: Vec<IpAddr>,
        metrics: &Metrics,
    ) -> Result<Self, RegisterError> {
        let lookups =
            metrics.counter("istio_on_demand_dns_total", "Names looked up to connect to their addresses.")?;
        let place = Place::Daemon(OwnSockets::default());
        Ok(Self { node: Some(node), cluster, place, known: Mutex::default(), lookups })
    }

    /// Asks from these sockets. Inside of a pod the cluster's name servers alone: containers may write what counts for
    /// the node's there, and the daemon would dial whatever a server of theirs says, past the pod's own egress.
    #[must_use]
    pub fn through(self, own: OwnSockets) -> Self {
        let node = self.node.filter(|_| !own.is_inside());
        Self { node, place: Place::Daemon(own), ..self }
    }

    /// The addresses of a name, those of the preferred family first; one at least. When name servers are away, what they
    /// said last is good enough.
    ///
    /// # Errors
    /// When there are none.
    ///
    /// # Cancel safety
    /// Whoever else waits for the name looks it up instead.
    pub async fn lookup(&self, name: &str, preferred: Family) -> Result<Vec<IpAddr>, LookupError> {
        if let Ok(ip) = name.parse() {
            return Ok(vec![ip]);
        }
        let entry = self.entry(name);
        let found = entry.found.get_or_init(|| self.look_up(name, entry.before.as_ref())).await;
        let mut addresses = found.addresses.clone()?.to_vec();
        // Stable, so that the order in which name servers give addresses is kept within a family.
        addresses.sort_by_key(|ip| Family::of(*ip) != preferred);
        Ok(addresses)
    }

    fn entry(&self, name: &str) -> Entry {
        let now = Instant::now();
        // Every change is one step: a panic elsewhere leaves nothing half done.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match known.get(name) {
            Some(entry) if entry.is_good(now) => return entry.clone(),
            Some(entry) => entry.addresses(),
            None => None,
        };
        if known.len() >= MAX_NAMES && !known.contains_key(name) {
            known.retain(|_, entry| entry.is_good(now));
            if known.len() >= MAX_NAMES {
                known.clear();
            }
        }
        let entry = Entry { found: Arc::default(), before };
        known.insert(name.into(), entry.clone());
        entry
    }

    async fn look_up(&self, name: &str, before: Option<&Arc<[IpAddr]>>) -> Found {
        self.lookups.inc();
        let servers = self.servers();
        let (v4, v6) = tokio::join!(
            self.records(&servers, name, RecordType::A),
            self.records(&servers, name, RecordType::AAAA)
        );
        let answer = joined(v4, v6);
        let (addresses, ttl) = match (answer, before) {
            (Ok(Records { addresses, ttl }), _) => (Ok(addresses.into()), ttl.clamp(MIN_TTL, MAX_TTL)),
            (Err(LookupError::NoServer | LookupError::Unanswered), Some(before)) => {
                (Ok(before.clone()), FAILURE_TTL)
            }
            (Err(error), _) => (Err(error), FAILURE_TTL),
        };
        Found { addresses, until: Instant::now() + ttl }
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let node = self.node.as_ref().map(|node| node.current());
        let of_node = node.iter().flat_map(|node| &node.servers);
        self.cluster.iter().chain(of_node).map(|ip| SocketAddr::new(*ip, 53)).collect()
    }

    async fn records(
        &self,
        servers: &[SocketAddr],
        name: &str,
        kind: RecordType,
    ) -> Result<Records, LookupError> {
        let query = question(name, kind).ok_or(LookupError::NotAName)?;
        let asked = async |transport| {
            let answered = ask(&self.place, transport, servers, &query).await;
            answered.map_err(|error| {
                tracing::debug!(name, %error, "name cannot be looked up");
                match error {
                    AskError::NoAnswer { .. } => LookupError::Unanswered,
                    AskError::NoServer => LookupError::NoServer,
                }
            })
        };
        let mut answer = asked(Transport::Udp).await?;
        if is_truncated(&answer) || answer.len() > MAX_DATAGRAM {
            answer = asked(Transport::Tcp).await?;
        }
        read(&answer, kind)
    }
}

impl Entry {
    /// Whether it is being looked up, or was and is good still.
    fn is_good(&self, now: Instant) -> bool {
        self.found.get().is_none_or(|found| now < found.until)
    }

    fn addresses(&self) -> Option<Arc<[IpAddr]>> {
        self.found.get()?.addresses.clone().ok()
    }
}

/// What name servers say of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) addresses: Vec<IpAddr>,
    /// How long they hold; an hour at most.
    pub(super) ttl: Duration,
}

/// One family that was found is enough; that there is nothing must be said of both.
fn joined(
    v4: Result<Records, LookupError>,
    v6: Result<Records, LookupError>,
) -> Result<Records, LookupError> {
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => {
            let addresses = [v4.addresses, v6.addresses].concat();
            Ok(Records { addresses, ttl: v4.ttl.min(v6.ttl) })
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(LookupError::Unanswered), Err(_)) | (Err(_), Err(LookupError::Unanswered)) => {
            Err(LookupError::Unanswered)
        }
        (Err(error), Err(_)) => Err(error),
    }
}

fn question(name: &str, kind: RecordType) -> Option<Query> {
    let mut name = Name::from_str(name).ok()?;
    name.set_fqdn(true);
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(hickory_proto::op::Query::query(name, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    message.set_edns(edns);
    Query::parse(&message.to_vec().ok()?).ok()
}

/// The addresses in an answer, and how long it holds. Name servers that recurse give the whole chain of aliases.
pub(super) fn read(answer: &[u8], kind: RecordType) -> Result<Records, LookupError> {
    let answer = Message::from_vec(answer).map_err(|_malformed| LookupError::Unanswered)?;
    match answer.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Err(LookupError::NoAddresses),
        _ => return Err(LookupError::Unanswered),
    }
    let mut owner = answer.queries.first().ok_or(LookupError::Unanswered)?.name().clone();
    let (mut addresses, mut ttl) = (Vec::new(), MAX_TTL);
    for record in &answer.answers {
        if record.name != owner {
            continue;
        }
        match (&record.data, kind) {
            (RData::A(it), RecordType::A) => addresses.push(it.0.into()),
            (RData::AAAA(it), RecordType::AAAA) => addresses.push(it.0.into()),
            (RData::CNAME(target), _) => owner = target.0.clone(),
            _ => continue,
        }
        ttl = ttl.min(Duration::from_secs(record.ttl.into()));
    }
    if addresses.is_empty() { Err(LookupError::NoAddresses) } else { Ok(Records { addresses, ttl }) }
}

/// Names kept: as many as Istio's. They come from manifests, not from the network.
const MAX_NAMES: usize = 4096;
/// An answer that may not be kept is kept for the connections of this moment.
const MIN_TTL: Duration = Duration::from_secs(1);
/// No answer is believed for longer.
const MAX_TTL: Duration = Duration::from_secs(3600);
/// How long it is believed that there is no answer.
const FAILURE_TTL: Duration = Duration::from_secs(5);
/// Datagrams of this size arrive in one piece wherever IPv6 does (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{A, CNAME};

    use super::*;

    #[test]
    fn addresses_are_taken_from_the_end_of_the_chain_for_as_long_as_its_shortest_link_holds() {
        let bytes = message(
            ResponseCode::NoError,
            &[
                ("api.example.", 60, RData::CNAME(CNAME(name("lb.example.")))),
                ("lb.example.", 20, RData::A(A([192, 0, 2, 1].into()))),
                ("other.example.", 1, RData::A(A([192, 0, 2, 9].into()))),
            ],
        );
        let found = Records { addresses: vec!["192.0.2.1".parse().unwrap()], ttl: Duration::from_secs(20) };
        assert_eq!(read(&bytes, RecordType::A), Ok(found));
    }

    #[test]
    fn nothing_and_no_answer_are_told_apart() {
        for (code, want) in [
            (ResponseCode::NoError, LookupError::NoAddresses),
            (ResponseCode::NXDomain, LookupError::NoAddresses),
            (ResponseCode::ServFail, LookupError::Unanswered),
        ] {
            assert_eq!(read(&message(code, &[]), RecordType::A), Err(want), "{code}");
        }
        assert_eq!(read(b"nonsense", RecordType::A), Err(LookupError::Unanswered));
    }

    #[test]
    fn one_family_is_enough() {
        let found =
            || Ok(Records { addresses: vec!["192.0.2.1".parse().unwrap()], ttl: Duration::from_secs(9) });
        assert_eq!(joined(found(), Err(LookupError::Unanswered)), found());
        assert_eq!(joined(Err(LookupError::NoAddresses), found()), found());
        let nothing = || Err(LookupError::NoAddresses);
        assert_eq!(joined(nothing(), Err(LookupError::Unanswered)), Err(LookupError::Unanswered));
        assert_eq!(joined(nothing(), nothing()), nothing());
    }

    #[tokio::test]
    async fn an_address_is_its_own_answer_and_nonsense_is_none() {
        let resolver = resolver();
        let ip = "2001:db8::1".parse().unwrap();
        assert_eq!(resolver.lookup("2001:db8::1", Family::V4).await, Ok(vec![ip]));
        assert_eq!(resolver.lookup("a..b", Family::V4).await, Err(LookupError::NotAName));
        assert_eq!(resolver.lookup("a.b", Family::V4).await, Err(LookupError::NoServer));
    }

    #[tokio::test]
    async fn inside_of_a_pod_nobody_is_asked_whom_the_pods_containers_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "nameserver 192.0.2.66\n").unwrap();
        let of_cluster: IpAddr = "192.0.2.10".parse().unwrap();
        let servers = |own: OwnSockets, cluster: Vec<IpAddr>| {
            let metrics = Metrics::new("test", "0", 1).unwrap();
            let node = Arc::new(NodeResolver::new(file.path().into()));
            Resolver::new(node, cluster, &metrics).unwrap().through(own)
        };
        let (_captured, told) = tokio::sync::watch::channel(true);
        let inside = || OwnSockets::inside(crate::redirect::Marks::random().unwrap(), told.clone());
        let [named, node] = [of_cluster, "192.0.2.66".parse().unwrap()].map(|ip| SocketAddr::new(ip, 53));
        assert_eq!(servers(OwnSockets::default(), vec![of_cluster]).servers(), [named, node]);
        assert_eq!(servers(inside(), vec![of_cluster]).servers(), [named]);
        let alone = servers(inside(), Vec::new());
        assert_eq!(alone.lookup("a.b", Family::V4).await, Err(LookupError::NoServer));
    }

    #[tokio::test]
    async fn without_an_answer_the_last_one_still_serves() {
        let resolver = resolver();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let found = Found { addresses: Ok([ip].into()), until: Instant::now() };
        let entry = Entry { found: Arc::new(OnceCell::new_with(Some(found))), before: None };
        resolver.known.lock().unwrap().insert("api.example".into(), entry);
        assert_eq!(resolver.lookup("api.example", Family::V4).await, Ok(vec![ip]));
        assert_eq!(resolver.lookups.get(), 1, "it was asked for");
        assert_eq!(resolver.lookup("api.example", Family::V4).await, Ok(vec![ip]));
        assert_eq!(resolver.lookups.get(), 1, "and not again at once");
    }

    #[tokio::test]
    async fn the_preferred_family_comes_first() {
        let resolver = resolver();
        let [v4, v6]: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|it| it.parse().unwrap());
        let until = Instant::now() + MAX_TTL;
        let found = Found { addresses: Ok([v4, v6].into()), until };
        let entry = Entry { found: Arc::new(OnceCell::new_with(Some(found))), before: None };
        resolver.known.lock().unwrap().insert("api.example".into(), entry);
        assert_eq!(resolver.lookup("api.example", Family::V4).await, Ok(vec![v4, v6]));
        assert_eq!(resolver.lookup("api.example", Family::V6).await, Ok(vec![v6, v4]));
    }

    #[test]
    fn names_are_bounded() {
        let resolver = resolver();
        for count in 0..2 * MAX_NAMES {
            resolver.entry(&format!("n{count}.example"));
            assert!(resolver.known.lock().unwrap().len() <= MAX_NAMES);
        }
    }

    fn resolver() -> Resolver {
        let metrics = Metrics::new("test", "0", 1).unwrap();
        let node = Arc::new(NodeResolver::new("/nonexistent".into()));
        Resolver::new(node, Vec::new(), &metrics).unwrap()
    }

    fn message(code: ResponseCode, records: &[(&str, u32, RData)]) -> Vec<u8> {
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.metadata.response_code = code;
        message.add_query(hickory_proto::op::Query::query(name("api.example."), RecordType::A));
        for (owner, ttl, data) in records {
            message.add_answer(Record::from_rdata(name(owner), *ttl, data.clone()));
        }
        message.to_vec().unwrap()
    }

    fn name(text: &str) -> Name {
        Name::from_str(text).unwrap()
    }
}
