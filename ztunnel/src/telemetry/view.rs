//! An end of a connection, as it is shown.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh::Workload;

use crate::telemetry::End;

/// One end of a connection, as it is shown.
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

impl From<&End> for EndView {
    fn from(end: &End) -> Self {
        let named = |workload: &Arc<Workload>| format!("{}/{}", workload.profile.namespace, workload.name);
        Self {
            address: end.addr,
            workload: end.workload.as_ref().map(named),
            identity: end.identity.as_ref().map(identity::SpiffeId::shared),
        }
    }
}
