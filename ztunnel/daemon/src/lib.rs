//! What any daemon of ours has: logs, metrics, an admin server, readiness, drain, owned tasks and configuration.
//!
//! Nothing here knows of meshes or proxies. The byte path touches two things only, both without a lock or an atomic
//! of its own: [`metrics::ConnectionCounters`], and once at a connection's end [`logs::AccessLog`].
//!
//! ```
//! let readiness = daemon::ready::Readiness::default();
//! let listeners = readiness.task("listeners");
//! assert_eq!(readiness.outstanding(), ["listeners"]);
//! listeners.done();
//! assert!(readiness.is_ready());
//! ```

pub mod admin;
pub mod config;
pub mod drain;
pub mod limits;
pub mod logs;
pub mod metrics;
pub mod ready;
pub mod runtime;
pub mod signals;
pub mod tasks;
