//! What becomes of a connection. Pure: a decision looks at one snapshot of the mesh and at what is known of the
//! connection, and returns a value; whoever asked dials, and asks again with what it tried when that fails.

mod across;
mod admission;
mod departure;
mod inbound;
mod outbound;
mod outside;
mod peer;
mod plan;
mod reach;
mod refusal;
mod waypoint;

#[cfg(test)]
pub(crate) mod tests;

pub use across::{Crossing, CrossingError};
pub use admission::{Admission, class_by_address};
pub use departure::Departure;
pub use inbound::{
    InboundError, InboundTarget, Reach, TunnelledCall, inbound, inbound_plaintext, node_local,
};
pub use outbound::{Call, Settings, outbound};
pub use outside::{is_egress_name, may_query};
pub use peer::{Origin, PeerMismatch, Strangers, is_own_gateway, verify_peer};
pub use plan::{Gateway, Nested, Passed, Picked, Plan, Tunnel, Upstream, WaypointName};
pub use refusal::{Refusal, Refused};

use crate::redirect::{HBONE_PORT, INBOUND_PORT, OUTBOUND_PORT};

/// Whether the daemon itself listens on that port of a pod: a connection that asks for it would go in circles.
const fn is_ours(port: u16) -> bool {
    matches!(port, OUTBOUND_PORT | INBOUND_PORT | HBONE_PORT)
}
