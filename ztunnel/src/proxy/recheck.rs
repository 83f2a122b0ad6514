//! A changed mesh reaches live connections.

use std::collections::HashSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use identity::SpiffeId;
use mesh::{ChangeSet, PodUid, Snapshot, Workload, WorkloadKind, WorkloadUid};

use super::live::{Cut, Grounds, Live, LiveGuard, Peers};
use super::meter::Metered;
use super::worker::{GONE_PATIENCE, Worker};
use crate::decision::{Strangers, verify_peer};

impl Worker {
    /// Lists a connection, and asks once more whether it may be: the mesh may have changed while its upstream was
    /// dialled, and only what is listed is asked again when it does.
    pub(super) fn list(
        &self,
        pod: &PodUid,
        metered: &Rc<Metered>,
        mut grounds: Grounds,
    ) -> Result<LiveGuard, Cut> {
        let snapshot = self.shared.snapshots.load();
        let cut = match (&grounds, snapshot.workload_by_pod_uid(pod)) {
            // It went while its application was dialled: nobody would cut what is listed from here on.
            _ if self.pod(pod).is_none() => Some(Cut::PodGone),
            (Grounds::Settled, _) => None,
            (_, None) => Some(Cut::PodGone),
            (_, Some(workload)) => self.ask_again(&snapshot, workload, &mut grounds),
        };
        match cut {
            Some(cut) => Err(cut),
            None => Ok(self.live.connection(pod, metered, grounds)),
        }
    }

    /// Asks again about the live connections that a change concerns.
    pub(super) fn recheck(&self, changes: &ChangeSet) {
        let snapshot = self.shared.snapshots.load_full();
        self.live.recheck(changes, &snapshot, |pod, grounds| {
            self.ask_again(&snapshot, snapshot.workload_by_pod_uid(pod)?, grounds)
        });
        let cut = self.live.recheck_peers(changes, &snapshot, self.shared.settings.strangers);
        self.count_cuts(&Cut::PeerChanged, cut);
        for peer in changes.workloads.iter().filter(|uid| snapshot.workload(uid).is_none()) {
            self.live.doubt_peer(peer, GONE_PATIENCE);
        }
        self.leave_ending(changes, &snapshot);
    }

    /// Has new connections to pods that terminate go in new tunnels, if they still go there, so that no tunnel is held
    /// by what comes after. What is in the old ones goes on until it ends, or the pod does.
    fn leave_ending(&self, changes: &ChangeSet, snapshot: &Snapshot) {
        let ending = |workload: &Arc<Workload>| workload.pod_uid.clone().filter(|_| workload.terminating);
        let ending: HashSet<PodUid> = if changes.resync {
            snapshot.workloads().filter_map(ending).collect()
        } else {
            changes.workloads.iter().filter_map(|uid| snapshot.workload(uid)).filter_map(ending).collect()
        };
        if !ending.is_empty() {
            ending.iter().for_each(|pod| self.live.leave(pod));
            self.pool.evict(|key| key.peer_pod.as_ref().is_some_and(|pod| ending.contains(pod)));
        }
    }

    /// Why a connection of a pod is to be cut, if it is; counted.
    fn ask_again(&self, snapshot: &Snapshot, pod: &Workload, grounds: &mut Grounds) -> Option<Cut> {
        let cut = match grounds {
            // A tunnel is cut with all that is in it; a connection of the same node has none.
            Grounds::Inbound(admission) if admission.is_of_another(snapshot) => Cut::PeerChanged,
            Grounds::Inbound(admission) => {
                let error = admission.ask_again(snapshot, pod).err()?;
                self.count_refusal(&error);
                Cut::Refused(error)
            }
            Grounds::Outbound(departure) => {
                let cut = departure.ask_again(snapshot, pod).err()?.into();
                if let Cut::PlaintextRefused(denied) = &cut {
                    self.denied(denied);
                }
                cut
            }
            Grounds::Remote(crossing) => crossing.ask_again(snapshot, pod).err()?.into(),
            Grounds::Settled => return None,
        };
        self.count_cuts(&cut, 1);
        Some(cut)
    }

    fn count_cuts(&self, why: &Cut, count: usize) {
        if count > 0 {
            let count = count.try_into().unwrap_or(u64::MAX);
            self.shared.counts.cuts.with_label_values(&[why.label()]).inc_by(count);
        }
    }
}

impl Live {
    /// Cuts tunnels of peers that may no longer be who they were, as far as a change can have made that so.
    fn recheck_peers(&self, changes: &ChangeSet, snapshot: &Snapshot, strangers: Strangers) -> usize {
        let may_be = |pod: &PodUid, from: IpAddr, identity: &SpiffeId| {
            let local = snapshot.workload_by_pod_uid(pod);
            let network = local.map(|local| local.profile.network.clone()).unwrap_or_default();
            verify_peer(snapshot, &network, from, identity, strangers).is_ok()
        };
        if changes.resync {
            return self.recheck_tunnels(Peers::All, may_be);
        }
        // An entry may name others as who is there, with no change of its workloads.
        let entries =
            changes.services.iter().filter_map(|key| snapshot.service(key)).filter(|it| !it.canonical);
        let served_by =
            entries.flat_map(|entry| entry.endpoints.iter()).filter_map(|it| it.target.workload());
        let cut = changes.workloads.iter().chain(served_by).map(|workload| {
            let addresses = snapshot.workload(workload).map_or(&[][..], |known| &known.addresses);
            self.recheck_tunnels(Peers::Of { workload, addresses }, may_be)
        });
        let cut: usize = cut.sum();
        // Who comes through a gateway is known by an entry elsewhere, which has nothing of the tunnel but its identity.
        let may_tell = strangers == Strangers::Refuse
            && changes.workloads.iter().any(|workload| may_be_entry(snapshot, workload));
        cut + if may_tell { self.recheck_tunnels(Peers::Beyond, may_be) } else { 0 }
    }
}

/// Whether it is an entry, or may have been one: of what is gone, only its name is left.
fn may_be_entry(snapshot: &Snapshot, workload: &WorkloadUid) -> bool {
    match snapshot.workload(workload) {
        Some(workload) => workload.profile.kind == WorkloadKind::Entry,
        None => !workload.0.contains("//Pod/"),
    }
}

#[cfg(test)]
mod tests;
