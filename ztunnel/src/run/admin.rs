//! Where the daemon itself is asked.

use std::sync::Arc;

use certs::Identities;
use daemon::admin::{Admin, Parts, Places, ready_made};
use daemon::drain::Drainer;
use daemon::logs::Level;
use daemon::metrics::Metrics;
use daemon::ready::Readiness;
use daemon::tasks::Tasks;
use prometheus::IntCounterVec;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::notes::Notes;
use super::{RunError, certificates};
use crate::config::{Config, ListenConfig, OPTIONS};
use crate::enrol::PodStatus;
use crate::proxy::{Shared, Workers};

/// What every daemon of ours shows.
pub(super) fn content(
    config: &Config,
    readiness: &Readiness,
    metrics: &Metrics,
    level: Level,
    drainer: &Drainer,
) -> Admin {
    Admin::new(Parts {
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        level: Some(level),
        drainer: drainer.clone(),
        grace: config.timeouts.drain,
    })
}

/// Adds what a node's daemon shows.
pub(super) fn provide(
    admin: &Admin,
    config: &Config,
    shared: &Arc<Shared>,
    workers: &Arc<Workers>,
    identities: &Identities,
    notes: Notes,
    pods: watch::Receiver<Option<Vec<PodStatus>>>,
) {
    let snapshots = &shared.snapshots;
    let of = snapshots.clone();
    admin.provide("workloads", ready_made(move || list(of.load().workloads().map(|it| &**it))));
    let of = snapshots.clone();
    admin.provide("services", ready_made(move || list(of.load().services().map(|it| &**it))));
    let of = snapshots.clone();
    admin.provide("gateways", ready_made(move || list(of.load().gateways().map(|it| &**it))));
    let of = snapshots.clone();
    admin.provide("policies", ready_made(move || list(of.load().policies().iter().map(|it| &**it))));
    let of = identities.clone();
    admin.provide("certificates", ready_made(move || list(of.statuses().iter())));
    let of = identities.clone();
    admin.provide("trust", ready_made(move || certificates::trust(&of)));
    admin.provide("source", ready_made(move || notes.value()));
    let of = shared.records.denials.clone();
    admin.provide("denials", ready_made(move || list(of.list().iter())));
    admin.provide("pods", ready_made(move || list(pods.borrow().iter().flatten())));
    let document = OPTIONS.document(config);
    admin.provide("config", ready_made(move || json!(document)));
    let of = workers.clone();
    admin.page(
        "connections",
        Box::new(move || {
            let workers = of.clone();
            Box::pin(async move { list(workers.connections().await.iter()) })
        }),
    );
}

/// Listens as the configuration says.
pub(super) async fn listen(
    admin: &Admin,
    listen: &ListenConfig,
    panics: &IntCounterVec,
    tasks: &Tasks,
) -> Result<(), RunError> {
    let places = Places {
        admin_socket: listen.admin_socket.as_deref(),
        admin: listen.admin,
        metrics: listen.metrics,
        readiness: listen.readiness,
    };
    let served = places.serve(admin, panics, tasks).await;
    served.map_err(|(option, source)| RunError::Bind { option, source })
}

fn list<T: serde::Serialize>(items: impl Iterator<Item = T>) -> Value {
    let values = items.map(|item| serde_json::to_value(item).unwrap_or(Value::Null));
    Value::Array(values.collect())
}
