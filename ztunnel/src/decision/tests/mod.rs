//! Decisions, by sentence.

mod inbound;
mod outbound;
mod peer;
mod reach;
pub(crate) mod samples;
mod waypoint;
