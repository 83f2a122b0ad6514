//! The daemon's own pod: its metrics, in tunnels of the mesh.

use std::sync::Arc;

use cluster::LocalPod;
use cluster::kubernetes::NamespacedName;
use daemon::admin::{Admin, Listener, Surface};
use daemon::tasks::Tasks;
use mesh::{PodUid, Snapshot, Snapshots, TunnelProtocol};

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
    tasks.spawn("admin", daemon::admin::serve(admin.clone(), Surface::Metrics, listener, panics));
    let pod = OwnPod::new(end, workers.clone(), config.limits.connections_per_pod);
    tasks.spawn("own pod", follow(name, pod, shared.snapshots.clone(), local));
    Ok(())
}

/// Whether a pod of this node has that name.
pub(super) fn is(pod: &LocalPod, name: &NamespacedName) -> bool {
    *pod.namespace == *name.namespace && *pod.name == *name.name
}

/// How sockets of the daemon are set.
pub(super) fn tuning(config: &Config) -> SocketTuning {
    SocketTuning { tunnels: config.path.tunnel_congestion_control.or_system(), ..SocketTuning::default() }
}

/// Serves the pod of that name for ever, under whichever uid it has.
async fn follow(name: NamespacedName, mut pod: OwnPod, snapshots: Snapshots, mut local: LocalPods) {
    let mut told = None;
    // At first no pod is known yet.
    while local.changed().await.is_ok() {
        let own = |pod: &&LocalPod| is(pod, &name) && !pod.enrolled;
        let uid = local.borrow_and_update().iter().find(own).map(|pod| pod.uid.clone());
        pod.serve(uid.as_ref());
        let now = (uid.clone(), uid.is_some_and(|uid| is_known(&snapshots.load(), &uid, pod.port())));
        if told.as_ref() != Some(&now) {
            tell(&name, &now, pod.port());
            told = Some(now);
        }
    }
}

/// Whether peers know that they can ask the pod for its metrics in a tunnel.
fn is_known(snapshot: &Snapshot, uid: &PodUid, port: u16) -> bool {
    let workload = snapshot.workload_by_pod_uid(uid);
    workload.is_some_and(|it| it.profile.protocol == TunnelProtocol::Hbone && it.answers_at(port))
}

fn tell(name: &NamespacedName, (uid, is_known): &(Option<PodUid>, bool), port: u16) {
    match (uid, is_known) {
        (None, _) => tracing::warn!(
            pod = %name,
            "listen.metricsPod names no pod of this node, or one that is captured: metrics are not served in tunnels"
        ),
        (Some(_), true) => tracing::info!(pod = %name, port, "metrics are served in tunnels"),
        (Some(_), false) => tracing::warn!(
            pod = %name,
            port,
            "nobody asks for metrics in a tunnel: the pod has no address, lacks the label \
             networking.istio.io/tunnel: http, or no container declares the port"
        ),
    }
}
