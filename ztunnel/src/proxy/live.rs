//! Connections that live: to be cut when they may no longer be, and to be listed.

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hbone::tunnel::Tunnel;
use identity::SpiffeId;
use mesh::{ChangeSet, PodUid, Snapshot, Workload, WorkloadUid};
use slab::Slab;

use super::meter::Metered;
use super::view::ConnectionView;
use crate::decision::{Admission, Crossing, Departure, Origin};

mod cut;
mod index;

pub(super) use cut::Cut;
use cut::CutCell;
use index::Indexes;

/// The connections of one worker. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(Rc<RefCell<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    slab: Slab<Entry>,
    indexes: Indexes,
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
    Tunnel { tunnel: Tunnel, from: IpAddr, is_beyond: bool },
}

/// Which peers' tunnels.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peers<'a> {
    /// All of them.
    All,
    /// Those that gateways of the own network bring.
    Beyond,
    /// Those that come, or came, from a workload, and those from its addresses.
    Of {
        /// The workload.
        workload: &'a WorkloadUid,
        /// Where it is.
        addresses: &'a [IpAddr],
    },
}

/// Who a peer's tunnel comes from.
#[derive(Clone, Debug)]
pub(super) enum Opener {
    /// This workload.
    Workload(Arc<Workload>),
    /// Somebody on another network, through this gateway of the own one.
    Beyond(Arc<Workload>),
    /// None of the mesh's workloads, as far as that is known.
    Unknown,
}

