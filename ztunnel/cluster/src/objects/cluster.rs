//! Objects of the cluster and of whole namespaces.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::Metadata;

/// A Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// `metadata`.
    pub metadata: Metadata,
}

/// A ServiceAccount: its name is all that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceAccount {
    /// `metadata`.
    pub metadata: Metadata,
}

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Node {
    /// `metadata`.
    pub metadata: Metadata,
    /// `status`.
    pub status: NodeStatus,
}

/// `status` of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Its addresses.
    pub addresses: Vec<NodeAddress>,
}

/// One of a Node's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `Hostname`, ...
    pub r#type: Arc<str>,
    /// The address.
    pub address: Arc<str>,
}

impl Node {
    /// Addresses of type `InternalIP` and `ExternalIP`.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let own = |address: &&NodeAddress| matches!(&*address.r#type, "InternalIP" | "ExternalIP");
        self.status.addresses.iter().filter(own).filter_map(|address| address.address.parse().ok())
    }
}
