//! Why the daemon cannot start.

use std::io;
use std::path::PathBuf;

use crate::{enrol, proxy};

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address for the admin server, metrics or readiness.
    #[error("cannot listen as listen.{option} says")]
    Bind {
        /// The option.
        option: &'static str,
        /// What is in the way.
        #[source]
        source: daemon::admin::BindError,
    },
    /// The CA's address.
    #[error("ca.address is not one")]
    CaAddress(#[source] certs::ParseCaAddressError),
    /// The CA's name.
    #[error("ca.serverName {name:?} is not the name of a server")]
    CaName {
        /// The name.
        name: String,
    },
    /// The folder of keys.
    #[error("ca.cache cannot be used")]
    Cache(#[from] certs::CacheError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] daemon::config::ConfigErrors),
    /// Enrolment.
    #[error(transparent)]
    Enrol(#[from] enrol::StartError),
    /// Trust domains.
    #[error(transparent)]
    Federation(#[from] certs::FederatedWithItself),
    /// The log's level.
    #[error(transparent)]
    Level(#[from] daemon::logs::LevelError),
    /// The log's output.
    #[error("nothing can be logged")]
    Log(#[source] io::Error),
    /// The manifests.
    #[error("source.manifests cannot be followed")]
    Manifests(#[from] cluster::OpenError),
    /// Marks of the pod's own packets.
    #[error("the system has no random numbers to mark packets by")]
    Marks(#[source] io::Error),
    /// The port of tunnels to the daemon's own pod.
    #[error("listen.metricsPod needs port 15008 of the node")]
    MetricsPod(#[source] io::Error),
    /// A metric of ours.
    #[error(transparent)]
    Metrics(#[from] daemon::metrics::RegisterError),
    /// The node's key.
    #[error("ca.nodeKey {} is not a node's key", path.display())]
    NodeKey {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        source: certs::NodeKeyError,
    },
    /// The file of the node's key.
    #[error("ca.nodeKey {} cannot be read", path.display())]
    NodeKeyFile {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The way to the collector of spans.
    #[cfg(feature = "otlp")]
    #[error("spans cannot be sent")]
    Otlp(#[from] crate::telemetry::otlp::StartError),
    /// The control runtime.
    #[error("the system grants no event queue")]
    Runtime(#[source] io::Error),
    /// Signal handlers.
    #[error("signals cannot be handled")]
    Signals(#[source] io::Error),
    /// The workers.
    #[error(transparent)]
    Workers(#[from] proxy::StartError),
}
