//! Values as text.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A text is not a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// What it should have been: "a port from 1 to 65535".
    pub want: String,
}

/// A type that an option can have.
pub trait Value: Sized {
    /// What a text must be, for people: "a duration like 5s".
    const WANT: &'static str;

    /// Reads it.
    fn parse(text: &str) -> Option<Self>;

    /// Writes it so that it can be read again.
    fn show(&self) -> String;
}

/// Sets `slot` to what `text` says.
///
/// # Errors
/// When it says nothing of that type.
pub fn set<T: Value>(slot: &mut T, text: &str) -> Result<(), ValueError> {
    *slot = T::parse(text).ok_or_else(|| ValueError { want: T::WANT.to_owned() })?;
    Ok(())
}

/// Sets `slot` to what `text` says, for types that say themselves what is wrong.
///
/// # Errors
/// When the text is not of that type.
pub fn from_str<T: FromStr<Err: std::fmt::Display>>(
    slot: &mut T,
    text: &str,
    want: &str,
) -> Result<(), ValueError> {
    *slot = text.parse().map_err(|error| ValueError { want: format!("{want} ({error})") })?;
    Ok(())
}

/// Sets an option that is a list of what reads its own text, with commas between.
///
/// # Errors
/// When one of them does not read.
pub fn from_list<T: FromStr<Err: std::fmt::Display>>(
    slot: &mut Vec<T>,
    text: &str,
    want: &str,
) -> Result<(), ValueError> {
    let wrong = |error| ValueError { want: format!("{want} ({error})") };
    *slot = parts(text).map(|part| part.parse().map_err(wrong)).collect::<Result<_, _>>()?;
    Ok(())
}

/// A list as [`from_list`] reads it.
pub fn show_list<T: std::fmt::Display>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The parts of a list.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Sets an option that may be off, of a type that reads its own text.
///
/// # Errors
/// When the text is neither of that type nor `off`.
pub fn from_optional<T: FromStr<Err: std::fmt::Display>>(
    slot: &mut Option<T>,
    text: &str,
    want: &str,
) -> Result<(), ValueError> {
    let wrong = |error| ValueError { want: format!("{want}, or off ({error})") };
    *slot = match text {
        "off" | "" => None,
        text => Some(text.parse().map_err(wrong)?),
    };
    Ok(())
}

/// What [`from_optional`] reads.
pub fn show_optional<T: std::fmt::Display>(slot: Option<&T>) -> String {
    slot.map_or_else(|| "off".to_owned(), ToString::to_string)
}

impl Value for bool {
    const WANT: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "true" | "on" | "yes" | "1" => Some(true),
            "false" | "off" | "no" | "0" => Some(false),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u16 {
    const WANT: &'static str = "a port from 1 to 65535";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|port| *port != 0)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for usize {
    const WANT: &'static str = "a whole number";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const WANT: &'static str = "a text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    const WANT: &'static str = "a path";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for SocketAddr {
    const WANT: &'static str = "an address and port, like 127.0.0.1:15000 or [::1]:15000";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for IpAddr {
    const WANT: &'static str = "an IP address";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// What may be off. An empty text is off too, so that a default can be shown and read again.
impl<T: Value> Value for Option<T> {
    const WANT: &'static str = T::WANT;

    fn parse(text: &str) -> Option<Self> {
        if matches!(text, "off" | "") { Some(None) } else { T::parse(text).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "off".to_owned(), T::show)
    }
}

/// A list: in the file a YAML list, elsewhere separated by commas.
impl<T: Value> Value for Vec<T> {
    const WANT: &'static str = T::WANT;

    fn parse(text: &str) -> Option<Self> {
        parts(text).map(T::parse).collect()
    }

    fn show(&self) -> String {
        self.iter().map(T::show).collect::<Vec<_>>().join(",")
    }
}

impl Value for Duration {
    const WANT: &'static str = "a duration like 150us, 250ms, 5s, 2m30s or 1h";

    fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self::ZERO);
        }
        let mut rest = text;
        let mut total = Self::ZERO;
        let mut last_unit = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let unit_end =
                rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
            let count: u64 = rest[..digits].parse().ok()?;
            let unit = UNITS.iter().find(|(_, name)| *name == &rest[digits..unit_end])?.0;
            // From large to small, each once: 1h30m, never 30m1h.
            if unit >= last_unit {
                return None;
            }
            last_unit = unit;
            total = total.checked_add(Self::from_micros(count.checked_mul(unit)?))?;
            rest = &rest[unit_end..];
        }
        (!text.is_empty()).then_some(total)
    }

    fn show(&self) -> String {
        let mut rest = u64::try_from(self.as_micros()).unwrap_or(u64::MAX);
        let mut text = String::new();
        for (unit, name) in UNITS {
            let count = rest / unit;
            if count > 0 {
                text.push_str(&format!("{count}{name}"));
            }
            rest %= unit;
        }
        if text.is_empty() { "0".to_owned() } else { text }
    }
}

/// Microseconds of a unit, and its name; largest first.
const UNITS: [(u64, &str); 5] =
    [(3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1000, "ms"), (1, "us")];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, millis) in
            [("250ms", 250), ("5s", 5000), ("2m30s", 150_000), ("1h", 3_600_000), ("1h1ms", 3_600_001)]
        {
            let duration = Duration::parse(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis));
            assert_eq!(duration.show(), text);
        }
        assert_eq!(Duration::parse("1ms150us"), Some(Duration::from_micros(1150)));
        assert_eq!(Duration::from_micros(150).show(), "150us");
        assert_eq!(Duration::parse("0"), Some(Duration::ZERO));
        assert_eq!(Duration::ZERO.show(), "0");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "s", "5 s", "-5s", "5x", "1.5s", "30s2m", "5s5s", "99999999999999999999h"] {
            assert_eq!(Duration::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_shown_duration_reads_back(millis in 0..u64::from(u32::MAX)) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(Duration::parse(&duration.show()), Some(duration));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,20}", numbers in "[0-9]{0,25}[hms]{0,3}") {
            let _ = (Duration::parse(&text), Duration::parse(&numbers));
        }
    }

    #[test]
    fn a_port_is_never_zero() {
        assert_eq!(u16::parse("0"), None);
        assert_eq!(u16::parse("65536"), None);
        assert_eq!(u16::parse("15008"), Some(15008));
    }

    #[test]
    fn off_is_none() {
        assert_eq!(Option::<SocketAddr>::parse("off"), Some(None));
        assert_eq!(Option::<SocketAddr>::parse("off:1"), None);
        assert_eq!(Vec::<u16>::parse("80, 443,"), Some(vec![80, 443]));
    }
}
