//! Why an object that somebody may believe in force is not.

use crate::objects::ObjectRef;

/// Why objects of a kind mean nothing here.
pub fn why_ignored(object: &ObjectRef) -> &'static str {
    match &*object.kind {
        "DestinationRule" | "VirtualService" => "routes and their settings are those of the Gateway API",
        "EnvoyFilter" | "ProxyConfig" | "WasmPlugin" => "there is no Envoy",
        "RequestAuthentication" => "tokens are seen by waypoints only",
        "Sidecar" => "there are no sidecars",
        "Telemetry" => "telemetry is set in the daemon's configuration",
        _ if is_network_policy(object) => {
            "the cluster's network enforces it, and sees port 15008 instead of a tunnel's real port"
        }
        kind if kind.ends_with("Route") => "routes are followed by waypoints only",
        _ => "its kind means nothing here",
    }
}

/// Whether the cluster's network makes something of the object for pods of any namespace.
pub(super) fn is_network_policy(object: &ObjectRef) -> bool {
    matches!(&*object.kind, "AdminNetworkPolicy" | "BaselineAdminNetworkPolicy" | "ClusterNetworkPolicy")
}
