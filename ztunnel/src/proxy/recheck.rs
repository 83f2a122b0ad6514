//! A changed mesh reaches live connections.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use authz::{Attributes, Denied, PolicySet, Touched};
use identity::SpiffeId;
use mesh::{ChangeSet, PodUid, Snapshot, Workload, WorkloadUid};

use super::live::{Admission, Cut, LiveGuard};
use super::meter::Metered;
use super::worker::Worker;
use crate::decision::verify_peer;

impl Worker {
    /// Lists a connection that was let in, and asks once more whether it may be: policy may have changed while its
    /// application was dialled, and only what is listed is asked again when it does.
    pub(super) fn list(
        &self,
        pod: &PodUid,
        metered: &Rc<Metered>,
        mut admission: Admission,
    ) -> Result<LiveGuard, Cut> {
        let snapshot = self.shared.snapshots.load();
        let workload = snapshot.workload_by_pod_uid(pod).ok_or(Cut::PodGone)?;
        if let Err(denied) = admission.ask_again(&snapshot.policies_for(workload)) {
            self.count_denial(&denied);
            return Err(Cut::Denied(denied));
        }
        if let (Some(peer), Some(identity)) = (&admission.peer, &admission.source)
            && !self.is_still(&snapshot, peer, admission.source_ip, identity)
        {
            self.count_cuts(&Cut::PeerChanged, 1);
            return Err(Cut::PeerChanged);
        }
        Ok(self.live.connection(pod, metered, Some(admission)))
    }

    /// Asks again about the live connections that a change concerns: those of this node's pods whose policies, labels or
    /// identities changed, and those of peers that changed.
    pub(super) fn recheck(&self, changes: &ChangeSet) {
        let snapshot = self.shared.snapshots.load_full();
        for uid in self.pod_uids() {
            if let Some(workload) = snapshot.workload_by_pod_uid(&uid)
                && concerns(changes, workload)
            {
                self.recheck_pod(&snapshot, &uid, workload);
            }
        }
        for peer in &changes.workloads {
            let cut =
                self.live.recheck_peer(peer, |from, identity| self.is_still(&snapshot, peer, from, identity));
            self.count_cuts(&Cut::PeerChanged, cut);
        }
    }

    /// Whether a workload's identity may still be at an address.
    fn is_still(&self, snapshot: &Snapshot, peer: &WorkloadUid, from: IpAddr, identity: &SpiffeId) -> bool {
        let network = |workload: &Workload| workload.profile.network.clone();
        let network = snapshot.workload(peer).map(|workload| network(workload)).unwrap_or_default();
        verify_peer(snapshot, &network, from, identity, self.shared.settings.strangers).is_ok()
    }

    fn recheck_pod(&self, snapshot: &Snapshot, uid: &PodUid, workload: &Workload) {
        let policies = snapshot.policies_for(workload);
        let mut refusals = Vec::new();
        self.live.recheck_pod(uid, |admission| {
            let denied = admission.ask_again(&policies).err()?;
            refusals.push(denied.clone());
            Some(Cut::Denied(denied))
        });
        for denied in refusals {
            self.count_denial(&denied);
            self.count_cuts(&Cut::Denied(denied), 1);
        }
    }

    fn count_cuts(&self, why: &Cut, count: usize) {
        if count > 0 {
            let count = count.try_into().unwrap_or(u64::MAX);
            self.shared.counts.cuts.with_label_values(&[why.label()]).inc_by(count);
        }
    }
}

impl Admission {
    /// Decides anew if other policies apply than those that decided.
    fn ask_again(&mut self, policies: &Arc<PolicySet>) -> Result<(), Denied> {
        if Arc::ptr_eq(&self.policies, policies) {
            return Ok(());
        }
        self.policies = policies.clone();
        let Self { source, source_ip, destination, .. } = self;
        let attributes =
            Attributes { source: source.as_ref(), source_ip: *source_ip, destination: *destination };
        policies.evaluate(&attributes).map(|_permit| ())
    }
}

/// Whether a change may concern the policies that apply to a workload.
fn concerns(changes: &ChangeSet, workload: &Workload) -> bool {
    let selected = |policy: &authz::PolicyName| {
        workload
            .profile
            .policies
            .iter()
            .any(|named| named.split_once('/') == Some((&*policy.namespace, &*policy.name)))
    };
    changes.resync
        || changes.workloads.contains(&workload.uid)
        || changes.policies.iter().any(|touched| match touched {
            Touched::Everything => true,
            Touched::Namespace(namespace) => *namespace == workload.profile.namespace,
            Touched::Selected(policy) => selected(policy),
        })
}
