//! Where the CA itself is asked.

use certs::{not_after, serial_number};
use daemon::admin::{Admin, BindError, Places, ready_made};
use daemon::tasks::Tasks;
use prometheus::IntCounterVec;
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::CaServer;
use super::config::{CaServerConfig, ListenConfig, OPTIONS};
use super::metrics::CaMetrics;
use super::source::Following;
use super::status::{CaStatus, ShownCertificate};

/// Adds what a CA shows.
pub(super) fn provide(
    admin: &Admin,
    config: &CaServerConfig,
    server: &CaServer,
    metrics: &CaMetrics,
    following: Following,
) {
    let (root, metrics) = (server.root().clone(), metrics.clone());
    admin.provide(
        "ca",
        ready_made(move || {
            let root = root.current();
            let authority = &root.authority;
            json!(CaStatus {
                chain: shown(authority.chain()),
                trusted_roots: shown(&root.trusted),
                chain_ends: authority.not_after().as_secs(),
                counts: metrics.counts(),
            })
        }),
    );
    admin.provide("source", ready_made(move || following.shown()));
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
    let places = Places {
        admin_socket: listen.admin_socket.as_deref(),
        admin: listen.admin,
        metrics: listen.metrics,
        readiness: listen.readiness,
    };
    places.serve(admin, panics, tasks).await.map_err(|(_option, error)| error)
}

fn shown(certificates: &[CertificateDer<'_>]) -> Vec<ShownCertificate> {
    let shown = |certificate| ShownCertificate {
        serial: serial_number(certificate).unwrap_or_default(),
        ends: not_after(certificate).unwrap_or_default(),
    };
    certificates.iter().map(shown).collect()
}
