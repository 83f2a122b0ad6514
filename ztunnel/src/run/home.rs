//! Where the daemon is at home: on a node, whose pods it captures, or inside of the one pod that it captures (Istio's
//! dedicated mode).
//!
//! Inside of a pod the daemon's own connections leave by the rules that it makes for the pod. They bear the pod's mark,
//! which is drawn before the first of them, and wait for the rules: see [`OwnSockets`].

use std::sync::Arc;
use std::time::Duration;

use cluster::LocalPod;
use daemon::drain::Drain;
use daemon::ready::Readiness;
use daemon::tasks::Tasks;
use mesh::Snapshots;
use tokio::sync::watch;
use tokio::time::timeout;

use super::dns::LocalPods;
use super::own::tuning;
use super::{RunError, enrolment, status};
use crate::config::Config;
use crate::enrol::{self, CaptureEvents, EnrolHandle, Leaving, Left, PodStatus};
use crate::redirect::{Marks, OwnSockets};

/// Where the daemon is at home.
pub(super) enum Home {
    /// On a node.
    Node,
    /// Inside of a pod.
    Pod {
        /// The pod's.
        marks: Marks,
        /// Whether the pod was captured.
        captured: watch::Sender<bool>,
    },
}

/// What is left to do for a daemon that ends.
pub(super) struct Departure(Option<Leaving>);

impl Home {
    /// As the configuration says.
    pub(super) fn of(config: &Config) -> Result<Self, RunError> {
        if config.pod.is_none() {
            return Ok(Self::Node);
        }
        let marks = Marks::random().map_err(RunError::Marks)?;
        Ok(Self::Pod { marks, captured: watch::Sender::new(false) })
    }

    /// What the daemon connects by, for itself.
    pub(super) fn sockets(&self) -> OwnSockets {
        match self {
            Self::Node => OwnSockets::default(),
            Self::Pod { marks, captured } => OwnSockets::inside(*marks, captured.subscribe()),
        }
    }

    /// Starts to capture pods, or the one.
    pub(super) fn enrol(
        &self,
        config: &Config,
        events: impl CaptureEvents,
    ) -> Result<EnrolHandle, enrol::StartError> {
        match self {
            Self::Node => enrol::start(enrolment(config), events),
            Self::Pod { marks, .. } => enrol::start_inside(*marks, tuning(config), events),
        }
    }

    /// Tells others what is captured, and when the daemon is ready.
    pub(super) fn report(
        self,
        config: &Config,
        told: watch::Receiver<Option<Vec<PodStatus>>>,
        readiness: &Readiness,
        tasks: &Tasks,
    ) {
        let (folder, first) = (config.source.status.clone(), readiness.task(status::TASK));
        match self {
            Self::Node => {
                tasks.spawn("capture status", status::of_node(folder, config.node.clone(), told, first))
            }
            Self::Pod { captured, .. } => {
                let pod = status::Pod { folder, captured, readiness: readiness.clone() };
                tasks.spawn("capture status", pod.report(told, first))
            }
        };
    }

    /// Keeps the folder of reports free of those of pods that are gone. Those inside of pods leave it to nodes' daemons.
    pub(super) fn tidy(&self, config: &Config, snapshots: Snapshots, tasks: &Tasks) {
        if let Self::Node = self {
            tasks.spawn("stale reports", status::forget_gone(config.source.status.clone(), snapshots));
        }
    }

    /// What is left to do at the end. A node's pods stay captured: the next daemon takes them up. So does the only pod
    /// of a daemon inside of it, unless it is being deleted: the kubelet also ends a proxy alone, whose probe failed or
    /// whose image changed, while the application runs.
    pub(super) fn departure(
        &self,
        enrolment: &EnrolHandle,
        mut local: LocalPods,
        drain: &Drain,
        tasks: &Tasks,
    ) -> Departure {
        let Self::Pod { .. } = self else { return Departure(None) };
        let (leaving, drain) = (enrolment.leaving(), drain.clone());
        let begins = leaving.clone();
        tasks.spawn("departure", async move {
            drain.draining().await;
            let is_deleted = |pods: &Arc<[LocalPod]>| pods.iter().any(|pod| pod.terminating);
            if local.wait_for(is_deleted).await.is_ok() {
                begins.begin();
            }
        });
        Departure(Some(leaving))
    }
}

impl Departure {
    /// Takes everything out of a pod that is in the mesh no longer, or is being deleted, once its connections have
    /// ended.
    pub(super) async fn finish(self) {
        let Some(leaving) = self.0 else { return };
        match timeout(PATIENCE, leaving.finish()).await.ok().flatten() {
            Some(Left::Nothing) => {}
            Some(Left::Captured) => tracing::info!("the pod is shut until its proxy is back"),
            Some(Left::Remains) | None => {
                tracing::error!(
                    "rules are left in the pod: it stays shut until it is captured anew, or ends"
                );
            }
        }
    }
}

/// How long rules may take to be taken away: two hundred times what they do take.
const PATIENCE: Duration = Duration::from_secs(5);
