//! How much one source or one pod may have, and what becomes of those who want more.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use identity::SpiffeId;
use mesh::PodUid;

use super::pod::ServedPod;
use super::shares::{Full, Share, Shares};
use super::worker::Worker;
use crate::config;

/// Places among what is bounded for the daemon as a whole.
#[derive(Debug)]
pub struct Bounds {
    /// TLS handshakes in progress, by source.
    handshakes: Arc<Shares<IpAddr>>,
    /// Those that come through a gateway of the own network, by the gateway and the pod that they are with: nobody knows
    /// yet whose they are.
    handshakes_beyond: Arc<Shares<(IpAddr, PodUid)>>,
    /// Peers' tunnels, by source.
    tunnels: Arc<Shares<IpAddr>>,
    /// Those of workloads on other networks, by the gateway and who it is: each of their connections takes one.
    tunnels_beyond: Arc<Shares<(IpAddr, SpiffeId)>>,
    /// Peers' tunnels, by the pod that they lead to.
    tunnels_to: Arc<Shares<PodUid>>,
    /// Descriptors of connections and tunnels, by pod.
    files: Arc<Shares<PodUid>>,
    turned_away: Mutex<[TurnedAway; Limit::ALL.len()]>,
}

/// What a connection was turned away for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// A pod's connections are all taken.
    Connections,
    /// A source has its share of a pod's connections.
    ConnectionsPerSource,
    /// So many handshakes are in progress.
    Handshakes,
    /// So many handshakes of that source are.
    HandshakesPerSource,
    /// The daemon's own pod has all that it takes, of that source or at all.
    MetricsPod,
    /// No descriptors are left to the process, or to the pod.
    OpenFiles,
    /// So many tunnels are there, or lead to the pod.
    Tunnels,
    /// So many tunnels of that source are there.
    TunnelsPerSource,
}

/// What is remembered of one limit, so that a flood of connections is not one of lines too.
#[derive(Clone, Copy, Debug, Default)]
struct TurnedAway {
    /// When a line was last written.
    told: Option<Instant>,
    /// How many were turned away since.
    since: u64,
}

/// Where a tunnel comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// From a peer at this address, or from several behind it.
    Address(IpAddr),
    /// Through a gateway of the own network at this address, from somebody on another network.
    Gateway(IpAddr),
}

/// What a handshake holds while it is in progress.
#[derive(Debug)]
pub(super) struct HandshakePlace {
    _of_source: Option<Share<IpAddr>>,
    _beyond: Option<Share<(IpAddr, PodUid)>>,
}

/// What a tunnel holds while it lives.
#[derive(Debug)]
pub(super) struct TunnelPlace {
    _of_source: Option<Share<IpAddr>>,
    _of_pod: Option<Share<PodUid>>,
    _file: Share<PodUid>,
}

impl Source {
    /// The address.
    pub(super) const fn ip(self) -> IpAddr {
        match self {
            Self::Address(ip) | Self::Gateway(ip) => ip,
        }
    }
}

impl From<Share<IpAddr>> for HandshakePlace {
    fn from(of_source: Share<IpAddr>) -> Self {
        Self { _of_source: Some(of_source), _beyond: None }
    }
}

impl Bounds {
    /// The bounds of a daemon that may have so many files open.
    pub fn new(limits: &config::Limits, open_files: u64) -> Self {
        let open_files = usize::try_from(open_files).unwrap_or(usize::MAX);
        // The rest is for listeners, namespaces, the CA, scrapes: what the daemon cannot do without.
        let of_connections = open_files - open_files / 8;
        Self {
            handshakes: Shares::new(limits.handshakes, limits.handshakes_per_source),
            handshakes_beyond: Shares::new(limits.handshakes, limits.handshakes_per_source),
            tunnels: Shares::new(limits.tunnels, limits.tunnels_per_source),
            tunnels_beyond: Shares::new(most_of(limits.tunnels), usize::MAX),
            tunnels_to: Shares::new(limits.tunnels, usize::MAX),
            files: Shares::new(of_connections, usize::MAX),
            turned_away: Mutex::default(),
        }
    }

