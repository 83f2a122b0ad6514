//! Names of kinds, labels and annotations.

pub(super) const AUTHORIZATION_POLICY: &str = "AuthorizationPolicy";
pub(super) const GATEWAY: &str = "Gateway";
pub(super) const NAMESPACE: &str = "Namespace";
pub(super) const NETWORK_POLICY: &str = "NetworkPolicy";
pub(super) const PEER_AUTHENTICATION: &str = "PeerAuthentication";
pub(super) const POD: &str = "Pod";
pub(super) const SERVICE: &str = "Service";
pub(super) const SERVICE_ENTRY: &str = "ServiceEntry";
pub(super) const WORKLOAD_ENTRY: &str = "WorkloadEntry";

/// Domain of the labels and annotations that are ours alone.
pub(super) const OURS: &str = "ambient.mesh/";

pub(super) const ALLOW_EXCLUSIONS: &str = "ambient.mesh/allow-exclusions";
pub(super) const ACCESS_LOG: &str = "ambient.mesh/access-log";
pub(super) const BYPASS_INBOUND: &str = "ambient.istio.io/bypass-inbound-capture";
pub(super) const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
pub(super) const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
pub(super) const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
pub(super) const DEDICATED: &str = "dedicated";
pub(super) const DNS_CAPTURE: &str = "ambient.istio.io/dns-capture";
pub(super) const DRY_RUN: &str = "istio.io/dry-run";
pub(super) const EGRESS: &str = "ambient.mesh/egress";
pub(super) const EGRESS_ALLOW: &str = "ambient.mesh/egress-allow";
pub(super) const ENABLE_AUTOALLOCATE: &str = "networking.istio.io/enable-autoallocate-ip";
pub(super) const EXPORT_TO: &str = "networking.istio.io/exportTo";
pub(super) const GATEWAY_MANAGED: &str = "gateway.istio.io/managed";
pub(super) const GATEWAY_SERVICE_ACCOUNT: &str = "gateway.istio.io/service-account";
pub(super) const GATEWAY_TRUST_DOMAIN: &str = "gateway.istio.io/trust-domain";
pub(super) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
pub(super) const METADATA_NAME: &str = "kubernetes.io/metadata.name";
pub(super) const NETWORK: &str = "topology.istio.io/network";
/// Who captures a pod: `dedicated` is a proxy that runs inside of it.
pub(super) const PROXY: &str = "ambient.mesh/proxy";
pub(super) const REDIRECTION: &str = "ambient.istio.io/redirection";
pub(super) const REGION: &str = "topology.kubernetes.io/region";
pub(super) const SIDECAR_STATUS: &str = "sidecar.istio.io/status";
pub(super) const SUBZONE: &str = "topology.istio.io/subzone";
pub(super) const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";
pub(super) const TUNNEL: &str = "networking.istio.io/tunnel";
pub(super) const UDP: &str = "ambient.mesh/udp";
pub(super) const USE_WAYPOINT: &str = "istio.io/use-waypoint";
pub(super) const USE_WAYPOINT_CANARY: &str = "istio.io/use-waypoint-canary";
pub(super) const USE_WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
pub(super) const VIRTUAL_INTERFACES: &str = "istio.io/reroute-virtual-interfaces";
pub(super) const WAYPOINT_FOR: &str = "istio.io/waypoint-for";
pub(super) const WORKLOAD_NAME: &str = "service.istio.io/workload-name";
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";
