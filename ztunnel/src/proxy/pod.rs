//! A pod of this node, as workers serve it.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use identity::SpiffeId;
use mesh::{Snapshot, Snapshots, Workload};
use smallvec::{SmallVec, smallvec};
use socket2::Socket as RawSocket;

use super::failure::Failure;
use super::limits::{Limit, most_of};
use super::own::OwnEnd;
use super::shares::{Share, Shares};
use super::worker::until_known;
use super::workers::ListenPort;
use crate::decision::Reach;
use crate::dns::ResolvedNames;
use crate::enrol::{CapturedPod, Lease};
use crate::redirect::{PodSockets, SocketTuning};

/// A pod of this node; all workers serve it.
#[derive(Debug)]
pub struct ServedPod {
    /// Names it in the mesh.
    pub uid: mesh::PodUid,
    /// The names that it has resolved of late.
    pub names: Arc<ResolvedNames>,
    pub(super) end: PodEnd,
    /// Connections that it has through the daemon, by who opened them.
    connections: Arc<Shares<IpAddr>>,
    /// Those that workloads on other networks opened, by who they are: gateways bring them all.
    beyond: Arc<Shares<SpiffeId>>,
    /// Ports of its spec that the kubelet probes.
    pub(super) probe_ports: ArcSwap<Vec<u16>>,
}

/// Where connections of a pod arrive, and go on to.
#[derive(Debug)]
pub(super) enum PodEnd {
    /// It is captured: its namespace, listeners and marks.
    Captured(Box<CapturedPod>),
    /// It is the daemon's own.
    Own(Arc<OwnEnd>),
}

/// What a connection in a tunnel has of its pod until it ends.
#[derive(Debug)]
pub(super) struct PodLease {
    /// Keeps capture in force; there is none of the daemon's own pod.
    _capture: Option<Lease>,
}

impl ServedPod {
    pub(super) fn new(captured: CapturedPod, probe_ports: Vec<u16>, connections: usize) -> Self {
        let uid = (&captured.pod.uid).into();
        Self {
            probe_ports: ArcSwap::from_pointee(probe_ports),
            ..Self::at(uid, PodEnd::Captured(Box::new(captured)), connections)
        }
    }

    /// The daemon's own pod.
    pub(super) fn own(uid: mesh::PodUid, end: Arc<OwnEnd>, connections: usize) -> Self {
        Self::at(uid, PodEnd::Own(end), connections)
    }

    fn at(uid: mesh::PodUid, end: PodEnd, connections: usize) -> Self {
        Self {
            uid,
            names: Arc::default(),
            end,
            connections: Shares::new(connections, usize::MAX),
            beyond: Shares::new(most_of(connections), usize::MAX),
            probe_ports: ArcSwap::default(),
        }
    }

    /// How it is captured; none of the daemon's own pod.
    pub fn captured(&self) -> Option<&CapturedPod> {
        match &self.end {
            PodEnd::Captured(captured) => Some(captured),
            PodEnd::Own(_) => None,
        }
    }

    /// Makes sockets in its namespace.
    ///
    /// # Errors
    /// When there are none to be made: the daemon's own pod opens nothing.
    pub(super) fn sockets(&self) -> Result<&PodSockets, Failure> {
        Ok(&self.captured().ok_or(Failure::Released)?.sockets)
    }

    /// Where its connections arrive, and how their sockets are set.
    pub(super) fn listeners(&self) -> (SmallVec<[(ListenPort, &RawSocket); 3]>, &SocketTuning) {
        match &self.end {
            PodEnd::Captured(captured) => {
                let listeners = &captured.listeners;
                let ports = smallvec![
                    (ListenPort::Outbound, &listeners.outbound),
                    (ListenPort::Plaintext, &listeners.inbound),
                    (ListenPort::Hbone, &listeners.hbone),
                ];
                (ports, captured.sockets.tuning())
            }
            PodEnd::Own(own) => (smallvec![(ListenPort::Hbone, own.listener())], own.tuning()),
        }
    }

    /// What peers' tunnels to it lead to.
    pub(super) fn reach(&self) -> Reach {
        match &self.end {
            PodEnd::Captured(_) => Reach::Applications,
            PodEnd::Own(own) => Reach::Metrics { port: own.port() },
        }
    }

    /// What a connection in a tunnel needs to have of it; none once it has drained.
    pub(super) fn lease(&self) -> Option<PodLease> {
        match &self.end {
            PodEnd::Captured(captured) => Some(PodLease { _capture: Some(captured.leases.take()?) }),
            PodEnd::Own(_) => Some(PodLease { _capture: None }),
        }
    }

    /// What the mesh knows of it.
    pub(super) fn workload<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Arc<Workload>> {
        snapshot.workload_by_pod_uid(&self.uid)
    }

    /// The mesh as soon as it knows the pod, and what it knows: one that was captured a moment ago may not be known yet.
    /// None where that takes too long.
    pub(super) async fn known(&self, snapshots: &Snapshots) -> Option<(Arc<Snapshot>, Arc<Workload>)> {
        let ask = || {
            let snapshot = snapshots.load_full();
            let workload = self.workload(&snapshot).cloned()?;
            Some((snapshot, workload))
        };
        until_known(ask, Option::is_none).await
    }

    /// A place among its connections for one that `source` opens.
    pub(super) fn connection(&self, source: &IpAddr) -> Result<Share<IpAddr>, Limit> {
        Ok(self.connections.take(source)?)
    }

    /// A place among those of workloads on other networks.
    pub(super) fn connection_beyond(&self, identity: &SpiffeId) -> Result<Share<SpiffeId>, Limit> {
        Ok(self.beyond.take(identity)?)
    }
}
