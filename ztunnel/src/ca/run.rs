//! The process.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use certs::{Clock, SystemClock};
use cluster::kubernetes::{ConnectError, Kubernetes};
use daemon::admin::{Admin, BindError, Parts};
use daemon::config::ConfigErrors;
use daemon::drain::{self, DrainEnd};
use daemon::logs::{self, Level, LevelError, Output};
use daemon::metrics::{Metrics, RegisterError};
use daemon::ready::Readiness;
use daemon::signals::Shutdown;
use daemon::tasks::{OnPanic, Tasks};

use super::admin;
use super::args::{CaArgs, CaVerb};
use super::config::CaServerConfig;
use super::metrics::CaMetrics;
use super::node_key::NodeKeyCliError;
use super::node_token::NodeTokenCliError;
use super::root::{NewRoot, RootError, RootSource, publish};
use super::rotate::RotateError;
use super::server::{CaParts, CaServer, StartError};
use super::source;
use super::status::StatusError;

/// Why the CA cannot run.
#[derive(Debug, thiserror::Error)]
pub enum CaRunError {
    /// An address for the admin server, metrics or readiness.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The cluster's API server.
    #[error("trust.kubernetes cannot be used")]
    Kubernetes(#[from] ConnectError),
    /// The log's level.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// The log's output.
    #[error("nothing can be logged")]
    Log(#[source] io::Error),
    /// The manifests.
    #[error("trust.manifests cannot be followed")]
    Manifests(#[from] cluster::OpenError),
    /// A metric of ours.
    #[error(transparent)]
    Metrics(#[from] RegisterError),
    /// The node's key.
    #[error(transparent)]
    NodeKey(#[from] NodeKeyCliError),
    /// The node's token.
    #[error(transparent)]
    NodeToken(#[from] NodeTokenCliError),
    /// The root.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A root that is to follow another.
    #[error(transparent)]
    Rotate(#[from] RotateError),
    /// The runtime.
    #[error("the system grants no event queue")]
    Runtime(#[source] io::Error),
    /// Signal handlers.
    #[error("signals cannot be handled")]
    Signals(#[source] io::Error),
    /// The server.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The status of a CA that runs.
    #[error(transparent)]
    Status(#[from] StatusError),
}

/// Does what the command line says: runs the CA until it is told to end, registers a node, makes a token of one, or has
/// a root follow another.
///
/// # Errors
/// When it cannot; [`CaRunError`] names what is in the way.
pub fn run(args: &CaArgs) -> Result<(), CaRunError> {
    match &args.verb {
        Some(CaVerb::NodeKey(args)) => return Ok(args.run(&mut io::stdout())?),
        Some(CaVerb::NodeToken(args)) => return Ok(args.run(&mut io::stdout())?),
        Some(CaVerb::Rotate(args)) => return Ok(args.run(&mut io::stdout())?),
        Some(CaVerb::Status(args)) => return Ok(args.run(&mut io::stdout())?),
        None => {}
    }
    let config = args.load()?;
    if args.check {
        return Ok(());
    }
    let output = Output::stdout(config.log.format).map_err(CaRunError::Log)?;
    let level = logs::install(output.clone(), config.log.format, &config.log.level)?;
    let runtime = daemon::runtime::control().map_err(CaRunError::Runtime)?;
    let end = runtime.block_on(serve(config, &output, level))?;
    tracing::info!(?end, "ended");
    output.flush(LAST_LINES);
    Ok(())
}

async fn serve(config: CaServerConfig, output: &Output, level: Level) -> Result<DrainEnd, CaRunError> {
    let metrics = Metrics::new("ca", env!("CARGO_PKG_VERSION"), NO_CONNECTIONS)?;
    metrics.register(output.lost())?;
    let panics =
        metrics.counter_vec("ambient_task_panics_total", "Panics of tasks, by their names.", &["task"])?;
    let tasks = Arc::new(Tasks::new(OnPanic::Abort, panics.clone()));
    let (drainer, drain, finished) = drain::channel();
    let readiness = Readiness::default();
    let shutdown = Shutdown::listen().map_err(CaRunError::Signals)?;

    let clock = Arc::new(SystemClock);
    let kubernetes = match &config.trust.kubernetes {
        Some(access) => Some(Kubernetes::connect(access).await?),
        None => None,
    };
    let new = NewRoot { name: config.trust.domain.to_string(), lifetime: config.root.lifetime };
    let source = root_source(&config, kubernetes.as_ref());
    let root = source.ensure(&new, clock.now()).await?;
    let (gate, following) = source::gate(&config, kubernetes.as_ref(), &readiness, &tasks)?;
    let counted = CaMetrics::register(&metrics)?;
    let parts = CaParts { root, source, gate, clock, metrics: counted.clone(), tasks: tasks.clone() };
    let server = CaServer::start(&config, parts).await?;

    if let Some((name, kubernetes)) = config.root.config_map.clone().zip(kubernetes) {
        tasks.spawn("roots' ConfigMap", publish::to_config_map(server.root().clone(), kubernetes, name));
    }

    let grace = config.drain;
    let content =
        Parts { readiness: readiness.clone(), metrics, level: Some(level), drainer: drainer.clone(), grace };
    let admin = Admin::new(content);
    admin::provide(&admin, &config, &server, &counted, following);
    admin::listen(&admin, &config.listen, &panics, &tasks).await?;
    tracing::info!(address = %server.address(), trust_domain = %config.trust.domain, "running");
    tasks.spawn("signals", shutdown.drive(drainer.clone(), grace));

    tasks.spawn("listener", server.serve(drain.clone()));
    Ok(finished.see_through(&drain, &drainer, AFTER_CUT).await)
}

fn root_source(config: &CaServerConfig, kubernetes: Option<&Kubernetes>) -> RootSource {
    match (&config.root.secret, kubernetes) {
        (Some(name), Some(kubernetes)) => {
            RootSource::Secret { kubernetes: kubernetes.clone(), name: name.clone() }
        }
        _ => RootSource::Folder(config.root.folder.clone()),
    }
}

/// A CA has no connections of workloads to count.
const NO_CONNECTIONS: usize = 1;

/// How long the last lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What is cut has this long to clean up.
const AFTER_CUT: Duration = Duration::from_secs(2);
