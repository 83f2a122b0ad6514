//! What is said of a workload in a tunnel.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hbone::baggage::{Baggage, WorkloadKind};
use mesh::{ClusterId, HostNode, Locality, Profile, Workload, WorkloadUid};

/// Workloads as they say themselves what they are, each once: telemetry knows them by where they are in memory.
#[derive(Debug, Default)]
pub(super) struct Answering(RefCell<HashMap<(WorkloadUid, Box<str>), Known, RandomState>>);

/// What came of a header, for an endpoint that looked like that.
#[derive(Debug)]
struct Known {
    profile: Arc<Profile>,
    workload: Arc<Workload>,
}

impl Answering {
    /// Who answers in place of the endpoint that was picked, by its `baggage`: the names of metrics and records. What it
    /// does not say is as of the endpoint. None where it says nothing.
    pub(super) fn of(&self, picked: &Arc<Workload>, header: &str) -> Option<Arc<Workload>> {
        let key = (picked.uid.clone(), Box::from(header));
        let mut all = self.0.borrow_mut();
        if let Some(known) = all.get(&key).filter(|known| Arc::ptr_eq(&known.profile, &picked.profile)) {
            return Some(known.workload.clone());
        }
        let workload = Arc::new(said(picked, &Baggage::parse(header))?);
        if all.len() >= MAX_ANSWERING {
            all.clear();
        }
        all.insert(key, Known { profile: picked.profile.clone(), workload: workload.clone() });
        Some(workload)
    }
}

fn said(picked: &Workload, baggage: &Baggage) -> Option<Workload> {
    if baggage.workload.is_empty() {
        return None;
    }
    let or = |said: &str, known: &Arc<str>| if said.is_empty() { known.clone() } else { Arc::from(said) };
    let own = &*picked.profile;
    let profile = Profile {
        namespace: or(&baggage.namespace, &own.namespace),
        workload_name: (&*baggage.workload).into(),
        canonical_name: or(&baggage.service, &own.canonical_name),
        canonical_revision: or(&baggage.version, &own.canonical_revision),
        app: or(&baggage.service, &own.app),
        version: or(&baggage.version, &own.version),
        cluster: ClusterId(or(&baggage.cluster, &own.cluster.0)),
        ..own.clone()
    };
    let locality = Locality {
        region: or(&baggage.region, &picked.node.locality.region),
        zone: or(&baggage.zone, &picked.node.locality.zone),
        subzone: picked.node.locality.subzone.clone(),
    };
    let node = HostNode { locality, ..HostNode::default() };
    Some(Workload {
        name: (&*baggage.workload).into(),
        node: Arc::new(node),
        profile: Arc::new(profile),
        ..picked.clone()
    })
}

/// Answers kept per worker: emptied rather than grown.
const MAX_ANSWERING: usize = 256;

/// The `baggage` header of a workload.
pub(super) fn of(workload: &Workload) -> Box<str> {
    let profile = &workload.profile;
    let locality = &workload.node.locality;
    let kind = match profile.kind {
        mesh::WorkloadKind::CronJob => WorkloadKind::CronJob,
        mesh::WorkloadKind::Deployment | mesh::WorkloadKind::Entry => WorkloadKind::Deployment,
        mesh::WorkloadKind::Job => WorkloadKind::Job,
        mesh::WorkloadKind::Pod => WorkloadKind::Pod,
    };
    let baggage = Baggage {
        cluster: (&*profile.cluster.0).into(),
        namespace: (&*profile.namespace).into(),
        kind,
        workload: (&**workload.telemetry_name()).into(),
        service: (&*profile.canonical_name).into(),
        version: (&*profile.canonical_revision).into(),
        region: (&*locality.region).into(),
        zone: (&*locality.zone).into(),
    };
    baggage.to_string().into()
}
