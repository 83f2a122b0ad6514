//! The `forwarded` header (RFC 7239): on behalf of which client, and for which service, a CONNECT is made.

use std::fmt;
use std::net::SocketAddr;

/// `for="10.0.0.1:4711";host=db.default.svc.cluster.local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// The client's address. The port is 0 when the header has none.
    pub client: SocketAddr,
    /// The host that the client asked for.
    pub host: Option<Box<str>>,
}

impl Forwarded {
    /// Reads the last element of a header: the one that the nearest proxy added. Parameters other than `for` and
    /// `host` are skipped. None without a readable client address, or beyond the bounds.
    pub fn parse(header: &str) -> Option<Self> {
        if header.len() > MAX_HEADER {
            return None;
        }
        let mut element = Element::default();
        let mut rest = header.trim_matches(BLANK);
        while !rest.is_empty() {
            rest = element.pair(rest)?;
            let mut behind = rest.chars();
            match behind.next() {
                None => {}
                Some(';') => rest = behind.as_str().trim_start_matches(BLANK),
                Some(',') => {
                    rest = behind.as_str().trim_start_matches(BLANK);
                    element = Element::default();
                }
                Some(_) => return None,
            }
        }
        Some(Self { client: parse_node(&element.client?)?, host: element.host.map(String::into_boxed_str) })
    }
}

/// The header.
impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client.port() {
            // A bare IPv6 address has its brackets too (RFC 7239 §6).
            0 if self.client.is_ipv6() => write!(f, "for=\"[{}]\"", self.client.ip())?,
            0 => write!(f, "for=\"{}\"", self.client.ip())?,
            _ => write!(f, "for=\"{}\"", self.client)?,
        }
        match &self.host {
            None => Ok(()),
            Some(host) if !host.is_empty() && host.bytes().all(is_token) => write!(f, ";host={host}"),
            Some(host) => write!(f, ";host={}", Quoted(host)),
        }
    }
}

/// What an element has said so far.
#[derive(Default)]
struct Element {
    client: Option<String>,
    host: Option<String>,
}

impl Element {
    /// Takes one `name=value` off `text`; what follows it begins with a separator.
    fn pair<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        // Empty elements and pairs are allowed (RFC 9110 §5.6.1).
        if text.starts_with([',', ';']) {
            return Some(text);
        }
        let (name, rest) = text.split_once('=')?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        let (value, rest) = take_value(rest)?;
        let slot = if name.eq_ignore_ascii_case("for") {
            &mut self.client
        } else if name.eq_ignore_ascii_case("host") {
            &mut self.host
        } else {
            return Some(rest.trim_start_matches(BLANK));
        };
        // Each parameter comes once in an element (RFC 7239 §4).
        if slot.replace(value).is_some() { None } else { Some(rest.trim_start_matches(BLANK)) }
    }
}

/// A token or a quoted string, and what is behind it.
fn take_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.bytes().position(|byte| !is_lenient_token(byte)).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next().filter(|c| !c.is_control())?),
            c if c.is_control() => return None,
            c => value.push(c),
        }
    }
}

/// `1.2.3.4`, `1.2.3.4:5`, `[::1]` or `[::1]:5`; names like `unknown` and `_hidden` are of no use here.
fn parse_node(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let without_port = match bare {
        Some(v6) => v6.parse().map(std::net::IpAddr::V6).ok(),
        None => text.parse().map(std::net::IpAddr::V4).ok(),
    };
    match without_port {
        Some(ip) => Some(SocketAddr::new(ip, 0)),
        None => text.parse().ok().filter(|address: &SocketAddr| !has_zone(address)),
    }
}

fn has_zone(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0)
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Tokens, and what many senders forget to quote.
const fn is_lenient_token(byte: u8) -> bool {
    is_token(byte) || matches!(byte, b':' | b'[' | b']')
}

/// A text as a quoted string.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars().filter(|c| !c.is_control()) {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

const BLANK: [char; 2] = [' ', '\t'];

/// Several elements with a host name each; more is no header of a mesh.
const MAX_HEADER: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn istios_headers_are_read_and_written() {
        for header in [
            "for=\"10.0.0.1:4711\"",
            "for=\"[fd00::1]:4711\";host=db.default.svc.cluster.local",
            "for=\"10.0.0.1\"",
            "for=\"[fd00::1]\"",
        ] {
            assert_eq!(Forwarded::parse(header).unwrap().to_string(), header);
        }
    }

    #[test]
    fn the_nearest_proxys_element_counts() {
        let forwarded =
            Forwarded::parse("for=192.0.2.1;proto=http, by=x ; For=10.0.0.1:80; host=\"a\\\"b\"").unwrap();
        assert_eq!(forwarded.client, "10.0.0.1:80".parse().unwrap());
        assert_eq!(forwarded.host.as_deref(), Some("a\"b"));
    }

    #[test]
    fn everything_else_is_refused() {
        let long = format!("for=10.0.0.1;host={}", "a".repeat(4096));
        for header in [
            "",
            "for",
            "for=",
            "for=unknown",
            "for=_hidden",
            "host=a",
            "for=\"10.0.0.1",
            "for=10.0.0.1;for=10.0.0.2",
            "for=10.0.0.1 x",
            "for=10.0.0.1:70000",
            "for=\"[fe80::1%1]:80\"",
            "for=::1",
            "fo r=10.0.0.1",
            "for=10.0.0.1,host=a",
            "for=\"10.0.0.1\"\"",
            &long,
        ] {
            assert_eq!(Forwarded::parse(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_client_and_host_round_trip(
            ip in any::<std::net::IpAddr>(),
            port: u16,
            host in proptest::option::of("[^\\p{Cc}]{0,40}"),
        ) {
            let forwarded = Forwarded { client: SocketAddr::new(ip, port), host: host.map(Into::into) };
            prop_assert_eq!(Forwarded::parse(&forwarded.to_string()), Some(forwarded));
        }

        #[test]
        fn any_header_is_read_or_refused(header in "[ -~]{0,80}") {
            if let Some(forwarded) = Forwarded::parse(&header) {
                prop_assert_eq!(Forwarded::parse(&forwarded.to_string()), Some(forwarded));
            }
        }
    }
}
