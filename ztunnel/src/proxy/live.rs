//! Connections that live: to be cut when they may no longer be, and to be listed.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use authz::{Denied, PolicySet};
use foldhash::fast::RandomState;
use hbone::tunnel::Tunnel;
use identity::SpiffeId;
use mesh::{PodUid, WorkloadUid};
use slab::Slab;

use super::meter::Metered;
use super::view::ConnectionView;

/// The connections of one worker. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(Rc<RefCell<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    slab: Slab<Entry>,
    by_pod: HashMap<PodUid, HashSet<usize, RandomState>, RandomState>,
    /// Inbound tunnels, and connections without one, by the workload that they come from.
    by_peer: HashMap<WorkloadUid, HashSet<usize, RandomState>, RandomState>,
}

#[derive(Debug)]
struct Entry {
    pod: PodUid,
    peer: Option<WorkloadUid>,
    what: What,
}

#[derive(Debug)]
enum What {
    Connection { cut: Rc<CutCell>, metered: Rc<Metered>, admission: Option<Box<Admission>> },
    Tunnel { tunnel: Tunnel, from: IpAddr },
}

/// What was decided about an inbound connection, and on which grounds.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    /// The verified identity of who opened it.
    pub(super) source: Option<SpiffeId>,
    /// The workload of this node that opened it, where no tunnel is cut when that becomes another.
    pub(super) peer: Option<WorkloadUid>,
    /// Its address.
    pub(super) source_ip: IpAddr,
    /// What it reaches.
    pub(super) destination: SocketAddr,
    /// What decided.
    pub(super) policies: Arc<PolicySet>,
}

/// Why a live connection is cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cut {
    /// Policy changed.
    #[error("policy no longer allows the connection: {0}")]
    Denied(Denied),
    /// Another identity is at the peer's address.
    #[error("the peer is no longer who it was")]
    PeerChanged,
    /// The pod is no longer captured, or gone.
    #[error("the pod is gone")]
    PodGone,
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
    pub(super) fn connection(
        &self,
        pod: &PodUid,
        metered: &Rc<Metered>,
        admission: Option<Admission>,
    ) -> LiveGuard {
        let cut = Rc::<CutCell>::default();
        let peer = admission.as_ref().and_then(|admission| admission.peer.clone());
        let what = What::Connection {
            cut: cut.clone(),
            metered: metered.clone(),
            admission: admission.map(Box::new),
        };
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

    /// Asks `check` about each admitted connection of a pod; it may replace the policies, or say why to cut.
    pub(super) fn recheck_pod(&self, pod: &PodUid, mut check: impl FnMut(&mut Admission) -> Option<Cut>) {
        let Entries { slab, by_pod, .. } = &mut *self.0.borrow_mut();
        for key in by_pod.get(pod).into_iter().flatten() {
            if let Some(Entry { what: What::Connection { cut, admission: Some(admission), .. }, .. }) =
                slab.get_mut(*key)
                && let Some(why) = check(admission)
            {
                cut.cut(&why);
            }
        }
    }

    /// Asks `check` about each tunnel and connection from a workload: whether its peer may still be who it is.
    pub(super) fn recheck_peer(
        &self,
        peer: &WorkloadUid,
        check: impl Fn(IpAddr, &SpiffeId) -> bool,
    ) -> usize {
        let entries = self.0.borrow();
        let mut cut = 0;
        for key in entries.by_peer.get(peer).into_iter().flatten() {
            let Some(entry) = entries.slab.get(*key) else { continue };
            if entry.peer_proved().is_some_and(|(from, identity)| !check(from, identity)) {
                entry.cut(&Cut::PeerChanged);
                cut += 1;
            }
        }
        cut
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
        let (pod, peer) = (entry.pod.clone(), entry.peer.clone());
        let key = self.slab.insert(entry);
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
    }

    fn of_pod(&self, pod: &PodUid) -> impl Iterator<Item = &Entry> {
        let keys = self.by_pod.get(pod).into_iter().flatten();
        keys.filter_map(|key| self.slab.get(*key))
    }
}

impl Entry {
    fn leave(&self) {
        if let What::Tunnel { tunnel, .. } = &self.what {
            tunnel.leave();
        }
    }

    /// Where it comes from, and as whom.
    fn peer_proved(&self) -> Option<(IpAddr, &SpiffeId)> {
        match &self.what {
            What::Connection { admission, .. } => {
                let admission = admission.as_ref()?;
                Some((admission.source_ip, admission.source.as_ref()?))
            }
            What::Tunnel { tunnel, from } => Some((*from, tunnel.peer())),
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
    /// Runs `connection` to its end, unless it is cut.
    ///
    /// # Errors
    /// Why it was cut.
    pub(super) async fn run<F: Future>(&self, connection: F) -> Result<F::Output, Cut> {
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            if let Some(why) = self.cut.why.borrow().clone() {
                return Poll::Ready(Err(why));
            }
            let mut waker = self.cut.waker.borrow_mut();
            match &mut *waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
            drop(waker);
            connection.as_mut().poll(cx).map(Ok)
        })
        .await
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
    /// The label of metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Denied(_) => "policy",
            Self::PeerChanged => "peer_changed",
            Self::PodGone => "pod_gone",
            Self::Shutdown => "shutdown",
        }
    }
}
