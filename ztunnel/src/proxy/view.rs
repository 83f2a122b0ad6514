//! A live connection, as it is shown.

use std::net::SocketAddr;
use std::sync::Arc;

use daemon::logs::PolicyRef;

use crate::telemetry::{EndView, Report};

/// A live connection, as it is shown.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ConnectionView {
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    /// How its bytes travel.
    pub path: &'static str,
    /// Who opened it.
    pub source: EndView,
    /// Whom it reaches.
    pub destination: EndView,
    /// Where its tunnel goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<SocketAddr>,
    /// Host name of the service that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Arc<str>>,
    /// `namespace/name` of the policy that allowed it; none where no policy had to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Index of its rule that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// Seconds since it was opened.
    pub age_seconds: f64,
    /// Bytes from source to destination.
    pub bytes_sent: u64,
    /// Bytes from destination to source.
    pub bytes_received: u64,
}

impl From<&Report> for ConnectionView {
    fn from(report: &Report) -> Self {
        let opening = report.opening();
        let (bytes_sent, bytes_received) = report.bytes();
        Self {
            direction: opening.direction.as_str(),
            path: opening.path.as_str(),
            source: EndView::source(opening),
            destination: (&opening.destination).into(),
            tunnel: opening.hbone_addr,
            service: opening.service.as_ref().map(|service| service.key.hostname.0.clone()),
            policy: opening.policy.as_ref().map(PolicyRef::key),
            rule: opening.policy.as_ref().and_then(|policy| policy.rule),
            age_seconds: report.since().elapsed().as_secs_f64(),
            bytes_sent,
            bytes_received,
        }
    }
}
