//! Gateways, as far as they are waypoints or lead between networks.

use std::sync::Arc;

use serde::Deserialize;

use super::{Metadata, Selector};

/// A Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Gateway {
    /// `metadata`.
    pub metadata: Metadata,
    /// `spec`.
    pub spec: GatewaySpec,
    /// `status`.
    pub status: GatewayStatus,
}

/// `spec` of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Its class.
    pub gateway_class_name: Arc<str>,
    /// Where somebody else runs it, for one that is not run here.
    pub addresses: Vec<GatewayAddress>,
    /// Its listeners.
    pub listeners: Vec<Listener>,
}

/// One listener of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Listener {
    /// Its port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Arc<str>,
    /// Who may attach to it.
    pub allowed_routes: AllowedRoutes,
}

/// `allowedRoutes` of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AllowedRoutes {
    /// Namespaces.
    pub namespaces: RouteNamespaces,
}

/// `allowedRoutes.namespaces` of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RouteNamespaces {
    /// Which way they are said.
    pub from: FromNamespaces,
    /// Their labels.
    pub selector: Selector,
}

/// `from` of `allowedRoutes.namespaces`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum FromNamespaces {
    /// Every namespace.
    All,
    /// The Gateway's own.
    #[default]
    Same,
    /// Those with certain labels.
    Selector,
    /// A way that is not known: none.
    #[serde(other)]
    Unknown,
}

/// `status` of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GatewayStatus {
    /// Where it answers; empty while it doesn't.
    pub addresses: Vec<GatewayAddress>,
}

/// One of a Gateway's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GatewayAddress {
    /// `IPAddress` (also where nothing is said), `Hostname`, or a kind of somebody else's.
    pub r#type: Arc<str>,
    /// The address or name.
    pub value: Arc<str>,
}

impl Gateway {
    /// The listener for tunnels, which makes it a waypoint or a gateway between networks.
    pub fn tunnel_listener(&self) -> Option<&Listener> {
        self.spec.listeners.iter().find(|listener| &*listener.protocol == "HBONE")
    }
}
