//! The ports that the daemon listens on inside a pod's namespace: Istio's.

/// Outbound connections of the pod are redirected here.
pub const OUTBOUND_PORT: u16 = 15001;
/// Inbound plaintext connections are redirected here.
pub const INBOUND_PORT: u16 = 15006;
/// Peers' tunnels come in here, unredirected.
pub const HBONE_PORT: u16 = 15008;
/// The pod's DNS queries are redirected here, on loopback only.
pub const DNS_PORT: u16 = 15053;
