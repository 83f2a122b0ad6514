//! A captured pod, as workers serve it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use mesh::{Snapshot, Workload};

use super::shared::Slot;
use crate::enrol::CapturedPod;

/// A captured pod of this node; all workers serve it.
#[derive(Debug)]
pub struct ServedPod {
    /// Its namespace, listeners and marks.
    pub captured: CapturedPod,
    /// Names it in the mesh.
    pub uid: mesh::PodUid,
    /// Connections that it has through the daemon.
    pub(super) connections: AtomicUsize,
    /// Ports of its spec that the kubelet probes.
    pub(super) probe_ports: ArcSwap<Vec<u16>>,
}

/// The count of a pod's connections, as a [`Slot`] wants it.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<ServedPod>);

impl ServedPod {
    pub(super) fn new(captured: CapturedPod, probe_ports: Vec<u16>) -> Self {
        Self {
            uid: (&captured.pod.uid).into(),
            captured,
            connections: AtomicUsize::new(0),
            probe_ports: ArcSwap::from_pointee(probe_ports),
        }
    }

    /// What the mesh knows of it.
    pub(super) fn workload<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Arc<Workload>> {
        snapshot.workload_by_pod_uid(&self.uid)
    }

    /// A place among its connections, unless all are taken.
    pub(super) fn connection(self: &Arc<Self>, limit: usize) -> Option<Slot<Connections>> {
        Slot::take(Connections(self.clone()), limit)
    }
}

impl AsRef<AtomicUsize> for Connections {
    fn as_ref(&self) -> &AtomicUsize {
        &self.0.connections
    }
}
