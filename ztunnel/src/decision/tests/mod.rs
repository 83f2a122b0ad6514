//! Decisions, by sentence.

mod admission;
mod departure;
mod inbound;
mod outbound;
mod peer;
mod reach;
pub(crate) mod samples;
mod waypoint;
