//! Connections that live: to be cut when they may no longer be, and to be listed.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use certs::describe;
use foldhash::fast::RandomState;
use hbone::tunnel::Tunnel;
use identity::SpiffeId;
use mesh::{PodUid, WorkloadUid};
use slab::Slab;

use super::meter::Metered;
use super::view::ConnectionView;
use crate::decision::{Admission, InboundError, Outside, Refusal};

/// The connections of one worker. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(Rc<RefCell<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    slab: Slab<Entry>,
    by_pod: HashMap<PodUid, HashSet<usize, RandomState>, RandomState>,
    /// What comes in, by the workload that it comes from.
    by_peer: HashMap<WorkloadUid, HashSet<usize, RandomState>, RandomState>,
    /// Inbound tunnels by the address that they come from: who is there may become known later.
    by_address: HashMap<IpAddr, HashSet<usize, RandomState>, RandomState>,
}

#[derive(Debug)]
struct Entry {
    pod: PodUid,
    peer: Option<WorkloadUid>,
    what: What,
}

#[derive(Debug)]
enum What {
    Connection { cut: Rc<CutCell>, metered: Rc<Metered>, grounds: Grounds },
    Tunnel { tunnel: Tunnel, from: IpAddr },
}

/// Which peers' tunnels.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peers<'a> {
    /// All of them.
    All,
    /// Those that come, or came, from a workload, and those from its addresses.
    Of {
        /// The workload.
        workload: &'a WorkloadUid,
        /// Where it is.
        addresses: &'a [IpAddr],
    },
}

/// On which grounds a connection may be.
#[derive(Clone, Debug)]
pub(super) enum Grounds {
    /// It came in.
    Inbound(Box<Admission>),
    /// It went out of the mesh.
    Outside(Box<Outside>),
    /// Nothing that may change.
    Settled,
}

/// Why a live connection is cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cut {
    /// The namespace's egress settings changed.
    #[error("egress is no longer allowed: {0}")]
    EgressRefused(Refusal),
    /// Another identity is at the peer's address.
    #[error("the peer is no longer who it was")]
    PeerChanged,
    /// The pod is no longer captured, or gone.
    #[error("the pod is gone")]
    PodGone,
    /// Policy changed.
    #[error("policy no longer allows the connection: {}", describe(.0))]
    Refused(InboundError),
    /// The daemon ends.
    #[error("the daemon ends")]
    Shutdown,
}

#[derive(Debug, Default)]
struct CutCell {
    why: RefCell<Option<Cut>>,
    waker: RefCell<Option<Waker>>,
}

/// Keeps a connection in the list.
pub(super) struct LiveGuard {
    live: Live,
    key: usize,
    cut: Rc<CutCell>,
}

impl Live {
    /// Adds a connection of `pod`.
    pub(super) fn connection(&self, pod: &PodUid, metered: &Rc<Metered>, grounds: Grounds) -> LiveGuard {
        let cut = Rc::<CutCell>::default();
        let peer = match &grounds {
            Grounds::Inbound(admission) => admission.peer.clone(),
            Grounds::Outside(_) | Grounds::Settled => None,
        };
        let what = What::Connection { cut: cut.clone(), metered: metered.clone(), grounds };
        let key = self.0.borrow_mut().add(Entry { pod: pod.clone(), peer, what });
        LiveGuard { live: self.clone(), key, cut }
    }

    /// Adds an inbound tunnel to `pod`.
    pub(super) fn tunnel(
        &self,
        pod: &PodUid,
        tunnel: &Tunnel,
        from: IpAddr,
        peer: Option<WorkloadUid>,
    ) -> LiveGuard {
        let what = What::Tunnel { tunnel: tunnel.clone(), from };
        let key = self.0.borrow_mut().add(Entry { pod: pod.clone(), peer, what });
        LiveGuard { live: self.clone(), key, cut: Rc::default() }
    }

    /// Has the peers of a pod's tunnels dial anew for what is new.
    pub(super) fn leave(&self, pod: &PodUid) {
        let entries = self.0.borrow();
        entries.of_pod(pod).for_each(|entry| entry.leave());
    }

    /// Has the peers of all tunnels dial anew for what is new.
    pub(super) fn leave_all(&self) {
        self.0.borrow().slab.iter().for_each(|(_, entry)| entry.leave());
    }

    /// Cuts everything of a pod.
    pub(super) fn cut_pod(&self, pod: &PodUid, why: &Cut) {
        self.0.borrow().of_pod(pod).for_each(|entry| entry.cut(why));
    }

    /// Cuts everything.
    pub(super) fn cut_all(&self, why: &Cut) {
        self.0.borrow().slab.iter().for_each(|(_, entry)| entry.cut(why));
    }

    /// Asks `check` about each connection of a pod: it may note other grounds, or say why to cut.
    pub(super) fn recheck_pod(&self, pod: &PodUid, mut check: impl FnMut(&mut Grounds) -> Option<Cut>) {
        let Entries { slab, by_pod, .. } = &mut *self.0.borrow_mut();
        for key in by_pod.get(pod).into_iter().flatten() {
            if let Some(entry) = slab.get_mut(*key) {
                entry.recheck(&mut check);
            }
        }
    }

