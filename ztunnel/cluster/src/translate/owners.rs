//! Who owns a pod: the name and kind by which telemetry knows it.

use std::sync::Arc;

use mesh::WorkloadKind;

use super::names;
use crate::objects::{Labels, Metadata};

/// Names by which a workload is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) kind: WorkloadKind,
    pub(super) workload: Arc<str>,
    pub(super) canonical: Arc<str>,
    pub(super) revision: Arc<str>,
    pub(super) app: Arc<str>,
    pub(super) version: Arc<str>,
}

impl Names {
    /// Of a pod.
    pub(super) fn of_pod(metadata: &Metadata) -> Self {
        let (kind, owner) = owner(metadata);
        Self::new(kind, owner, &metadata.labels)
    }

    /// Of something else, called `name` unless its labels say otherwise.
    pub(super) fn of_entry(name: Arc<str>, labels: &Labels) -> Self {
        Self::new(WorkloadKind::Entry, name, labels)
    }

    fn new(kind: WorkloadKind, name: Arc<str>, labels: &Labels) -> Self {
        let first = |keys: &[&str]| {
            keys.iter().find_map(|key| labels.get(key).filter(|value| !value.is_empty()).cloned())
        };
        let app = first(&["app.kubernetes.io/name", "app"]);
        let version = first(&["app.kubernetes.io/version", "version"]);
        let workload = first(&[names::WORKLOAD_NAME]).unwrap_or(name);
        Self {
            kind,
            canonical: first(&[names::CANONICAL_NAME])
                .or_else(|| app.clone())
                .unwrap_or_else(|| workload.clone()),
            revision: first(&[names::CANONICAL_REVISION])
                .or_else(|| version.clone())
                .unwrap_or_else(|| "latest".into()),
            workload,
            app: app.unwrap_or_default(),
            version: version.unwrap_or_default(),
        }
    }
}

fn owner(metadata: &Metadata) -> (WorkloadKind, Arc<str>) {
    let Some(owner) = metadata.controller() else { return (WorkloadKind::Pod, metadata.name.clone()) };
    match &*owner.kind {
        "ReplicaSet" => (WorkloadKind::Deployment, deployment(&owner.name, metadata)),
        "Job" => match cron_job(&owner.name) {
            Some(name) => (WorkloadKind::CronJob, name.into()),
            None => (WorkloadKind::Job, owner.name.clone()),
        },
        "CronJob" => (WorkloadKind::CronJob, owner.name.clone()),
        // A mirror of a manifest on the node: the node is no controller.
        "Node" => (WorkloadKind::Pod, metadata.name.clone()),
        _ => (WorkloadKind::Deployment, owner.name.clone()),
    }
}

/// A Deployment names its ReplicaSets `<deployment>-<pod template hash>`.
fn deployment(replica_set: &Arc<str>, metadata: &Metadata) -> Arc<str> {
    let hash = metadata.label("pod-template-hash");
    let name = hash.and_then(|hash| replica_set.strip_suffix(hash)?.strip_suffix('-'));
    name.map_or_else(|| replica_set.clone(), Arc::from)
}

/// A CronJob names its Jobs `<cron job>-<minutes since the epoch>`.
fn cron_job(job: &str) -> Option<&str> {
    let (name, minutes) = job.rsplit_once('-')?;
    let is_time = (8..=10).contains(&minutes.len()) && minutes.bytes().all(|digit| digit.is_ascii_digit());
    is_time.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::OwnerReference;

    #[test]
    fn pods_are_known_by_what_a_person_deployed() {
        for (owner, hash, want) in [
            (None, "", (WorkloadKind::Pod, "cart-0")),
            (Some(("ReplicaSet", "cart-5d8f")), "5d8f", (WorkloadKind::Deployment, "cart")),
            (Some(("ReplicaSet", "bare-set")), "5d8f", (WorkloadKind::Deployment, "bare-set")),
            (Some(("ReplicaSet", "bare-set")), "", (WorkloadKind::Deployment, "bare-set")),
            (Some(("StatefulSet", "db")), "", (WorkloadKind::Deployment, "db")),
            (Some(("Job", "load")), "", (WorkloadKind::Job, "load")),
            (Some(("Job", "load-2024")), "", (WorkloadKind::Job, "load-2024")),
            (Some(("Job", "nightly-29384756")), "", (WorkloadKind::CronJob, "nightly")),
            (Some(("Node", "node-1")), "", (WorkloadKind::Pod, "cart-0")),
        ] {
            let reference = |(kind, name): (&str, &str)| OwnerReference {
                kind: kind.into(),
                name: name.into(),
                controller: true,
            };
            let metadata = Metadata {
                name: "cart-0".into(),
                labels: [("pod-template-hash".into(), Arc::from(hash))].into_iter().collect(),
                owner_references: owner.map(reference).into_iter().collect(),
                ..Metadata::default()
            };
            let names = Names::of_pod(&metadata);
            assert_eq!((names.kind, &*names.workload), want, "{owner:?}");
        }
    }

    #[test]
    fn labels_name_a_workload_before_its_owner_does() {
        let names = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            let names = Names::of_pod(&Metadata { name: "pod".into(), labels, ..Metadata::default() });
            [names.canonical.to_string(), names.revision.to_string(), names.app.to_string()]
        };
        assert_eq!(names(&[]), ["pod", "latest", ""]);
        assert_eq!(names(&[("app", "a"), ("version", "v1")]), ["a", "v1", "a"]);
        assert_eq!(names(&[("app", "a"), ("app.kubernetes.io/name", "b")]), ["b", "latest", "b"]);
        let canonical = (names::CANONICAL_NAME, "c");
        assert_eq!(names(&[("app", "a"), canonical]), ["c", "latest", "a"]);
    }

    use super::super::names;
}
