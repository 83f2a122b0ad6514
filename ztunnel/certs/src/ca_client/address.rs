//! Where a CA is.

use std::fmt;
use std::str::FromStr;

/// A CA's host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaAddress {
    host: String,
    port: u16,
}

/// The text is not a CA's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is neither host:port nor https://host:port")]
pub struct ParseCaAddressError {
    text: String,
}

impl CaAddress {
    /// A name or an IP address, the latter without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// Reads `host:port` or `https://host:port`; an IPv6 address stands in brackets.
impl FromStr for CaAddress {
    type Err = ParseCaAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseCaAddressError { text: text.to_owned() };
        let rest = text.strip_prefix("https://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let plain = |host: &&str| !host.is_empty() && !host.contains([':', '/', '[', ']', '@', ' ']);
        let host = match bracketed {
            Some(host) if host.parse::<std::net::Ipv6Addr>().is_ok() => host,
            Some(_) => return Err(wrong()),
            None => Some(host).filter(plain).ok_or_else(wrong)?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for CaAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_their_scheme() {
        for (text, host, shown) in [
            ("istiod.istio-system.svc:15012", "istiod.istio-system.svc", "istiod.istio-system.svc:15012"),
            ("https://10.0.0.1:15012", "10.0.0.1", "10.0.0.1:15012"),
            ("https://[::1]:15012/", "::1", "[::1]:15012"),
        ] {
            let address: CaAddress = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, 15012), "{text}");
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "ca", "ca:", ":1", "ca:0", "ca:65536", "http://ca:1", "::1:1", "[ca]:1", "https://ca:1/x"]
        {
            assert!(text.parse::<CaAddress>().is_err(), "{text}");
        }
    }
}
