//! Ports of nodes that pods in their node's network say they serve. Pods of any namespace may say so of one port, and
//! tunnels to it go to one of them.

use std::collections::{BTreeMap, BTreeSet};

use mesh::{NetworkAddress, Workload, WorkloadUid};

use super::names;
use super::note::{Note, Remark};
use crate::objects::ObjectRef;

/// What one pod says of one port at one address of its node.
#[derive(Debug)]
pub(super) struct Claim {
    socket: (NetworkAddress, u16),
    /// In order of these, the first counts.
    uid: WorkloadUid,
    pod: ObjectRef,
}

/// What a workload says. One that terminates says nothing: its successor has the port, or is about to.
pub(super) fn claims(workload: &Workload) -> impl Iterator<Item = Claim> {
    let profile = &*workload.profile;
    let ports = if workload.terminating { &[] } else { &*profile.native_ports };
    let claim = |ip, port| Claim {
        socket: (NetworkAddress::new(profile.network.clone(), ip), port),
        uid: workload.uid.clone(),
        pod: ObjectRef {
            kind: names::POD.into(),
            namespace: profile.namespace.clone(),
            name: workload.name.clone(),
        },
    };
    ports.iter().flat_map(move |port| workload.addresses.iter().map(move |ip| claim(*ip, *port)))
}

/// Notes pods whose ports others have.
pub(super) fn note<'a>(claims: impl Iterator<Item = &'a Claim>, notes: &mut BTreeSet<Note>) {
    let mut by_socket: BTreeMap<_, Vec<&Claim>> = BTreeMap::new();
    for claim in claims {
        by_socket.entry(&claim.socket).or_default().push(claim);
    }
    for ((_, port), mut of_socket) in by_socket {
        of_socket.sort_by_key(|claim| &claim.uid);
        let Some((first, others)) = of_socket.split_first() else { continue };
        let remark = Remark::HostPortTaken { port: *port, winner: first.pod.clone() };
        notes.extend(others.iter().map(|it| Note { object: it.pod.clone(), remark: remark.clone() }));
    }
}
