//! Tells the other nodes what is captured here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use certs::describe;
use cluster::StatusFolder;
use daemon::ready::{Readiness, ReadyTask};
use mesh::Snapshots;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::enrol::{PodPhase, PodStatus};

/// What readiness calls it.
pub(super) const TASK: &str = "enrolment";

/// Keeps this node's file in the shared folder as it should be. Enrolment is ready once it has first told.
pub(super) async fn of_node(folder: PathBuf, node: String, mut told: Told, ready: ReadyTask) {
    let folder = StatusFolder::new(folder);
    let mut ready = Some(ready);
    loop {
        let captured: Option<Vec<String>> = told.borrow_and_update().as_deref().map(captured);
        if let Some(captured) = captured {
            if let Err(error) = folder.report(&node, captured.iter().map(String::as_str)) {
                tracing::error!(error = describe(&error), "captured pods cannot be reported to other nodes");
            } else if let Some(ready) = ready.take() {
                ready.done();
            }
        }
        if told.changed().await.is_err() {
            return;
        }
    }
}

/// Takes away reports of pods of which the mesh has known nothing for a while: nobody does once a pod has gone whose proxy
/// was killed, or was told to end before the mesh heard that the pod was deleted.
pub(super) async fn forget_gone(folder: PathBuf, snapshots: Snapshots) {
    let folder = StatusFolder::new(folder);
    let mut unknown: BTreeMap<String, u32> = BTreeMap::new();
    loop {
        sleep(LOOK).await;
        let snapshot = snapshots.load_full();
        if snapshot.workloads().next().is_none() {
            // Nothing was read as yet.
            continue;
        }
        let is_unknown =
            |uid: &String| snapshot.workload_by_pod_uid(&mesh::PodUid(uid.as_str().into())).is_none();
        let found = folder.themselves().into_iter().filter(is_unknown);
        let counted = found.map(|uid| {
            let looks = unknown.get(&uid).copied().unwrap_or_default();
            (uid, looks + 1)
        });
        unknown = counted.collect();
        for uid in unknown.iter().filter(|(_, looks)| **looks > LOOKS).map(|(uid, _)| uid) {
            match folder.withdraw_itself(uid) {
                Ok(()) => tracing::info!(pod = uid, "report of a pod that has gone was taken away"),
                Err(error) => {
                    tracing::warn!(error = describe(&error), "report of a pod that has gone is left")
                }
            }
        }
    }
}

/// The pod inside of which the daemon runs.
pub(super) struct Pod {
    /// The folder that all nodes share.
    pub(super) folder: PathBuf,
    /// Told when it was first captured.
    pub(super) captured: watch::Sender<bool>,
    pub(super) readiness: Readiness,
}

/// A file that says that a pod is captured. It is taken away with this, unless the pod is captured then: the daemon
/// ends, and leaves it shut to plaintext.
struct OwnReport {
    folder: StatusFolder,
    uid: String,
    told: Told,
}

/// How all pods fare; none before enrolment has first told.
type Told = watch::Receiver<Option<Vec<PodStatus>>>;

impl Pod {
    /// Tells that the pod is captured, as long as it is, and beyond the daemon's end. Only then is the daemon ready.
    pub(super) async fn report(self, mut told: Told, first: ReadyTask) {
        let mut waiting = Some(first);
        let mut report: Option<OwnReport> = None;
        loop {
            let uid = told.borrow_and_update().as_deref().and_then(|pods| captured(pods).pop());
            if uid.is_some() {
                self.captured.send_replace(true);
            }
            if report.as_ref().map(|it| &it.uid) != uid.as_ref() {
                // The old one goes first.
                drop(report.take());
                report = uid.as_ref().and_then(|uid| OwnReport::make(&self.folder, uid, &told));
            }
            waiting = match (&report, waiting) {
                (Some(_), Some(task)) => {
                    task.done();
                    None
                }
                (None, None) => Some(self.readiness.task(TASK)),
                (_, waiting) => waiting,
            };
            let failed = uid.is_some() && report.is_none();
            tokio::select! {
                changed = told.changed() => if changed.is_err() {
                    return;
                },
                () = sleep(RETRY), if failed => {}
            }
        }
    }
}

impl OwnReport {
    fn make(folder: &std::path::Path, uid: &str, told: &Told) -> Option<Self> {
        let folder = StatusFolder::new(folder.to_owned());
        let reported = folder.report_itself(uid);
        let failed = |error: &cluster::ReportError| {
            tracing::error!(error = describe(error), "the pod's capture cannot be reported to others");
        };
        reported.inspect_err(failed).ok()?;
        Some(Self { folder, uid: uid.to_owned(), told: told.clone() })
    }
}

impl Drop for OwnReport {
    fn drop(&mut self) {
        if self.told.borrow().as_deref().is_some_and(|pods| captured(pods).contains(&self.uid)) {
            return;
        }
        if let Err(error) = self.folder.withdraw_itself(&self.uid) {
            tracing::error!(error = describe(&error), "others still take the pod for captured");
        }
    }
}

/// Uids of the pods that are captured.
fn captured(pods: &[PodStatus]) -> Vec<String> {
    let captured = pods.iter().filter(|pod| pod.phase == PodPhase::Captured);
    captured.map(|pod| pod.pod.uid.to_string()).collect()
}

/// How often reports are looked at, and how often a pod must not have been known before: ten minutes. A mesh is read sooner
/// than that.
const LOOK: Duration = Duration::from_secs(60);
const LOOKS: u32 = 10;

/// How long before a report that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cluster::{Reported, Settings, read, translate};
    use mesh::Store;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reports_of_pods_that_are_gone_are_taken_away_after_a_while_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let status = StatusFolder::new(folder.path().to_owned());
        for uid in ["here", "gone"] {
            status.report_itself(uid).unwrap();
        }
        let mut store = Store::new();
        let snapshots = store.snapshots();
        let look = async {
            // Between two looks, so that it is known which of them sees what.
            sleep(LOOK * LOOKS * 2 + LOOK / 2).await;
            assert_eq!(status.themselves().len(), 2, "nothing is known of any pod");
            let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: b, uid: here}, \
                       spec: {nodeName: n}, status: {phase: Running, podIP: 10.0.0.1}}";
            let (objects, _) = read(Path::new("test.yaml"), pod);
            store.apply(translate(&objects, &Reported::default(), &Settings::default()).update);
            sleep(LOOK * LOOKS).await;
            assert_eq!(status.themselves().len(), 2, "it may not be known yet");
            sleep(LOOK).await;
            assert_eq!(status.themselves(), ["here".to_owned()].into());
        };
        tokio::select! {
            () = forget_gone(folder.path().to_owned(), snapshots) => panic!("it looks on"),
            () = look => {}
        }
    }
}
