//! What is measured.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A figure: of a load on a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Metric {
    /// `between nodes`, `within a node`, or `memory`.
    pub(super) group: String,
    /// The load.
    pub(super) load: String,
    /// What of it.
    pub(super) unit: Unit,
}

/// What a figure counts, and in which direction it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unit {
    /// Bytes of memory.
    Bytes,
    /// Processor seconds of the daemons for each GiB.
    CpuPerGib,
    /// Processor seconds of the daemons for each 100,000 requests.
    CpuPerRequests,
    /// 10^9 bits a second.
    Gigabits,
    /// Microseconds that one took.
    Longest,
    /// Microseconds that half of the requests take at most.
    P50,
    /// Microseconds that all but one in a hundred requests take at most.
    P99,
    /// Requests a second.
    Rate,
    /// Percent of one processor.
    Share,
}

impl Metric {
    pub(super) fn new(group: &str, load: impl Into<String>, unit: Unit) -> Self {
        Self { group: group.to_owned(), load: load.into(), unit }
    }

    /// A value as it is shown.
    pub(super) fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Bytes if value >= 1e6 => format!("{:.1} MB", value / 1e6),
            Unit::Bytes => format!("{:.2} kB", value / 1e3),
            Unit::Share => format!("{value:.1}"),
            Unit::CpuPerGib | Unit::CpuPerRequests | Unit::Gigabits => format!("{value:.2}"),
            Unit::Longest | Unit::P50 | Unit::P99 | Unit::Rate => format!("{value:.0}"),
        }
    }
}

impl Unit {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "",
            Self::CpuPerGib => "CPU s/GiB",
            Self::CpuPerRequests => "CPU s/100k requests",
            Self::Gigabits => "Gb/s",
            Self::Longest => "us",
            Self::P50 => "p50 us",
            Self::P99 => "p99 us",
            Self::Rate => "req/s",
            Self::Share => "% of a processor",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit.name() {
            "" => f.write_str(&self.load),
            unit => write!(f, "{}, {unit}", self.load),
        }
    }
}