    /// A place among the handshakes in progress with `pod`. What a gateway brings takes none of anybody else's, and none
    /// of what it brings to other pods.
    pub(super) fn handshake(&self, source: Source, pod: &PodUid) -> Result<HandshakePlace, Limit> {
        let full = |full| match full {
            Full::All => Limit::Handshakes,
            Full::Own => Limit::HandshakesPerSource,
        };
        let mut place = HandshakePlace { _of_source: None, _beyond: None };
        match source {
            Source::Address(ip) => place._of_source = Some(self.handshakes.take(&ip).map_err(full)?),
            Source::Gateway(ip) => {
                place._beyond = Some(self.handshakes_beyond.take(&(ip, pod.clone())).map_err(full)?);
            }
        }
        Ok(place)
    }

    /// A place among the tunnels. One that a gateway brings takes another one once it is known [who](Self::beyond) opens it.
    pub(super) fn tunnel(&self, source: Source, pod: &PodUid) -> Result<TunnelPlace, Limit> {
        let of_source = match source {
            Source::Address(ip) => Some(self.tunnels.take(&ip).map_err(tunnels_full)?),
            Source::Gateway(_) => None,
        };
        let of_pod = self.tunnels_to.take(pod).map_err(|_full| Limit::Tunnels)?;
        Ok(TunnelPlace { _of_source: of_source, _of_pod: Some(of_pod), _file: self.file(pod)? })
    }

    /// What a tunnel to the daemon's own pod holds, which is bounded apart from all others.
    pub(super) fn own_tunnel(&self, of_source: Share<IpAddr>, pod: &PodUid) -> Result<TunnelPlace, Limit> {
        Ok(TunnelPlace { _of_source: Some(of_source), _of_pod: None, _file: self.file(pod)? })
    }

    /// A place among the tunnels that a gateway brings, for who has been proved to open it: no workload on another network
    /// has so many that others there, or other peers of a pod, get none.
    pub(super) fn beyond(
        &self,
        gateway: IpAddr,
        identity: &SpiffeId,
    ) -> Result<Share<(IpAddr, SpiffeId)>, Limit> {
        self.tunnels_beyond.take(&(gateway, identity.clone())).map_err(tunnels_full)
    }

    /// A place among the descriptors, for a socket of that pod.
    pub(super) fn file(&self, pod: &PodUid) -> Result<Share<PodUid>, Limit> {
        self.files.take(pod).map_err(|_full| Limit::OpenFiles)
    }

    /// Counts one that was turned away; says how many there were since a line was last written when it is time for one.
    fn count(&self, limit: Limit, now: Instant) -> Option<u64> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        let mut all = self.turned_away.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = &mut all[limit as usize];
        entry.since += 1;
        if entry.told.is_some_and(|told| now - told < QUIET) {
            return None;
        }
        entry.told = Some(now);
        Some(std::mem::take(&mut entry.since))
    }
}

impl Worker {
    /// Counts a connection that is turned away, and says so now and then.
    pub(super) fn turn_away(&self, limit: Limit, pod: &ServedPod, from: Option<IpAddr>) {
        self.shared.counts.turned_away.with_label_values(&[limit.label()]).inc();
        if let Some(count) = self.shared.bounds.count(limit, Instant::now()) {
            let (limit, pod) = (limit.label(), &*pod.uid.0);
            match from {
                Some(from) => tracing::warn!(limit, pod, %from, count, "connections are turned away"),
                None => tracing::warn!(limit, pod, count, "connections are turned away"),
            }
        }
    }
}

impl Limit {
    const ALL: [Self; 8] = [
        Self::Connections,
        Self::ConnectionsPerSource,
        Self::Handshakes,
        Self::HandshakesPerSource,
        Self::MetricsPod,
        Self::OpenFiles,
        Self::Tunnels,
        Self::TunnelsPerSource,
    ];

    /// The label of metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections_per_pod",
            Self::ConnectionsPerSource => "connections_per_source",
            Self::Handshakes => "handshakes",
            Self::HandshakesPerSource => "handshakes_per_source",
            Self::MetricsPod => "metrics_pod",
            Self::OpenFiles => "open_files",
            Self::Tunnels => "tunnels",
            Self::TunnelsPerSource => "tunnels_per_source",
        }
    }
}

impl From<Full> for Limit {
    /// Why a pod takes no further connection.
    fn from(full: Full) -> Self {
        match full {
            Full::All => Self::Connections,
            Full::Own => Self::ConnectionsPerSource,
        }
    }
}

