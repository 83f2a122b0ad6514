//! EndpointSlices.

use std::sync::Arc;

use serde::Deserialize;

use super::{Metadata, Protocol};

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    /// `metadata`.
    pub metadata: Metadata,
    /// What its addresses are.
    pub address_type: AddressType,
    /// Ports that all its endpoints have.
    pub ports: Vec<SlicePort>,
    /// Endpoints.
    pub endpoints: Vec<SliceEndpoint>,
}

/// `addressType` of an EndpointSlice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum AddressType {
    /// DNS names, which no proxy can use.
    #[serde(rename = "FQDN")]
    Fqdn,
    /// Addresses of either family.
    #[default]
    #[serde(other)]
    Ip,
}

/// One port of an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SlicePort {
    /// The Service's port of that name.
    pub name: Arc<str>,
    /// The endpoints' port; none stands for all.
    pub port: Option<u16>,
    /// Its protocol.
    pub protocol: Protocol,
}

/// One endpoint of an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SliceEndpoint {
    /// Its addresses: the first is used.
    pub addresses: Vec<Arc<str>>,
    /// Its state.
    pub conditions: EndpointConditions,
    /// The object that it is.
    pub target_ref: Option<TargetRef>,
}

/// `conditions` of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// It may be sent connections.
    pub ready: Option<bool>,
    /// It serves, even if it terminates.
    pub serving: Option<bool>,
    /// It terminates.
    pub terminating: Option<bool>,
}

/// `targetRef` of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    /// Kind of the object.
    pub kind: Arc<str>,
    /// Its name; it is in the slice's namespace.
    pub name: Arc<str>,
}

impl SliceEndpoint {
    /// The name of the pod that it is, in the slice's namespace.
    pub fn pod(&self) -> Option<&Arc<str>> {
        self.target_ref.as_ref().filter(|reference| &*reference.kind == "Pod").map(|pod| &pod.name)
    }
}

impl EndpointSlice {
    /// The Service that it belongs to.
    pub fn service(&self) -> Option<&str> {
        self.metadata.label("kubernetes.io/service-name")
    }
}
