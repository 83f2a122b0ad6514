//! A captured pod, as workers serve it.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mesh::{Snapshot, Workload};

use super::limits::Limit;
use super::shares::{Share, Shares};
use crate::dns::ResolvedNames;
use crate::enrol::CapturedPod;

/// A captured pod of this node; all workers serve it.
#[derive(Debug)]
pub struct ServedPod {
    /// Its namespace, listeners and marks.
    pub captured: CapturedPod,
    /// Names it in the mesh.
    pub uid: mesh::PodUid,
    /// The names that it has resolved of late.
    pub names: Arc<ResolvedNames>,
    /// Connections that it has through the daemon, by who opened them.
    connections: Arc<Shares<IpAddr>>,
    /// Ports of its spec that the kubelet probes.
    pub(super) probe_ports: ArcSwap<Vec<u16>>,
}

impl ServedPod {
    pub(super) fn new(captured: CapturedPod, probe_ports: Vec<u16>, connections: usize) -> Self {
        Self {
            uid: (&captured.pod.uid).into(),
            captured,
            names: Arc::default(),
            connections: Shares::new(connections, usize::MAX),
            probe_ports: ArcSwap::from_pointee(probe_ports),
        }
    }

    /// What the mesh knows of it.
    pub(super) fn workload<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Arc<Workload>> {
        snapshot.workload_by_pod_uid(&self.uid)
    }

    /// A place among its connections for one that `source` opens.
    pub(super) fn connection(&self, source: &IpAddr) -> Result<Share<IpAddr>, Limit> {
        Ok(self.connections.take(source)?)
    }
}