const fn tunnels_full(full: Full) -> Limit {
    match full {
        Full::All => Limit::Tunnels,
        Full::Own => Limit::TunnelsPerSource,
    }
}

/// What one source gets at most of so many places that are divided. Divided once more, no part of it takes all.
pub(super) const fn most_of(places: usize) -> usize {
    places - places / 3
}

/// Between two lines about one limit: a person sees that it goes on, and a flood costs nothing.
const QUIET: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_connections_is_none_of_lines() {
        let bounds = Bounds::new(&config::Limits::default(), 1024);
        let start = Instant::now();
        assert_eq!(bounds.count(Limit::Tunnels, start), Some(1));
        let told = (0..1000).filter(|_| bounds.count(Limit::Tunnels, start).is_some());
        assert_eq!(told.count(), 0);
        assert_eq!(bounds.count(Limit::Handshakes, start), Some(1), "each limit is told of");
        assert_eq!(bounds.count(Limit::Tunnels, start + QUIET), Some(1001));
    }

    #[test]
    fn who_brings_the_tunnels_of_many_is_bounded_by_what_the_pod_may_have() {
        let limits = config::Limits { tunnels: 90, tunnels_per_source: 3, ..config::Limits::default() };
        let (bounds, pod, other) = (Bounds::new(&limits, 100_000), PodUid("a".into()), PodUid("b".into()));
        let source = IpAddr::from([10, 0, 0, 1]);
        let own: Vec<_> = std::iter::from_fn(|| bounds.tunnel(Source::Address(source), &pod).ok()).collect();
        assert_eq!(own.len(), 3);
        let many: Vec<_> = std::iter::from_fn(|| bounds.tunnel(Source::Gateway(source), &pod).ok()).collect();
        assert_eq!(own.len() + many.len(), 60, "two thirds of all");
        assert!(bounds.tunnel(Source::Gateway(source), &other).is_ok(), "others' pods are left some");
    }

    #[test]
    fn what_one_workload_opens_through_a_gateway_leaves_places_to_all_others() {
        let limits = config::Limits::default();
        let bounds = Bounds::new(&limits, 1 << 20);
        let gateway: IpAddr = [10, 0, 0, 1].into();
        let (pod, other) = (PodUid("pod".into()), PodUid("other".into()));
        let through = Source::Gateway(gateway);
        let held: Vec<_> = std::iter::from_fn(|| bounds.handshake(through, &pod).ok()).collect();
        assert_eq!(held.len(), limits.handshakes_per_source);
        assert!(bounds.handshake(through, &other).is_ok(), "what comes through it to another pod");
        assert!(bounds.handshake(Source::Address(gateway), &pod).is_ok(), "who comes from elsewhere");
        let many: Vec<_> = (0..limits.handshakes)
            .filter_map(|pod| bounds.handshake(through, &PodUid(pod.to_string().into())).ok())
            .collect();
        assert_eq!(held.len() + many.len(), limits.handshakes, "bounded, to however many pods");
        assert!(bounds.handshake(Source::Address(gateway), &pod).is_ok());

        let id = |name: &str| format!("spiffe://cluster.local/ns/shop/sa/{name}").parse().unwrap();
        let (greedy, modest): (SpiffeId, SpiffeId) = (id("greedy"), id("modest"));
        let taken: Vec<_> = std::iter::from_fn(|| {
            let tunnel = bounds.tunnel(through, &pod).ok()?;
            Some((tunnel, bounds.beyond(gateway, &greedy).ok()?))
        })
        .collect();
        assert!(taken.len() > limits.tunnels_per_source, "{}", taken.len());
        assert!(bounds.beyond(gateway, &greedy).is_err());
        let _tunnel = bounds.tunnel(through, &pod).expect("the pod has more");
        assert!(bounds.beyond(gateway, &modest).is_ok());
    }

    #[test]
    fn one_pod_leaves_descriptors_to_others_and_to_the_daemon() {
        let bounds = Bounds::new(&config::Limits::default(), 800);
        let (greedy, other) = (PodUid("greedy".into()), PodUid("other".into()));
        let taken: Vec<_> = std::iter::from_fn(|| bounds.file(&greedy).ok()).collect();
        assert!(taken.len() < 500, "{}", taken.len());
        assert!(bounds.file(&other).is_ok());
    }
}
