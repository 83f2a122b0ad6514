//! Where the CA itself is asked.

use certs::serial_number;
use daemon::admin::{Admin, BindError, Listener, Surface, ready_made, serve};
use daemon::tasks::Tasks;
use prometheus::IntCounterVec;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::CaServer;
use super::config::{CaServerConfig, ListenConfig, OPTIONS};
use super::metrics::CaMetrics;
use super::source::Problems;

/// Adds what a CA shows.
pub(super) fn provide(
    admin: &Admin,
    config: &CaServerConfig,
    server: &CaServer,
    metrics: &CaMetrics,
    problems: Problems,
) {
    let (root, metrics) = (server.root().clone(), metrics.clone());
    admin.provide(
        "ca",
        ready_made(move || {
            let root = root.current();
            let (requests, signatures, refusals) = metrics.totals();
            json!({
                "chain": serials(root.authority.chain()),
                "trusted_roots": serials(&root.trusted),
                "chain_ends": root.authority.not_after().as_secs(),
                "requests": requests,
                "signatures": signatures,
                "refusals": refusals,
            })
        }),
    );
    admin.provide("source", ready_made(move || json!({ "problems": problems.list() })));
    let document = OPTIONS.document(config);
    admin.provide("config", ready_made(move || json!(document)));
}

/// Listens as the configuration says.
pub(super) async fn listen(
    admin: &Admin,
    listen: &ListenConfig,
    panics: &IntCounterVec,
    tasks: &Tasks,
) -> Result<(), BindError> {
    let mut surfaces = Vec::new();
    if let Some(path) = &listen.admin_socket {
        surfaces.push((Surface::Admin, Listener::unix(path)?));
    }
    if let Some(address) = listen.admin {
        surfaces.push((Surface::AdminReadOnly, Listener::loopback(address).await?));
    }
    if let Some(address) = listen.metrics {
        surfaces.push((Surface::Metrics, Listener::any(address).await?));
    }
    if let Some(address) = listen.readiness {
        surfaces.push((Surface::Probes, Listener::any(address).await?));
    }
    for (surface, listener) in surfaces {
        tasks.spawn("admin", serve(admin.clone(), surface, listener, panics.clone()));
    }
    Ok(())
}

fn serials(certificates: &[CertificateDer<'_>]) -> Vec<Value> {
    certificates.iter().map(|certificate| json!(serial_number(certificate).ok())).collect()
}
