//! What operators see of a mesh: metrics, records, spans, the admin server and its commands.

mod admin;
mod boards;
mod metrics;
mod names;
mod own;
mod records;
mod scene;
mod selectors;
