//! What may differ from pod to pod in how it is captured.

use std::fmt;

use ipnet::IpNet;

/// How one pod is captured.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureOptions {
    /// Whether DNS queries go to the daemon. Default true; annotation `ambient.istio.io/dns-capture`.
    pub dns: bool,
    /// Whether inbound plaintext goes to the daemon. Default true; annotation
    /// `ambient.istio.io/bypass-inbound-capture` turns it off (ingress gateways), where its namespace gives leave.
    pub inbound: bool,
    /// Interfaces whose incoming connections are the pod's outbound ones (virtual machines in the pod), unless they are for
    /// the pod itself; annotation `istio.io/reroute-virtual-interfaces`. None that leads out of the pod: [`super::Uplinks`].
    pub virtual_interfaces: Vec<InterfaceName>,
    /// What becomes of UDP that is not captured DNS. Default it passes; `ambient.mesh/udp` of the namespace.
    pub udp: UdpRule,
    /// Connections that stay untouched.
    pub exclusions: Exclusions,
}

/// What becomes of a pod's UDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UdpRule {
    /// It passes, and is counted.
    #[default]
    Pass,
    /// It is refused, so that whoever speaks QUIC falls back to TCP at once, and counted.
    Refuse,
}

/// Connections that stay untouched; annotations `traffic.sidecar.istio.io/exclude{Inbound,Outbound}{Ports,IPRanges}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exclusions {
    /// Ports of the pod.
    pub inbound_ports: Vec<u16>,
    /// Sources of inbound connections.
    pub inbound_ranges: Vec<IpNet>,
    /// Ports of destinations.
    pub outbound_ports: Vec<u16>,
    /// Addresses of destinations.
    pub outbound_ranges: Vec<IpNet>,
}

/// The name of a network interface, safe to stand in a ruleset: 1 to 15 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

/// The name is empty, too long or holds a character that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a network interface")]
pub struct InvalidInterfaceName(String);

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            dns: true,
            inbound: true,
            virtual_interfaces: Vec::new(),
            udp: UdpRule::Pass,
            exclusions: Exclusions::default(),
        }
    }
}

impl InterfaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = InvalidInterfaceName;

    fn try_from(name: String) -> Result<Self, InvalidInterfaceName> {
        let allowed = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
        if (1..=15).contains(&name.len()) && name.chars().all(allowed) {
            Ok(Self(name))
        } else {
            Err(InvalidInterfaceName(name))
        }
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_cannot_smuggle_rules() {
        for bad in ["", "eth0\"; flush ruleset; #", "a b", "sixteen-letters-", "eth0\n"] {
            assert!(InterfaceName::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        assert_eq!(InterfaceName::try_from("k6t-eth0.1_a".to_owned()).unwrap().as_str(), "k6t-eth0.1_a");
    }
}
