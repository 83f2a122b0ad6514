//! What enrolment tells.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use super::counts::ProxyMetrics;
use super::pod::ServedPod;
use super::shared::Shared;
use super::workers::Workers;
use crate::enrol::{CaptureEvents, CapturedPod, Pod, PodStatus, PodUid, UdpSeen};

/// The captured pods of this node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    pods: Arc<Mutex<HashMap<mesh::PodUid, Arc<ServedPod>>>>,
    probes: Arc<Mutex<HashMap<mesh::PodUid, Vec<u16>>>>,
}

/// What became of a pod, for those who serve pods beside the workers.
#[derive(Clone, Debug)]
pub enum PodEvent {
    /// It is captured.
    Captured(Arc<ServedPod>),
    /// Everything of it is to be closed.
    Gone(mesh::PodUid),
}

/// Hands captured pods to the workers, and tells the rest of the daemon how pods fare.
#[derive(Debug)]
pub struct ProxyEvents {
    captured: Captured,
    workers: Arc<Workers>,
    /// Connections that one pod may have.
    connections_per_pod: usize,
    /// Whoever else serves pods.
    others: mpsc::UnboundedSender<PodEvent>,
    counts: ProxyMetrics,
    /// How all pods fare; none until enrolment has first told.
    status: watch::Sender<Option<Vec<PodStatus>>>,
}

impl Captured {
    /// Says which ports of each pod the kubelet probes.
    pub fn set_probe_ports(&self, ports: HashMap<mesh::PodUid, Vec<u16>>) {
        for (uid, pod) in &*lock(&self.pods) {
            let of_pod = ports.get(uid).cloned().unwrap_or_default();
            if **pod.probe_ports.load() != of_pod {
                pod.probe_ports.store(Arc::new(of_pod));
            }
        }
        *lock(&self.probes) = ports;
    }
}

impl ProxyEvents {
    /// Events for `workers` and `others`; how pods fare can be followed at the receiver.
    pub fn new(
        captured: Captured,
        workers: Arc<Workers>,
        shared: &Shared,
        others: mpsc::UnboundedSender<PodEvent>,
    ) -> (Self, watch::Receiver<Option<Vec<PodStatus>>>) {
        let (status, told) = watch::channel(None);
        let connections_per_pod = shared.settings.limits.connections_per_pod;
        let counts = shared.counts.clone();
        (Self { captured, workers, connections_per_pod, others, counts, status }, told)
    }

    fn tell(&self, event: PodEvent) {
        // Nobody else may be there.
        let _nobody = self.others.send(event);
    }
}

impl CaptureEvents for ProxyEvents {
    fn captured(&mut self, pod: CapturedPod) {
        let uid = mesh::PodUid::from(&pod.pod.uid);
        let ports = lock(&self.captured.probes).get(&uid).cloned().unwrap_or_default();
        let pod = Arc::new(ServedPod::new(pod, ports, self.connections_per_pod));
        lock(&self.captured.pods).insert(uid, pod.clone());
        self.workers.serve(&pod);
        self.tell(PodEvent::Captured(pod));
    }

    fn draining(&mut self, uid: &PodUid) {
        self.workers.draining(&uid.into());
    }

    fn gone(&mut self, uid: &PodUid) {
        let uid = mesh::PodUid::from(uid);
        lock(&self.captured.pods).remove(&uid);
        self.workers.gone(&uid);
        self.tell(PodEvent::Gone(uid));
    }

    fn udp(&mut self, pod: &Pod, seen: UdpSeen) {
        self.counts.udp(&pod.namespace, seen);
    }

    fn report(&mut self, pods: &[PodStatus]) {
        self.status.send_replace(Some(pods.to_vec()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Every change is one step: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
