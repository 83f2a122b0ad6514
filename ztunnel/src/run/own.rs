//! The daemon's own pod: its metrics, in tunnels of the mesh.

use std::sync::Arc;
use std::time::Duration;

use cluster::LocalPod;
use cluster::kubernetes::NamespacedName;
use daemon::admin::{Admin, Listener, Surface, ready_made};
use daemon::drain::Drain;
use daemon::metrics::Metrics;
use daemon::tasks::Tasks;
use mesh::{PodUid, Snapshot, Snapshots, TunnelProtocol};
use prometheus::IntGauge;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::RunError;
use super::dns::LocalPods;
use crate::config::Config;
use crate::proxy::{OwnEnd, OwnPod, Shared, Workers};
use crate::redirect::SocketTuning;

/// Serves metrics as the pod that the configuration names, if it names one, whenever the mesh knows it.
pub(super) fn serve(
    config: &Config,
    admin: &Admin,
    (shared, workers): (&Arc<Shared>, &Arc<Workers>),
    local: LocalPods,
    tasks: &Tasks,
) -> Result<(), RunError> {
    let Some(name) = config.listen.metrics_pod.clone() else { return Ok(()) };
    let (end, connections) =
        OwnEnd::listen(config.listen.metrics_port(), tuning(config)).map_err(RunError::MetricsPod)?;
    let listener = Listener::Handed(connections);
    let panics = shared.counts.panics.clone();
    let server =
        tasks.spawn("admin", daemon::admin::serve(admin.clone(), Surface::Metrics, listener, panics));
    tasks.spawn("own pod's end", end_scrapes(shared.drain.clone(), server));
    let state = State::new(&name, admin, &shared.metrics)?;
    let pod = OwnPod::new(end, workers.clone());
    tasks.spawn("own pod", follow(name, pod, state, shared.snapshots.clone(), local));
    Ok(())
}

/// Whether a pod of this node has that name.
pub(super) fn is(pod: &LocalPod, name: &NamespacedName) -> bool {
    *pod.namespace == *name.namespace && *pod.name == *name.name
}

/// How sockets of the daemon are set.
pub(super) fn tuning(config: &Config) -> SocketTuning {
    SocketTuning {
        unacknowledged: config.timeouts.unacknowledged,
        tunnels: config.path.tunnel_congestion_control.or_system(),
        ..SocketTuning::default()
    }
}

/// Serves the pod of that name for ever, under whichever uid it has.
async fn follow(
    name: NamespacedName,
    mut pod: OwnPod,
    mut state: State,
    snapshots: Snapshots,
    mut local: LocalPods,
) {
    // At first no pod is known yet.
    while local.changed().await.is_ok() {
        let own = |pod: &&LocalPod| is(pod, &name) && !pod.enrolled;
        let uid = local.borrow_and_update().iter().find(own).map(|pod| pod.uid.clone());
        pod.serve(uid.as_ref());
        let is_known = |uid| is_known(&snapshots.load(), uid, pod.port());
        state.tell(match &uid {
            None => Some("listen.metricsPod names no pod of this node, or one that is captured"),
            Some(uid) if is_known(uid) => None,
            Some(_) => Some(
                "nobody asks for metrics in tunnels: the pod has no address, lacks the label \
                 networking.istio.io/tunnel: http, or no container declares the port of listen.metrics",
            ),
        });
    }
}

/// Whether peers know that they can ask the pod for its metrics in a tunnel.
fn is_known(snapshot: &Snapshot, uid: &PodUid, port: u16) -> bool {
    let workload = snapshot.workload_by_pod_uid(uid);
    workload.is_some_and(|it| it.profile.protocol == TunnelProtocol::Hbone && it.answers_at(port))
}

/// Ends connections of scrapes soon after the daemon is told to end: they are kept alive while nothing is asked, and what
/// nobody waits for must not hold up the end.
async fn end_scrapes(drain: Drain, server: JoinHandle<()>) {
    drain.draining().await;
    tokio::time::sleep(LAST_SCRAPE).await;
    server.abort();
}

/// How the daemon's own pod fares, as it is told: in the log, in status, and as a metric.
struct State {
    pod: String,
    problem: watch::Sender<Option<&'static str>>,
    served: IntGauge,
    is_told: bool,
}

impl State {
    fn new(name: &NamespacedName, admin: &Admin, metrics: &Metrics) -> Result<Self, RunError> {
        let served = metrics.gauge(
            "ambient_metrics_pod_served",
            "Whether these metrics can be asked for in tunnels, under the identity of the daemon's own pod.",
        )?;
        let (problem, told) = watch::channel(None);
        let pod = name.to_string();
        let state = Self { pod: pod.clone(), problem, served, is_told: false };
        admin.provide("metrics_pod", ready_made(move || json!({ "pod": pod, "problem": *told.borrow() })));
        Ok(state)
    }

    /// Tells what is wrong, if anything, where that is news.
    fn tell(&mut self, problem: Option<&'static str>) {
        if std::mem::replace(&mut self.is_told, true) && *self.problem.borrow() == problem {
            return;
        }
        match problem {
            None => tracing::info!(pod = self.pod, "metrics are served in tunnels"),
            Some(problem) => tracing::warn!(pod = self.pod, problem, "metrics are not served in tunnels"),
        }
        self.served.set(i64::from(problem.is_none()));
        self.problem.send_replace(problem);
    }
}

/// What a scrape takes at most that began before the end was announced.
const LAST_SCRAPE: Duration = Duration::from_secs(1);
