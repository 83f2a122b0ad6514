//! Destinations outside of the mesh that a namespace's pods may connect to.

use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

/// A namespace's list (`ambient.mesh/egress-allow`).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct EgressList(pub Vec<EgressEntry>);

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EgressEntry {
    /// Who is meant.
    pub whom: EgressTarget,
    /// The only port; none means all.
    pub port: Option<u16>,
}

/// Who an entry means.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum EgressTarget {
    /// A host's name, in lower case.
    Host(Arc<str>),
    /// All names below this one, not itself: `*.example.com` as `example.com`.
    Below(Arc<str>),
    /// Addresses.
    Range(IpNet),
}

/// An entry that says nothing that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("want ADDRESS, RANGE, NAME or *.NAME, and a port if need be: [fd00::/8]:443")]
pub struct InvalidEgressEntry;

impl EgressList {
    /// Whether an address is listed as such.
    pub fn has_address(&self, destination: SocketAddr) -> bool {
        self.0.iter().filter(|entry| entry.is_about(destination.port())).any(|entry| match &entry.whom {
            EgressTarget::Range(range) => range.contains(&destination.ip()),
            EgressTarget::Below(_) | EgressTarget::Host(_) => false,
        })
    }

    /// Whether a name is listed for a port; without one, for any.
    pub fn has_name(&self, name: &str, port: Option<u16>) -> bool {
        let mut entries = self.0.iter().filter(|entry| port.is_none_or(|port| entry.is_about(port)));
        entries.any(|entry| match &entry.whom {
            EgressTarget::Below(parent) => {
                name.strip_suffix(&**parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            EgressTarget::Host(host) => name == &**host,
            EgressTarget::Range(_) => false,
        })
    }

    /// Whether any name is listed.
    pub fn has_names(&self) -> bool {
        self.0.iter().any(|entry| !matches!(entry.whom, EgressTarget::Range(_)))
    }
}

impl EgressEntry {
    fn is_about(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

impl FromStr for EgressEntry {
    type Err = InvalidEgressEntry;

    fn from_str(text: &str) -> Result<Self, InvalidEgressEntry> {
        if let Ok(range) = range(text) {
            return Ok(Self { whom: EgressTarget::Range(range), port: None });
        }
        let (whom, port) = match text.rsplit_once(':') {
            Some((whom, port)) => (whom, Some(port.parse().map_err(|_| InvalidEgressEntry)?)),
            None => (text, None),
        };
        let bare = whom.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let whom = match (bare, range(bare.unwrap_or(whom))) {
            (_, Ok(range)) => EgressTarget::Range(range),
            (Some(_), Err(_)) => return Err(InvalidEgressEntry),
            (None, Err(_)) => name(whom)?,
        };
        Ok(Self { whom, port })
    }
}

fn range(text: &str) -> Result<IpNet, InvalidEgressEntry> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| one()).map_err(|_: AddrParseError| InvalidEgressEntry)
}

fn name(text: &str) -> Result<EgressTarget, InvalidEgressEntry> {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, &*text),
    };
    let is_label = |label: &str| {
        let allowed = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(allowed)
    };
    // A name that ends in a number is an address that somebody misspelt.
    let is_number = |label: &str| label.bytes().all(|it| it.is_ascii_digit());
    let sound =
        name.len() <= 253 && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number);
    match (sound, below) {
        (false, _) => Err(InvalidEgressEntry),
        (true, true) => Ok(EgressTarget::Below(name.into())),
        (true, false) => Ok(EgressTarget::Host(name.into())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_are_read_in_all_their_forms() {
        for (text, whom, port) in [
            ("10.0.0.0/8", EgressTarget::Range("10.0.0.0/8".parse().unwrap()), None),
            ("192.0.2.7:443", EgressTarget::Range("192.0.2.7/32".parse().unwrap()), Some(443)),
            ("fd00::/8", EgressTarget::Range("fd00::/8".parse().unwrap()), None),
            ("[fd00::/8]:443", EgressTarget::Range("fd00::/8".parse().unwrap()), Some(443)),
            ("API.example.com.", EgressTarget::Host("api.example.com".into()), None),
            ("*.example.com:443", EgressTarget::Below("example.com".into()), Some(443)),
        ] {
            assert_eq!(text.parse(), Ok(EgressEntry { whom, port }), "{text}");
        }
        for text in ["", "*", "a..b", "*.*.a", "a*b.c", "10.0.0.0/33", "10.0.0.300", "[a.b]:1", "a.b:http"] {
            assert_eq!(text.parse::<EgressEntry>(), Err(InvalidEgressEntry), "{text}");
        }
    }

    #[test]
    fn a_wildcard_means_all_that_is_below_and_not_itself() {
        let list = EgressList(vec!["*.example.com:443".parse().unwrap()]);
        assert!(list.has_name("a.b.example.com", Some(443)) && list.has_name("a.example.com", None));
        for name in ["example.com", ".example.com", "badexample.com", "example.com.evil.org"] {
            assert!(!list.has_name(name, Some(443)), "{name}");
        }
        assert!(!list.has_name("a.example.com", Some(80)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_what_it_says_or_refused(text in entry_like()) {
            let Ok(entry) = text.parse::<EgressEntry>() else { return Ok(()) };
            prop_assert_eq!(shown(&entry).parse(), Ok(entry.clone()), "{}", text);
            prop_assert_eq!(text.to_ascii_uppercase().parse(), Ok(entry.clone()));
            let list = EgressList(vec![entry.clone()]);
            match &entry.whom {
                EgressTarget::Host(name) | EgressTarget::Below(name) => {
                    let upper = name.bytes().any(|byte| byte.is_ascii_uppercase());
                    prop_assert!(!upper && name.parse::<IpAddr>().is_err() && name.len() <= 253, "{}", name);
                    let below = matches!(entry.whom, EgressTarget::Below(_));
                    prop_assert_eq!(list.has_name(name, entry.port), !below);
                    let [child, longer, elsewhere] = [format!("a.{name}"), format!("a{name}"), format!("{name}.{name}a")];
                    prop_assert_eq!(list.has_name(&child, entry.port), below);
                    prop_assert!(!list.has_name(&longer, entry.port) && !list.has_name(&elsewhere, entry.port));
                    prop_assert!(list.has_names() && !list.has_address(([192, 0, 2, 7], 1).into()));
                }
                EgressTarget::Range(range) => {
                    let port = entry.port.unwrap_or(1);
                    prop_assert!(list.has_address((range.addr(), port).into()) && !list.has_names());
                    prop_assert!(list.has_address((range.broadcast(), port).into()));
                    prop_assert_eq!(list.has_address((range.addr(), port ^ 1).into()), entry.port.is_none());
                }
            }
        }

        #[test]
        fn a_range_has_its_addresses_and_no_others(range: u32, length in 0..=32_u8, address: u32) {
            let text = format!("{}/{length}", std::net::Ipv4Addr::from_bits(range));
            let list = EgressList(vec![text.parse().unwrap()]);
            let within = u64::from(range ^ address) >> (32 - length) == 0;
            let to = |address: IpAddr| SocketAddr::new(address, 80);
            prop_assert_eq!(list.has_address(to(std::net::Ipv4Addr::from_bits(address).into())), within);
            prop_assert!(!list.has_address(to(std::net::Ipv6Addr::from_bits(address.into()).into())));
        }
    }

    /// Entries, and what is nearly one.
    fn entry_like() -> impl Strategy<Value = String> {
        let whom = prop_oneof![
            "(\\*\\.)?([a-zA-Z0-9_-]{0,4}\\.){0,3}[a-zA-Z0-9]{0,3}\\.?",
            any::<IpAddr>().prop_map(|address| address.to_string()),
            (any::<IpAddr>(), 0..130_u8).prop_map(|(address, length)| format!("{address}/{length}")),
            (any::<IpAddr>(), 0..130_u8).prop_map(|(address, length)| format!("[{address}/{length}]")),
            "[*.:/\\[\\]a-c0-9 ]{0,12}",
        ];
        (whom, proptest::option::of(0..70_000_u32)).prop_map(|(whom, port)| match port {
            Some(port) => format!("{whom}:{port}"),
            None => whom,
        })
    }

    fn shown(entry: &EgressEntry) -> String {
        let whom = match &entry.whom {
            EgressTarget::Below(name) => format!("*.{name}"),
            EgressTarget::Host(name) => name.to_string(),
            EgressTarget::Range(range) => format!("[{range}]"),
        };
        match entry.port {
            Some(port) => format!("{whom}:{port}"),
            None => whom.trim_matches(['[', ']']).to_owned(),
        }
    }
}
