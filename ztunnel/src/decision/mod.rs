//! What becomes of a connection. Pure: a decision looks at one snapshot of the mesh and at what is known of the
//! connection, and returns a value; whoever asked dials, and asks again with what it tried when that fails.

mod inbound;
mod outbound;
mod peer;
mod plan;
mod refusal;
mod waypoint;

#[cfg(test)]
mod tests;

pub use inbound::{InboundError, InboundTarget, TunnelledCall, inbound, inbound_plaintext, node_local};
pub use outbound::{Call, Settings, outbound};
pub use peer::{PeerMismatch, Strangers, verify_peer};
pub use plan::{Passed, Picked, Plan, Tunnel, Upstream};
pub use refusal::{Refusal, Refused};

use crate::redirect::{HBONE_PORT, INBOUND_PORT, OUTBOUND_PORT};

/// Whether the daemon itself listens on that port of a pod: a connection that asks for it would go in circles.
const fn is_ours(port: u16) -> bool {
    matches!(port, OUTBOUND_PORT | INBOUND_PORT | HBONE_PORT)
}
