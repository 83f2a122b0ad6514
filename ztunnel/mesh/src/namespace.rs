//! What is set for a whole namespace.

use std::sync::Arc;

use crate::{AccessLogging, EgressList};

/// Settings that hold for every workload of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NamespaceSettings {
    /// The namespace's name.
    pub name: Arc<str>,
    /// What happens to connections to destinations that the mesh doesn't know (`ambient.mesh/egress`).
    pub egress: EgressMode,
    /// Those that they may connect to nevertheless, and that are not logged (`ambient.mesh/egress-allow`).
    pub egress_allow: EgressList,
    /// Whether its pods' DNS queries are captured unless the pod says otherwise; none means the mesh's default.
    pub dns_capture: Option<bool>,
    /// Which of its workloads' connections leave a record (`ambient.mesh/access-log`); none means the mesh's default.
    pub access_log: Option<AccessLogging>,
}

/// What happens to connections to destinations that the mesh doesn't know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub enum EgressMode {
    /// They are passed through.
    #[default]
    Allow,
    /// They are refused.
    Deny,
    /// They are passed through, and each is logged as unknown.
    Log,
}

impl NamespaceSettings {
    /// A namespace without settings of its own.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            egress: EgressMode::default(),
            egress_allow: EgressList::default(),
            dns_capture: None,
            access_log: None,
        }
    }
}
