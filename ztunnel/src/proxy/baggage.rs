//! What we say of a workload in a tunnel.

use hbone::baggage::{Baggage, WorkloadKind};
use mesh::Workload;

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