    /// Asks `check` about peers' tunnels: whether one to that pod, from that address, may still be of that identity.
    /// Cuts those that may not; says how many.
    pub(super) fn recheck_tunnels(
        &self,
        peers: Peers<'_>,
        check: impl Fn(&PodUid, IpAddr, &SpiffeId) -> bool,
    ) -> usize {
        let entries = self.0.borrow();
        let keys: HashSet<usize, RandomState> = match peers {
            Peers::All => entries.by_address.values().flatten().copied().collect(),
            Peers::Of { workload, addresses } => {
                let there = addresses.iter().filter_map(|address| entries.by_address.get(address));
                there.chain(entries.by_peer.get(workload)).flatten().copied().collect()
            }
        };
        let mut cut = 0;
        for key in keys {
            if let Some(Entry { pod, what: What::Tunnel { tunnel, from }, .. }) = entries.slab.get(key)
                && !check(pod, *from, tunnel.peer())
            {
                tunnel.cut();
                cut += 1;
            }
        }
        cut
    }

    /// Asks `check` about each connection that comes from a workload, with the pod that it reaches.
    pub(super) fn recheck_connections(
        &self,
        peer: &WorkloadUid,
        mut check: impl FnMut(&PodUid, &mut Grounds) -> Option<Cut>,
    ) {
        let Entries { slab, by_peer, .. } = &mut *self.0.borrow_mut();
        for key in by_peer.get(peer).into_iter().flatten() {
            let Some(entry) = slab.get_mut(*key) else { continue };
            let pod = entry.pod.clone();
            entry.recheck(&mut |grounds| check(&pod, grounds));
        }
    }

    /// Has the tunnels from a workload end unless it gives a sign of life within that time.
    pub(super) fn doubt_peer(&self, peer: &WorkloadUid, within: Duration) {
        let entries = self.0.borrow();
        let tunnels = entries.by_peer.get(peer).into_iter().flatten();
        for entry in tunnels.filter_map(|key| entries.slab.get(*key)) {
            if let What::Tunnel { tunnel, .. } = &entry.what {
                tunnel.doubt(within);
            }
        }
    }

    /// What there is.
    pub(super) fn views(&self) -> Vec<ConnectionView> {
        let entries = self.0.borrow();
        let metered = entries.slab.iter().filter_map(|(_, entry)| match &entry.what {
            What::Connection { metered, .. } => Some(metered),
            What::Tunnel { .. } => None,
        });
        metered.flat_map(|metered| metered.views()).collect()
    }
}

impl Entries {
    fn add(&mut self, entry: Entry) -> usize {
        let (pod, peer, address) = (entry.pod.clone(), entry.peer.clone(), entry.address());
        let key = self.slab.insert(entry);
        if let Some(address) = address {
            self.by_address.entry(address).or_default().insert(key);
        }
        self.by_pod.entry(pod).or_default().insert(key);
        if let Some(peer) = peer {
            self.by_peer.entry(peer).or_default().insert(key);
        }
        key
    }

    fn remove(&mut self, key: usize) {
        fn forget<K: std::hash::Hash + Eq>(
            index: &mut HashMap<K, HashSet<usize, RandomState>, RandomState>,
            name: &K,
            key: usize,
        ) {
            if let Some(keys) = index.get_mut(name) {
                keys.remove(&key);
                if keys.is_empty() {
                    index.remove(name);
                }
            }
        }
        let Some(entry) = self.slab.try_remove(key) else { return };
        forget(&mut self.by_pod, &entry.pod, key);
        if let Some(peer) = &entry.peer {
            forget(&mut self.by_peer, peer, key);
        }
        if let Some(address) = entry.address() {
            forget(&mut self.by_address, &address, key);
        }
    }

    fn of_pod(&self, pod: &PodUid) -> impl Iterator<Item = &Entry> {
        let keys = self.by_pod.get(pod).into_iter().flatten();
        keys.filter_map(|key| self.slab.get(*key))
    }
}

impl Entry {
    fn recheck(&mut self, check: &mut impl FnMut(&mut Grounds) -> Option<Cut>) {
        if let What::Connection { cut, grounds, .. } = &mut self.what
            && let Some(why) = check(grounds)
        {
            cut.cut(&why);
        }
    }

    /// Where a tunnel comes from.
    const fn address(&self) -> Option<IpAddr> {
        match self.what {
            What::Connection { .. } => None,
            What::Tunnel { from, .. } => Some(from),
        }
    }

    fn leave(&self) {
        if let What::Tunnel { tunnel, .. } = &self.what {
            tunnel.leave();
        }
    }

    fn cut(&self, why: &Cut) {
        match &self.what {
            What::Connection { cut, .. } => cut.cut(why),
            What::Tunnel { tunnel, .. } => tunnel.cut(),
        }
    }
}

impl CutCell {
    fn cut(&self, why: &Cut) {
        self.why.borrow_mut().get_or_insert_with(|| why.clone());
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl LiveGuard {
    /// Whether the connection is cut, and why. Its task is woken when it is.
    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> Poll<Cut> {
        if let Some(why) = self.cut.why.borrow().clone() {
            return Poll::Ready(why);
        }
        match &mut *self.cut.waker.borrow_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl From<Admission> for Grounds {
    fn from(admission: Admission) -> Self {
        Self::Inbound(Box::new(admission))
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        self.live.0.borrow_mut().remove(self.key);
    }
}

impl fmt::Debug for LiveGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveGuard").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Cut {
    /// Whether policy is why.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// The label of metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::EgressRefused(_) => "egress",
            Self::PeerChanged => "peer_changed",
            Self::PodGone => "pod_gone",
            Self::Refused(_) => "policy",
            Self::Shutdown => "shutdown",
        }
    }
}
