//! `ztunnel proxy`: everything that makes up a node's daemon, put together.
//!
//! The byte path has its own threads ([`proxy`](crate::proxy)), and so has enrolment. All else runs on the calling
//! thread: [`follow`] the mesh, certificates, [`admin`], DNS.

mod admin;
mod certificates;
mod desired;
mod dns;
mod error;
mod follow;
mod home;
mod metrics;
mod notes;
mod own;
mod rotate;
mod status;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use daemon::drain::{self, DrainEnd, Drainer};
use daemon::logs::{self, AccessLog, Output};
use daemon::metrics::Metrics;
use daemon::ready::Readiness;
use daemon::tasks::{OnPanic, Tasks};
use mesh::{Affinities, Network, Store};
use tokio::sync::mpsc;

use crate::config::{Config, ProxyArgs};
use crate::dns::{ClusterNames, DnsMetrics, DnsProxy, DnsSettings, NodeResolver, Resolver};
use crate::enrol::EnrolConfig;
use crate::proxy::{Bounds, Captured, ProxyEvents, ProxyMetrics, Settings, Shared, Workers};
use crate::redirect::OwnSockets;
use crate::telemetry::{Denials, Records};
pub use error::RunError;
use follow::Follow;
use home::Home;

/// Runs the daemon of a node until it is told to end.
///
/// # Errors
/// When it cannot start; [`RunError`] names what is in the way.
pub fn proxy(args: &ProxyArgs) -> Result<(), RunError> {
    let config = args.config.load()?;
    if args.check {
        return Ok(());
    }
    let output = Output::stdout(config.log.format).map_err(RunError::Log)?;
    let level = logs::install(output.clone(), config.log.format, &config.log.level)?;
    let open_files = daemon::limits::raise_open_files().unwrap_or_else(|error| {
        tracing::warn!(%error, "the number of open files cannot be raised");
        USUAL_OPEN_FILES
    });
    let runtime = daemon::runtime::control().map_err(RunError::Runtime)?;
    let end = runtime.block_on(run(config, open_files, &output, level))?;
    tracing::info!(?end, "ended");
    output.flush(LAST_LINES);
    Ok(())
}

