//! Conversations in plaintext HTTP/2 between our codec and a peer: had with a live one and recorded, and had again with
//! what was recorded.
//!
//! - [`scenario`]: what is said; [`end`]: our end, over a live connection ([`live`]) or a [`transcript`];
//! - [`frames`]: what we say, made comparable.

pub(crate) mod end;
pub(crate) mod frames;
pub(crate) mod live;
pub(crate) mod scenario;
pub(crate) mod transcript;