/// On which grounds a connection may be.
#[derive(Clone, Debug)]
pub(super) enum Grounds {
    /// It came in.
    Inbound(Box<Admission>),
    /// It went out, and nobody at its other end asks.
    Outbound(Box<Departure>),
    /// It went out to another network, whose end does not know whom this mesh takes for who.
    Remote(Box<Crossing>),
    /// It went out, and whoever is at its other end asks.
    Settled,
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
            Grounds::Outbound(_) | Grounds::Remote(_) | Grounds::Settled => None,
        };
        let what = What::Connection { cut: cut.clone(), metered: metered.clone(), grounds };
        let key = self.0.borrow_mut().add(Entry { pod: pod.clone(), peer, what });
        LiveGuard { live: self.clone(), key, cut }
    }

    /// Adds an inbound tunnel to `pod`.
    pub(super) fn tunnel(&self, pod: &PodUid, tunnel: &Tunnel, from: IpAddr, opener: &Opener) -> LiveGuard {
        let (peer, is_beyond) = match opener {
            Opener::Workload(workload) => (Some(workload.uid.clone()), false),
            // It goes as its gateway does.
            Opener::Beyond(gateway) => (Some(gateway.uid.clone()), true),
            Opener::Unknown => (None, false),
        };
        let what = What::Tunnel { tunnel: tunnel.clone(), from, is_beyond };
        let key = self.0.borrow_mut().add(Entry { pod: pod.clone(), peer, what });
        LiveGuard { live: self.clone(), key, cut: Rc::default() }
    }

    /// Has the peers of a pod's tunnels dial anew for what is new.
    pub(super) fn leave(&self, pod: &PodUid) {
        let entries = self.0.borrow();
        entries.at(entries.indexes.inbound_of(pod)).for_each(Entry::leave);
    }

    /// Has the peers of all tunnels dial anew for what is new.
    pub(super) fn leave_all(&self) {
        self.0.borrow().slab.iter().for_each(|(_, entry)| entry.leave());
    }

    /// Cuts everything of a pod.
    pub(super) fn cut_pod(&self, pod: &PodUid, why: &Cut) {
        let entries = self.0.borrow();
        entries.at(entries.indexes.of_pod(pod)).for_each(|entry| entry.cut(why));
    }

    /// Cuts everything.
    pub(super) fn cut_all(&self, why: &Cut) {
        self.0.borrow().slab.iter().for_each(|(_, entry)| entry.cut(why));
    }

    /// Asks `check` once about each connection that a change may concern, with the pod of this node that has it: it may
    /// note other grounds, or say why to cut.
    pub(super) fn recheck(
        &self,
        changes: &ChangeSet,
        snapshot: &Snapshot,
        mut check: impl FnMut(&PodUid, &mut Grounds) -> Option<Cut>,
    ) {
        let entries = &mut *self.0.borrow_mut();
        for key in entries.indexes.concerned(changes, snapshot) {
            entries.recheck(key, &mut check);
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
        let mut cut = 0;
        for entry in entries.at(entries.indexes.of_peers(peers)) {
            if let What::Tunnel { tunnel, from, .. } = &entry.what
                && !check(&entry.pod, *from, tunnel.peer())
            {
                tunnel.cut();
                cut += 1;
            }
        }
        cut
    }

    /// Has the tunnels from a workload end unless it gives a sign of life within that time.
    pub(super) fn doubt_peer(&self, peer: &WorkloadUid, within: Duration) {
        let entries = self.0.borrow();
        for entry in entries.at(entries.indexes.of_peer(peer)) {
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
        let place = self.slab.vacant_entry();
        let key = place.key();
        self.indexes.add(key, &entry);
        place.insert(entry);
        key
    }

    fn remove(&mut self, key: usize) {
        if let Some(entry) = self.slab.try_remove(key) {
            self.indexes.remove(key, &entry);
        }
    }

    fn at(&self, keys: impl IntoIterator<Item = usize>) -> impl Iterator<Item = &Entry> {
        keys.into_iter().filter_map(|key| self.slab.get(key))
    }

    fn recheck(&mut self, key: usize, check: &mut impl FnMut(&PodUid, &mut Grounds) -> Option<Cut>) {
        let Some(Entry { pod, what: What::Connection { cut, grounds, .. }, .. }) = self.slab.get_mut(key)
        else {
            return;
        };
        let before = match grounds {
            Grounds::Settled => return,
            _ if cut.is_cut() => return,
            Grounds::Outbound(departure) => Some(departure.clone()),
            Grounds::Inbound(_) | Grounds::Remote(_) => None,
        };
        if let Some(why) = check(pod, grounds) {
            cut.cut(&why);
        }
        if let (Some(before), Grounds::Outbound(now)) = (before, grounds)
            && before != *now
        {
            self.indexes.remove_departure(key, &before);
            self.indexes.add_departure(key, now);
        }
    }
}

impl Entry {
    /// Whether its pod opened it.
    const fn is_outbound(&self) -> bool {
        matches!(
            self.what,
            What::Connection { grounds: Grounds::Outbound(_) | Grounds::Remote(_) | Grounds::Settled, .. }
        )
    }

    /// Where it comes from, as far as that says who it is: a tunnel, or a connection without an identity.
    fn source(&self) -> Option<IpAddr> {
        match &self.what {
            What::Tunnel { from, .. } => Some(*from),
            What::Connection { grounds: Grounds::Inbound(admission), .. } if admission.source.is_none() => {
                Some(admission.source_ip)
            }
            What::Connection { .. } => None,
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

impl LiveGuard {
    /// Whether the connection is cut, and why. Its task is woken when it is.
    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> Poll<Cut> {
        self.cut.poll(cx)
    }
}

impl Opener {
    /// The workload that it is, where that is known.
    pub(super) const fn workload(&self) -> Option<&Arc<Workload>> {
        match self {
            Self::Workload(workload) => Some(workload),
            Self::Beyond(_) | Self::Unknown => None,
        }
    }
}

impl From<Origin<'_>> for Opener {
    fn from(origin: Origin<'_>) -> Self {
        match origin {
            Origin::Workload(workload) => Self::Workload(workload.clone()),
            Origin::Beyond(gateway) => Self::Beyond(gateway.clone()),
            Origin::Unknown => Self::Unknown,
        }
    }
}

impl From<Admission> for Grounds {
    fn from(admission: Admission) -> Self {
        Self::Inbound(Box::new(admission))
    }
}

impl From<Crossing> for Grounds {
    fn from(crossing: Crossing) -> Self {
        Self::Remote(Box::new(crossing))
    }
}

impl From<Option<Departure>> for Grounds {
    fn from(departure: Option<Departure>) -> Self {
        departure.map_or(Self::Settled, |departure| Self::Outbound(Box::new(departure)))
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
