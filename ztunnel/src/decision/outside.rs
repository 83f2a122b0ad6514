//! Connections to addresses that nobody in the mesh has.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh::{EgressMode, NamespaceSettings, Snapshot};

use super::{Passed, Refusal};

/// Whether a pod of `namespace` may connect to an address that nobody has. `names` are those that the pod has resolved
/// to it of late.
pub(super) fn outside(
    snapshot: &Snapshot,
    namespace: &Arc<str>,
    destination: SocketAddr,
    names: impl FnOnce(IpAddr) -> Vec<Arc<str>>,
) -> Result<Passed, Refusal> {
    let ip = destination.ip();
    if snapshot.node_by_address(ip).is_some() {
        return Ok(Passed::Node);
    }
    let Some(settings) = snapshot.namespace(namespace) else { return Ok(Passed::Unknown) };
    if settings.egress == EgressMode::Allow {
        return Ok(Passed::Unknown);
    }
    if settings.egress_allow.has_address(destination) {
        return Ok(Passed::ListedAddress);
    }
    if let Some(name) = names(ip).into_iter().find(|name| is_listed(snapshot, settings, name, destination)) {
        return Ok(Passed::ListedName(name));
    }
    match settings.egress {
        EgressMode::Deny => Err(Refusal::UnknownDestination { namespace: namespace.clone() }),
        EgressMode::Allow | EgressMode::Log => Ok(Passed::UnknownReported),
    }
}

/// Whether it matters for pods of `namespace` which addresses a name has.
pub fn is_egress_name(snapshot: &Snapshot, namespace: &str, name: &str) -> bool {
    snapshot.namespace(namespace).is_some_and(|settings| {
        settings.egress != EgressMode::Allow
            && (settings.egress_allow.has_name(name, None)
                || snapshot.service_by_hostname(name, namespace).is_some())
    })
}

/// Whether a pod of `namespace` may have queries sent to a name server: where unknown destinations are denied, only to
/// one that the mesh knows, or that is listed.
pub fn may_query(snapshot: &Snapshot, namespace: &str, server: SocketAddr, is_known: bool) -> bool {
    snapshot.namespace(namespace).is_none_or(|settings| {
        settings.egress != EgressMode::Deny || is_known || settings.egress_allow.has_address(server)
    })
}

/// On the namespace's own list, or a host that a ServiceEntry describes.
fn is_listed(snapshot: &Snapshot, settings: &NamespaceSettings, name: &str, to: SocketAddr) -> bool {
    let described = || snapshot.service_by_hostname(name, &settings.name);
    settings.egress_allow.has_name(name, Some(to.port()))
        || described().is_some_and(|service| service.has_port(to.port()))
}