async fn run(
    config: Config,
    open_files: u64,
    output: &Output,
    level: logs::Level,
) -> Result<DrainEnd, RunError> {
    let metrics = Metrics::new("ztunnel", env!("CARGO_PKG_VERSION"), config.limits.metric_series)?;
    metrics.register(output.lost())?;
    let counts = ProxyMetrics::new(&metrics)?;
    let (drainer, drain, finished) = drain::channel();
    let tasks = Tasks::new(OnPanic::Abort, counts.panics.clone());
    let readiness = Readiness::default();
    let shutdown = daemon::signals::Shutdown::listen().map_err(RunError::Signals)?;

    let home = Home::of(&config)?;
    let own = home.sockets();
    let (identities, upkeep) = certificates::identities(&config, &own)?;
    tasks.spawn("certificates", upkeep.run());
    let store = Store::new();
    #[cfg(feature = "otlp")]
    let spans = spans(&config, &metrics, &tasks, own.clone())?;
    let resolv_conf = Arc::new(NodeResolver::new(config.dns.resolv_conf.clone()));
    let shared = Arc::new(Shared {
        snapshots: store.snapshots(),
        identities: identities.clone(),
        resolver: Resolver::new(resolv_conf.clone(), config.dns.cluster_resolvers.clone(), &metrics)?
            .through(own.clone()),
        settings: settings(&config),
        affinities: Mutex::new(Affinities::new(AFFINITIES)),
        drain: drain.clone(),
        metrics: metrics.clone(),
        records: Records {
            access: AccessLog::new(output.clone()),
            default: config.log.access,
            snapshots: store.snapshots(),
            skipped: metrics.counter(
                "ambient_access_records_skipped_total",
                "Connections that left no record, as their namespace or the configuration says.",
            )?,
            denials: Denials::default(),
            #[cfg(feature = "otlp")]
            spans,
        },
        bounds: Bounds::new(&config.limits, open_files),
        counts,
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = config.workers.count(cores);
    let workers = Arc::new(Workers::start(count, &shared)?);
    metrics::certificates(&metrics, identities.clone())?;
    metrics::runtimes(&metrics, &workers)?;
    let pod_metrics = metrics::PodMetrics::register(&metrics)?;
    tasks.spawn("rotation", rotate::follow(identities.changes(), workers.clone()));

    let follow = Follow::open(&config, store, identities.clone(), workers.clone(), &readiness)?;
    let captured = Captured::default();
    let (others, pod_events) = mpsc::unbounded_channel();
    let (events, told) = ProxyEvents::new(captured.clone(), workers.clone(), &shared, others);
    let enrolment = home.enrol(&config, events)?;
    let departure = home.departure(&enrolment, follow.local_pods(), &drain, &tasks);
    home.tidy(&config, shared.snapshots.clone(), &tasks);
    home.report(&config, told.clone(), &readiness, &tasks);
    tasks.spawn("pod metrics", pod_metrics.follow(told.clone(), follow.local_pods()));
    let dns_tasks = Tasks::new(OnPanic::Abort, shared.counts.panics.clone());
    let dns = DnsProxy::new(
        shared.snapshots.clone(),
        dns_settings(&config, own),
        resolv_conf,
        DnsMetrics::register(&metrics)?,
    );
    tasks.spawn("dns", dns::serve(dns, dns_tasks, pod_events, follow.local_pods()));
    let notes = follow.notes();
    notes.register(&metrics)?;
    let local = follow.local_pods();
    tasks.spawn("mesh", follow.run(enrolment, captured));

    let admin = admin::content(&config, &readiness, &metrics, level, &drainer);
    admin::provide(&admin, &config, &shared, &workers, &identities, notes, told);
    admin::listen(&admin, &config.listen, &shared.counts.panics, &tasks).await?;
    own::serve(&config, &admin, (&shared, &workers), local, &tasks)?;
    let pod = config.pod.as_ref().map(ToString::to_string);
    tracing::info!(node = config.node, pod, workers = count, "running");

    tasks.spawn("signals", shutdown.drive(drainer.clone(), config.timeouts.drain));
    let end = end(finished, &drain, &drainer, &readiness).await;
    departure.finish().await;
    Ok(end)
}

/// What holds for every connection.
const fn settings(config: &Config) -> Settings {
    Settings {
        node_local: config.path.node_local,
        on_node: config.pod.is_none(),
        original_source: config.path.original_source,
        linger: config.path.linger,
        strangers: config.path.strangers,
        timeouts: config.timeouts,
        limits: config.limits,
    }
}

/// Where spans of connections go, and the task that sends them on.
#[cfg(feature = "otlp")]
fn spans(
    config: &Config,
    metrics: &Metrics,
    tasks: &Tasks,
    own: OwnSockets,
) -> Result<Option<crate::telemetry::otlp::Spans>, RunError> {
    use crate::telemetry::otlp::Exporter;
    let Some((exporter, spans)) =
        Exporter::new(&config.otlp, &config.node, &config.mesh.cluster_id, metrics, own)?
    else {
        return Ok(None);
    };
    tasks.spawn("spans", exporter.run());
    Ok(Some(spans))
}

/// Waits for the end to be asked for, and sees it through. A daemon that ends is not ready.
async fn end(
    finished: drain::Finished,
    drain: &drain::Drain,
    drainer: &Drainer,
    readiness: &Readiness,
) -> DrainEnd {
    let ending = async {
        drain.draining().await;
        let _never_done = readiness.task("drain");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        end = finished.see_through(drain, drainer, AFTER_CUT) => end,
        () = ending => DrainEnd::Abandoned,
    }
}

fn dns_settings(config: &Config, own: OwnSockets) -> DnsSettings {
    DnsSettings {
        cluster: ClusterNames {
            domain: config.mesh.cluster_domain.clone(),
            servers: config.dns.cluster_resolvers.clone(),
        },
        network: Network::new(&config.mesh.network),
        own,
    }
}

fn enrolment(config: &Config) -> EnrolConfig {
    EnrolConfig {
        socket: config.state.enrol_socket.clone(),
        state: config.state.folder.join("pods"),
        netns: config.state.netns.clone(),
        tuning: own::tuning(config),
    }
}

/// What a process may have open where nobody says anything else.
const USUAL_OPEN_FILES: u64 = 1024;

/// How long the last lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What is cut has this long to clean up.
const AFTER_CUT: Duration = Duration::from_secs(2);

/// Clients of services with session affinity that are remembered: some 200 bytes each.
const AFFINITIES: usize = 65_536;
