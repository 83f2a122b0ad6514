//! Where a CONNECT goes to: `10.0.0.1:80`, `[fd00::1]:80` or `db.default.svc.cluster.local:5432`.
//!
//! A strict subset of RFC 3986 §3.2: a port is required (RFC 9110 §9.3.6), and there is no user, no zone and no
//! percent-encoding, so that two spellings of one destination cannot be told apart by anyone down the line.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Host,
    port: NonZeroU16,
}

/// The host of an [`Authority`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name, in lower case.
    Name(HostName),
}

/// A DNS name in lower case, without a trailing dot (RFC 1123 §2.1, and underscores, which real names have).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

/// Why a text is not an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Neither an address nor a name.
    #[error("the host is neither an address nor a DNS name")]
    Host,
    /// No port, or not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

impl Authority {
    /// A host and a port.
    pub const fn new(host: Host, port: NonZeroU16) -> Self {
        Self { host, port }
    }

    /// The host.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port.get()
    }

    /// The socket address, unless the host is a name.
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port.get())),
            Host::Name(_) => None,
        }
    }

    /// The name and the port, unless the host is an address.
    pub fn name(&self) -> Option<(&str, u16)> {
        match &self.host {
            Host::Ip(_) => None,
            Host::Name(name) => Some((name.as_str(), self.port.get())),
        }
    }
}

impl TryFrom<SocketAddr> for Authority {
    type Error = AuthorityError;

    fn try_from(address: SocketAddr) -> Result<Self, AuthorityError> {
        let port = NonZeroU16::new(address.port()).ok_or(AuthorityError::Port)?;
        Ok(Self::new(Host::Ip(address.ip()), port))
    }
}

impl FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        let (host, port) = text.rsplit_once(':').ok_or(AuthorityError::Port)?;
        let port = parse_port(port)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let literal = rest.strip_suffix(']').ok_or(AuthorityError::Host)?;
                Host::Ip(literal.parse::<Ipv6Addr>().map_err(|_| AuthorityError::Host)?.into())
            }
            None => match host.parse::<Ipv4Addr>() {
                Ok(ip) => Host::Ip(ip.into()),
                Err(_) => Host::Name(host.parse()?),
            },
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port.get()).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl HostName {
    /// The name.
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        let is_label = |label: &str| {
            let edges = label.bytes().next().zip(label.bytes().next_back());
            let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            label.len() <= MAX_LABEL
                && edges.is_some_and(|(first, last)| first != b'-' && last != b'-')
                && label.bytes().all(inner)
        };
        // A last label of digits would be an IPv4 address to some readers (WHATWG URL §3.5).
        let looks_like_an_address =
            text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if text.len() > MAX_NAME || looks_like_an_address || !text.split('.').all(is_label) {
            return Err(AuthorityError::Host);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Digits only, without leading zeros: `+80` and `080` are no ports.
fn parse_port(text: &str) -> Result<NonZeroU16, AuthorityError> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if canonical { text.parse().map_err(|_| AuthorityError::Port) } else { Err(AuthorityError::Port) }
}

/// RFC 1035 §2.3.4.
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_and_names_parse() {
        let cases = [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[fd00:0::1]:15008", "[fd00::1]:15008"),
            ("[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.1]:1"),
            ("DB.Default.svc:65535", "db.default.svc:65535"),
            ("_http._tcp.x-1:8080", "_http._tcp.x-1:8080"),
            ("localhost:1", "localhost:1"),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse::<Authority>().unwrap().to_string(), want, "{text}");
        }
    }

    #[test]
    fn an_address_is_a_socket_address_and_a_name_is_not() {
        let authority: Authority = "[fd00::1]:80".parse().unwrap();
        assert_eq!(authority.socket_addr(), Some("[fd00::1]:80".parse().unwrap()));
        let authority: Authority = "db:80".parse().unwrap();
        assert_eq!((authority.socket_addr(), authority.name()), (None, Some(("db", 80))));
    }

    #[test]
    fn everything_else_is_refused() {
        let cases = [
            "",
            ":",
            ":80",
            "a",
            "a:",
            "a:0",
            "a:080",
            "a:+80",
            "a:65536",
            "a:80 ",
            " a:80",
            "a:80:80",
            "::1:80",
            "[::1]",
            "[::1]:",
            "[::1%eth0]:80",
            "[10.0.0.1]:80",
            "[::1:80",
            "user@a:80",
            "http://a:80",
            "a/b:80",
            "a..b:80",
            "a.:80",
            ".a:80",
            "-a:80",
            "a-:80",
            "1.2.3:80",
            "1.2.3.4.5:80",
            "01.2.3.4:80",
            "256.1.1.1:80",
            "a.1:80",
            "a%20:80",
            "ä:80",
            "*.a:80",
            "a:8\u{ff10}",
        ];
        for text in cases {
            assert!(text.parse::<Authority>().is_err(), "{text}");
        }
        assert!(format!("{}:80", "a".repeat(64)).parse::<Authority>().is_err());
        assert!(format!("{}a:80", "a.".repeat(127)).parse::<Authority>().is_err());
    }

    proptest! {
        #[test]
        fn what_parses_is_displayed_as_it_would_parse_again(text in "[a-zA-Z0-9.:_\\[\\]-]{0,24}:[0-9]{1,5}") {
            if let Ok(authority) = text.parse::<Authority>() {
                prop_assert_eq!(authority.to_string().parse::<Authority>(), Ok(authority));
            }
        }

        #[test]
        fn every_socket_address_round_trips(ip in any::<IpAddr>(), port in 1_u16..) {
            let address = SocketAddr::new(ip, port);
            let authority = Authority::try_from(address).unwrap();
            prop_assert_eq!(authority.to_string(), address.to_string());
            prop_assert_eq!(authority.to_string().parse::<Authority>().unwrap().socket_addr(), Some(address));
        }
    }
}
