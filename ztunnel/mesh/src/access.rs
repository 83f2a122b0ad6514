//! Which connections leave a record when they end.

use std::fmt;
use std::str::FromStr;

/// Which connections leave a record when they end: all, some of those that ended well, only those that failed or were
/// denied, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct AccessLogging {
    /// How many of 10,000 connections that ended well leave one.
    sampled: u16,
    /// Whether those that failed or were denied leave one.
    failures: bool,
}

/// The text says nothing of records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of all, failures, none, or a share like 10% or 0.5%")]
pub struct ParseAccessLoggingError {
    text: String,
}

impl AccessLogging {
    /// Every connection.
    pub const ALL: Self = Self { sampled: WHOLE, failures: true };
    /// Connections that failed or were denied.
    pub const FAILURES: Self = Self { sampled: 0, failures: true };
    /// None, not even of those that failed.
    pub const NONE: Self = Self { sampled: 0, failures: false };

    /// Whether a connection leaves a record. `draw` is random, and the same for whoever is to decide alike.
    pub fn records(self, failed: bool, draw: u64) -> bool {
        if failed { self.failures } else { draw % u64::from(WHOLE) < u64::from(self.sampled) }
    }
}

impl FromStr for AccessLogging {
    type Err = ParseAccessLoggingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let share = || {
            let (whole, part) =
                text.strip_suffix('%')?.split_once('.').unwrap_or((text.strip_suffix('%')?, "0"));
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let fits = digits(whole) && digits(part) && whole.len() <= 3 && part.len() <= 2;
            let part: u16 = format!("{part:0<2}").parse().ok().filter(|_| fits)?;
            let sampled = whole.parse::<u16>().ok()? * 100 + part;
            (sampled <= WHOLE).then_some(Self { sampled, failures: true })
        };
        let known = match text {
            "all" => Some(Self::ALL),
            "failures" => Some(Self::FAILURES),
            "none" => Some(Self::NONE),
            _ => share(),
        };
        known.ok_or_else(|| ParseAccessLoggingError { text: text.to_owned() })
    }
}

impl fmt::Display for AccessLogging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.sampled, self.failures) {
            (WHOLE, _) => f.write_str("all"),
            (0, true) => f.write_str("failures"),
            (0, false) => f.write_str("none"),
            (sampled, _) if sampled % 100 == 0 => write!(f, "{}%", sampled / 100),
            (sampled, _) => write!(f, "{}.{:02}%", sampled / 100, sampled % 100),
        }
    }
}

/// All of them.
const WHOLE: u16 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_connections_that_ended_well_and_of_no_others() {
        let tenth: AccessLogging = "10%".parse().unwrap();
        assert_eq!((0..10_000).filter(|draw| tenth.records(false, *draw)).count(), 1000);
        assert!((0..10_000).all(|draw| tenth.records(true, draw)));
        assert!((0..10_000).all(|draw| AccessLogging::ALL.records(false, draw)));
        assert!(!AccessLogging::FAILURES.records(false, 0) && AccessLogging::FAILURES.records(true, 0));
        assert!(!AccessLogging::NONE.records(true, 0), "whoever asks for none gets none");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["all", "failures", "none", "10%", "0.50%", "99.99%"] {
            assert_eq!(text.parse::<AccessLogging>().unwrap().to_string(), text);
        }
        assert_eq!("0.5%".parse::<AccessLogging>(), "0.50%".parse());
        for wrong in ["", "some", "10", "101%", "-1%", "1.234%", "1.%", ".5%", "+1%", "1000%", "99999%"] {
            assert!(wrong.parse::<AccessLogging>().is_err(), "{wrong}");
        }
    }
}
