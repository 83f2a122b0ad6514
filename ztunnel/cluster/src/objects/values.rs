//! Values that several kinds have.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// A time in seconds since the epoch; 0 when a manifest says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(pub i64);

/// A port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortRef {
    /// The number.
    Number(u16),
    /// Name of a container's port.
    Name(Arc<str>),
}

/// `protocol` of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum Protocol {
    /// TCP, which is what a port is that says nothing.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP, SCTP and whatever else there may be.
    #[serde(rename = "UDP", alias = "SCTP", other)]
    Other,
}

/// An address that may be empty in a manifest.
pub(super) fn optional_ip<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    let text = <Option<String>>::deserialize(deserializer)?.unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| D::Error::custom(format_args!("{text:?} is not an IP address")))
}

/// Addresses; those that are empty are left out.
pub(super) fn ips<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    #[derive(Deserialize)]
    struct Item(#[serde(deserialize_with = "optional_ip")] Option<IpAddr>);
    let items = <Vec<Item>>::deserialize(deserializer)?;
    Ok(items.into_iter().filter_map(|item| item.0).collect())
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom(format_args!("{text:?} is not a time like 2026-01-02T03:04:05Z"));
        parse(&text).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for PortRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortVisitor)
    }
}

struct PortVisitor;

impl Visitor<'_> for PortVisitor {
    type Value = PortRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port's number or name")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<PortRef, E> {
        u16::try_from(number).map(PortRef::Number).map_err(|_| no_port(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<PortRef, E> {
        u16::try_from(number).map(PortRef::Number).map_err(|_| no_port(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PortRef, E> {
        Ok(text.parse().map_or_else(|_| PortRef::Name(text.into()), PortRef::Number))
    }
}

fn no_port<E: Error>(number: impl fmt::Display) -> E {
    E::custom(format_args!("is {number}, want a port from 1 to 65535, or its name"))
}

/// RFC 3339, in UTC or with an offset. Parts of a second are dropped.
fn parse(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|digit: char| digit.is_ascii_digit()),
        None => rest,
    };
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let [hours, minutes] = numbers(rest.strip_prefix(['+', '-'])?, ':')?;
            sign * (hours * 3600 + minutes * 60)
        }
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hours, minutes, seconds] = numbers(time, ':')?;
    let sound = (1..=12).contains(&month) && (1..=31).contains(&day) && hours < 24 && minutes < 60;
    (sound && seconds <= 60)
        .then(|| days(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds - offset)
}

/// Exactly `N` unsigned numbers.
fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let parse = |part: &str| part.parse::<u32>().ok().map(i64::from);
    let parts: Option<Vec<i64>> = text.split(separator).map(parse).collect();
    parts?.try_into().ok()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms").
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_rfc_3339_writes_them() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-03-01T00:00:00Z", Some(951_868_800)),
            ("2026-08-22T10:20:30Z", Some(1_787_394_030)),
            ("2026-08-22T12:20:30.123456+02:00", Some(1_787_394_030)),
            ("2026-08-22", None),
            ("2026-13-22T10:20:30Z", None),
            ("yesterday", None),
            ("2026-08-22T10:20:30", None),
            ("2026-08-2äT10:20:30Z", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
    }
}
