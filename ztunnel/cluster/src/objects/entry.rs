//! Istio's ServiceEntry and WorkloadEntry.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::{Labels, Metadata};

/// A ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceEntry {
    /// `metadata`.
    pub metadata: Metadata,
    /// `spec`.
    pub spec: ServiceEntrySpec,
    /// `status`.
    pub status: ServiceEntryStatus,
}

/// `spec` of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceEntrySpec {
    /// Host names; each is a service of its own.
    pub hosts: Vec<Arc<str>>,
    /// Virtual addresses and ranges.
    pub addresses: Vec<Arc<str>>,
    /// Ports.
    pub ports: Vec<ServiceEntryPort>,
    /// How endpoints are found.
    pub resolution: EntryResolution,
    /// Endpoints.
    pub endpoints: Vec<WorkloadEntrySpec>,
    /// Pods and WorkloadEntries of the namespace that are endpoints.
    pub workload_selector: Option<WorkloadSelector>,
    /// Namespaces that see it: `.`, `*`, `~` or names.
    pub export_to: Vec<Arc<str>>,
    /// Identities that endpoints may have.
    pub subject_alt_names: Vec<Arc<str>>,
}

/// `selector` and `workloadSelector` of Istio's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WorkloadSelector {
    /// Labels that must be there, in a ServiceEntry.
    pub labels: Labels,
    /// Labels that must be there, in a policy.
    #[serde(rename = "matchLabels")]
    pub match_labels: Labels,
}

/// `resolution` of a ServiceEntry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum EntryResolution {
    /// By DNS.
    #[serde(rename = "DNS", alias = "DNS_ROUND_ROBIN", alias = "DYNAMIC_DNS")]
    Dns,
    /// They are listed or selected.
    #[serde(rename = "STATIC")]
    Static,
    /// Not at all: connections go where the client asked.
    #[default]
    #[serde(rename = "NONE", other)]
    None,
}

/// One port of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceEntryPort {
    /// Its name.
    pub name: Arc<str>,
    /// Its number.
    pub number: u16,
    /// What is spoken there.
    pub protocol: Arc<str>,
    /// The endpoints' port; the same number where nothing is said.
    pub target_port: Option<u16>,
}

/// `status` of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceEntryStatus {
    /// Addresses that were given to it.
    pub addresses: Vec<AllocatedAddress>,
}

/// One of `status.addresses` of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AllocatedAddress {
    /// The address.
    pub value: Arc<str>,
    /// The host that it is for; empty where it is for all.
    pub host: Arc<str>,
}

/// A WorkloadEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WorkloadEntry {
    /// `metadata`.
    pub metadata: Metadata,
    /// `spec`.
    pub spec: WorkloadEntrySpec,
}

/// `spec` of a WorkloadEntry; an endpoint of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadEntrySpec {
    /// Its address or DNS name.
    pub address: Arc<str>,
    /// Its ports by the names of the service's.
    pub ports: BTreeMap<Arc<str>, u16>,
    /// Its labels.
    pub labels: Labels,
    /// The network of its address.
    pub network: Arc<str>,
    /// `region/zone/subzone`.
    pub locality: Arc<str>,
    /// Its share of the traffic; the same as others' where nothing is said.
    pub weight: Option<u32>,
    /// Its service account.
    pub service_account: Arc<str>,
}

impl WorkloadEntrySpec {
    /// Its address, where it is not a DNS name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}
