//! A live connection, as it is shown.

use std::net::SocketAddr;
use std::sync::Arc;

use daemon::logs::PolicyRef;

use crate::telemetry::{End, Report};

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
    /// Seconds since it was opened.
    pub age_seconds: f64,
    /// Bytes from source to destination.
    pub bytes_sent: u64,
    /// Bytes from destination to source.
    pub bytes_received: u64,
}

/// One end of a live connection.
#[derive(Clone, Debug, serde::Serialize)]
pub struct EndView {
    /// Its address.
    pub address: SocketAddr,
    /// `namespace/name` of the workload there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Its verified identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Arc<str>>,
}

impl From<&Report> for ConnectionView {
    fn from(report: &Report) -> Self {
        let opening = report.opening();
        let (bytes_sent, bytes_received) = report.bytes();
        let policy = |PolicyRef { namespace, name, .. }: &PolicyRef| format!("{namespace}/{name}");
        Self {
            direction: opening.direction.as_str(),
            path: opening.path.as_str(),
            source: (&opening.source).into(),
            destination: (&opening.destination).into(),
            tunnel: opening.hbone_addr,
            service: opening.service.as_ref().map(|service| service.key.hostname.0.clone()),
            policy: opening.policy.as_ref().map(policy),
            age_seconds: report.since().elapsed().as_secs_f64(),
            bytes_sent,
            bytes_received,
        }
    }
}

impl From<&End> for EndView {
    fn from(end: &End) -> Self {
        let named =
            |workload: &Arc<mesh::Workload>| format!("{}/{}", workload.profile.namespace, workload.name);
        Self {
            address: end.addr,
            workload: end.workload.as_ref().map(named),
            identity: end.identity.as_ref().map(identity::SpiffeId::shared),
        }
    }
}
