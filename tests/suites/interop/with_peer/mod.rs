//! With a live peer.

mod calls;
mod liars;
mod streams;
mod upgrade;
mod wire;
