//! Which pods are captured: told over a Unix socket and by the mesh, remembered in a folder, kept true by repair.
//!
//! A pod's way: listeners are bound, the pod is written to the state folder, routes and rules go in, all is verified,
//! the proxy is told ([`CaptureEvents::captured`]) and the caller gets his answer. When it is to be released, a ruleset
//! that redirects nothing new is swapped in (`draining`); as soon as no connection holds a [`Lease`] any more, rules,
//! routes and record go, and the proxy closes the pod's sockets (`gone`).
//!
//! One thread does all the work that enters namespaces or starts nft, so that no worker ever waits for it:
//! [`start`] it with the proxy's [`CaptureEvents`], steer it by the [`EnrolHandle`].

mod cli;
pub mod client;
mod enrolled;
mod error;
mod events;
mod fdpass;
mod interfaces;
mod lease;
mod pod;
mod protocol;
mod reconcile;
mod registry;
mod seqpacket;
mod server;
mod state;
mod thread;
mod udp;
mod upkeep;

pub use cli::{EnrolArgs, EnrolCliError};
pub use error::EnrolError;
pub use events::{CaptureEvents, CapturedPod, DesiredPod};
pub use lease::{Lease, LeaseSource, Left};
pub use pod::{InvalidPodUid, Pod, PodUid};
pub use protocol::{AddPod, Answer, PodPhase, PodStatus, Refusal, RefusalReason, Request};
pub use seqpacket::{PacketError, read_packet};
pub use state::StateError;
pub use thread::{EnrolConfig, EnrolHandle, Leaving, StartError, start, start_inside};
pub use udp::UdpSeen;
