//! Addresses that say which network they belong to.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A network's name: addresses are unique within one. The empty name is the default network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Network(Option<Arc<str>>);

/// An IP address within a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct NetworkAddress {
    /// The network; empty by default.
    pub network: Network,
    /// The address.
    pub ip: IpAddr,
}

impl Network {
    /// The network of that name; the empty name is the default network.
    pub fn new(name: &str) -> Self {
        Self((!name.is_empty()).then(|| name.into()))
    }

    /// The network's name, empty for the default one.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl NetworkAddress {
    /// `ip` in `network`.
    pub const fn new(network: Network, ip: IpAddr) -> Self {
        Self { network, ip }
    }
}

impl From<IpAddr> for NetworkAddress {
    fn from(ip: IpAddr) -> Self {
        Self { network: Network::default(), ip }
    }
}

impl fmt::Display for NetworkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network.as_str() {
            "" => write!(f, "{}", self.ip),
            network => write!(f, "{network}/{}", self.ip),
        }
    }
}
