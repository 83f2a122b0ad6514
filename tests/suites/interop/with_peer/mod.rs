//! With a live peer.

mod calls;
mod liars;
mod networks;
mod streams;
mod upgrade;
mod wire;
