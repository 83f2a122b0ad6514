//! What operators see of a mesh: metrics, records, spans, the admin server and its commands.

mod metrics;
mod scene;
