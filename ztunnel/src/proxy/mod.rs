//! The byte path: from accepted sockets to relayed connections.
//!
//! Workers share nothing on it. Each is one thread with its own connections, tunnels and pool; an accepted connection
//! is given to one worker and ends there. What they do share is in [`Shared`], looked at once per connection.
//!
//! - [`workers`] starts them and talks to them; [`worker`] is one; [`accept`] takes connections off pods' listeners;
//! - [`outbound`]: what a pod opens, carried by [`tunnel_out`], [`nested`] to other networks, [`node_local`] or directly;
//! - [`inbound`]: peers' tunnels, [`tunnelled`]: a connection in one; [`plaintext`]: what comes in without a tunnel;
//! - [`own`]: the daemon itself, as a pod whose metrics peers ask for in tunnels;
//! - [`limits`]: how much one source or one pod may have, by [`shares`];
//! - [`revoked`]: tunnels, to be cut when a certificate is taken back;
//! - [`live`]: connections that live, to be asked again when policy changes, and to be listed;
//! - [`events`]: what enrolment tells.

mod accept;
mod baggage;
mod carried;
mod conclude;
mod counts;
mod dial;
mod events;
mod failure;
mod inbound;
mod limits;
mod linger;
mod live;
mod meter;
mod nested;
mod node_local;
mod observe;
mod outbound;
mod own;
mod own_limits;
mod plaintext;
mod pod;
mod recheck;
mod revoked;
mod shared;
mod shares;
mod tunnel_out;
mod tunnelled;
mod view;
mod worker;
mod workers;

pub use counts::ProxyMetrics;
pub use events::{Captured, PodEvent, ProxyEvents};
pub use limits::Bounds;
pub use own::{OwnEnd, OwnPod};
pub use pod::ServedPod;
pub use shared::{Settings, Shared};
pub use view::ConnectionView;
pub use workers::{StartError, Workers};
