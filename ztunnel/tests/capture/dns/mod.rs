//! The DNS proxy as a pod's own resolver meets it.

mod queries;
mod resolving;
mod scene;
mod server;
