//! Which pods are enrolled, and whose capture works.

use mesh::{Capture, TunnelProtocol};

use super::{Scene, names};
use crate::objects::{Metadata, Pod};

/// Whether a pod wants to be in the mesh. A pod's own label counts more than its namespace's; pods in their node's
/// network, with a sidecar, or in an excluded namespace never are.
pub(super) fn is_enrolled(scene: &Scene<'_>, pod: &Pod) -> bool {
    let metadata = &pod.metadata;
    let excluded = scene.settings.excluded_namespaces.contains(&metadata.namespace);
    if excluded || pod.spec.template.host_network || metadata.annotation(names::SIDECAR_STATUS).is_some() {
        return false;
    }
    let namespace = || scene.namespaces.of(&metadata.namespace)?.label(names::DATAPLANE_MODE);
    match metadata.label(names::DATAPLANE_MODE) {
        Some("ambient") => true,
        Some("none") => false,
        Some(_) | None => namespace() == Some("ambient"),
    }
}

/// How connections reach a pod, and whether its traffic is captured.
pub(super) fn reach(scene: &Scene<'_>, pod: &Pod, uid: &str) -> (TunnelProtocol, Capture) {
    if speaks_natively(&pod.metadata) {
        return (TunnelProtocol::Hbone, Capture::Enabled);
    }
    let annotated = pod.metadata.annotation(names::REDIRECTION) == Some("enabled");
    if annotated && !pod.spec.template.host_network {
        return (TunnelProtocol::Hbone, Capture::Enabled);
    }
    match is_enrolled(scene, pod) {
        false => (TunnelProtocol::Tcp, Capture::Off),
        true if scene.reported.captures(&pod.spec.node_name, uid) => {
            (TunnelProtocol::Hbone, Capture::Enabled)
        }
        true => (TunnelProtocol::Hbone, Capture::Pending),
    }
}

/// Whether a pod asks to be captured by a proxy that runs inside of it, and not by its node's daemon.
pub(super) fn has_own_proxy(metadata: &Metadata) -> bool {
    metadata.annotation(names::PROXY) == Some(names::DEDICATED)
}

/// Whether a workload says that it speaks HBONE itself.
pub(super) fn speaks_natively(metadata: &Metadata) -> bool {
    metadata.setting(names::TUNNEL) == Some("http")
}
