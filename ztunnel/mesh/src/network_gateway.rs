//! How other networks are reached: through their gateways, and by nothing else.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use identity::SpiffeId;

use crate::Network;

/// A gateway of another network: takes tunnels for services there, and passes on what is in them unread.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NetworkGateway {
    /// `namespace/name` of the Gateway.
    pub key: Arc<str>,
    /// The network that it leads into.
    pub network: Network,
    /// Where it takes tunnels, in the order in which its manifest lists them; any will do. Empty where it names nothing
    /// of use: nobody gets there through it then.
    pub hosts: Arc<[GatewayHost]>,
    /// The port of tunnels.
    pub port: u16,
    /// Whom to expect there; none where its names make no SPIFFE id: nobody gets there through it then.
    pub identity: Option<SpiffeId>,
}

/// Where a gateway is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum GatewayHost {
    /// At an address.
    Ip(IpAddr),
    /// At whatever address a DNS name has.
    Name(Arc<str>),
}

impl NetworkGateway {
    /// Whether anybody can get anywhere through it.
    pub fn is_usable(&self) -> bool {
        !self.hosts.is_empty() && self.identity.is_some()
    }
}

impl fmt::Display for GatewayHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}
