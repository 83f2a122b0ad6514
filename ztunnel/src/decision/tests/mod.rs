//! Decisions, by sentence.

mod across;
mod admission;
mod departure;
mod host;
mod inbound;
mod outbound;
mod peer;
mod reach;
pub(crate) mod samples;
mod waypoint;
