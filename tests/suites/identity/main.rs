//! Certificates come, are renewed, revoked and replaced, and no connection notices that should not.
//!
//! Time is compressed: certificates last seconds instead of a day.

mod audit;
mod clocks;
mod federation;
mod keys;
mod load;
mod outage;
mod partner;
mod revocation;
mod root;
mod rotation;
mod scene;
mod trust;
