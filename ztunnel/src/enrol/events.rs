//! What enrolment tells the proxy, and what the mesh tells enrolment.

use std::sync::Arc;

use super::{LeaseSource, Pod, PodStatus, PodUid, UdpSeen};
use crate::redirect::{CaptureOptions, DnsOrigins, Marks, PodListeners, PodSockets};

/// The proxy's side of enrolment. Called on the enrolment thread, which does nothing else meanwhile: hand over and
/// return.
pub trait CaptureEvents: Send + 'static {
    /// The pod is captured: its listeners want to be served from here on.
    fn captured(&mut self, pod: CapturedPod);

    /// Nothing new is redirected. Connections go on, and listeners are served until the pod is gone: peers that have
    /// not heard of it yet still dial its tunnel port.
    fn draining(&mut self, uid: &PodUid);

    /// Every socket of the pod is to be closed: it drained, or it does not exist any more.
    fn gone(&mut self, uid: &PodUid);

    /// UDP of a pod that was counted since this was last told.
    fn udp(&mut self, _pod: &Pod, _seen: UdpSeen) {}

    /// How all pods fare, after anything changed. The first call says that pods of an earlier process are back.
    fn report(&mut self, pods: &[PodStatus]);
}

/// A pod whose capture works, with everything that is needed to serve it.
#[derive(Clone, Debug)]
pub struct CapturedPod {
    /// Who it is.
    pub pod: Arc<Pod>,
    /// Where its connections arrive. Shared with the registry, which hands them to the next process at an upgrade.
    pub listeners: Arc<PodListeners>,
    /// Makes sockets in its namespace.
    pub sockets: PodSockets,
    /// Where its DNS datagrams were going.
    pub dns_origins: Arc<DnsOrigins>,
    /// Its marks.
    pub marks: Marks,
    /// Each proxied connection takes a lease from here and keeps it as long as it lives.
    pub leases: LeaseSource,
}

/// A pod of this node as the mesh knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPod {
    /// Who it is.
    pub pod: Pod,
    /// Whether it should be captured.
    pub enrolled: bool,
    /// How it should be captured.
    pub options: CaptureOptions,
}
