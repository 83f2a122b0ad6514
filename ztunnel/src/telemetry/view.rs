//! An end of a connection, as it is shown.

use std::net::SocketAddr;
use std::sync::Arc;

use authz::SourceClass;
use mesh::Workload;

use crate::telemetry::{End, Opening};

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
    /// What it is known to be without one, as policies name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
}

impl EndView {
    /// The end that opened the connection.
    pub fn source(opening: &Opening) -> Self {
        Self { class: opening.class.map(SourceClass::name), ..(&opening.source).into() }
    }
}

impl From<&End> for EndView {
    fn from(end: &End) -> Self {
        let named = |workload: &Arc<Workload>| format!("{}/{}", workload.profile.namespace, workload.name);
        Self {
            address: end.addr,
            workload: end.workload.as_ref().map(named),
            identity: end.identity.as_ref().map(identity::SpiffeId::shared),
            class: None,
        }
    }
}
