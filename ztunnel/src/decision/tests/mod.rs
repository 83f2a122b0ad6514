//! Decisions, by sentence.

mod inbound;
mod outbound;
mod peer;
mod reach;
mod samples;
mod waypoint;
