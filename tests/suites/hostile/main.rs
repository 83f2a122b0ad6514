//! What pods and peers can do on purpose, and that it takes the service from nobody else.

mod frames;
mod metrics;
mod peer;
mod pretenders;
mod reach;
mod requests;
mod resources;
mod reuse;
mod scene;
mod shares;
mod strangers;
mod terminating;
mod trickle;
mod unlisted;
