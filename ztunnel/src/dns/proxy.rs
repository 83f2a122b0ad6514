//! Serves the DNS sockets of captured pods.

use std::io;
use std::sync::Arc;

use mesh::{Network, Snapshots};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::pod::PodDns;
use super::{ClusterNames, DnsMetrics, NodeResolver, PodResolver, ResolvedNames, tcp, udp};
use crate::enrol::CapturedPod;
use crate::redirect::OwnSockets;

/// Answers captured pods' DNS queries. Clones share everything.
#[derive(Clone, Debug)]
pub struct DnsProxy(Arc<Shared>);

/// What the proxy knows besides the mesh.
#[derive(Clone, Debug)]
pub struct DnsSettings {
    /// The cluster's suffix and name servers.
    pub cluster: ClusterNames,
    /// Network of pods that the mesh doesn't know yet.
    pub network: Network,
    /// Where queries are sent from whose answers open a way.
    pub own: OwnSockets,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) snapshots: Snapshots,
    pub(super) settings: DnsSettings,
    pub(super) node: Arc<NodeResolver>,
    pub(super) metrics: DnsMetrics,
}

impl DnsProxy {
    /// A proxy of all pods of this node.
    pub fn new(
        snapshots: Snapshots,
        settings: DnsSettings,
        node: Arc<NodeResolver>,
        metrics: DnsMetrics,
    ) -> Self {
        Self(Arc::new(Shared { snapshots, settings, node, metrics }))
    }

    /// Serves one pod until the future is dropped; ends at once for a pod without DNS sockets. `resolver` says how the
    /// pod resolves names, and may be told later than the pod was captured. `names` gets to know what egress settings are
    /// about.
    ///
    /// # Errors
    /// When the pod's sockets cannot be used.
    ///
    /// # Cancel safety
    /// Dropping the future ends everything that it began.
    pub async fn serve(
        &self,
        pod: CapturedPod,
        resolver: watch::Receiver<PodResolver>,
        names: Arc<ResolvedNames>,
    ) -> io::Result<()> {
        let dns = Arc::new(PodDns::new(self.0.clone(), pod, resolver, names));
        let listeners = dns.captured().listeners.clone();
        let mut tasks = JoinSet::new();
        for socket in &listeners.dns.udp {
            let socket = Arc::new(UdpSocket::from_std(socket.try_clone()?.into())?);
            tasks.spawn(udp::serve(dns.clone(), socket));
        }
        for listener in &listeners.dns.tcp {
            let listener = TcpListener::from_std(listener.try_clone()?.into())?;
            tasks.spawn(tcp::serve(dns.clone(), listener));
        }
        while let Some(ended) = tasks.join_next().await {
            ended_well(ended);
        }
        Ok(())
    }
}

/// Passes a task's panic on to the task that owns it.
pub(super) fn ended_well<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(value) => Some(value),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_cancelled) => None,
    }
}
