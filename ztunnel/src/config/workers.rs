//! How many threads the byte path has.

use daemon::config::Value;

/// Threads of the byte path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per core.
    All,
    /// A quarter of the cores, and two at least.
    Auto,
    /// That many.
    Count(usize),
    /// That share of the cores, rounded up.
    Percent(usize),
}

impl Workers {
    /// How many that is on a machine with `cores`; one at least.
    pub fn count(self, cores: usize) -> usize {
        let share = |percent: usize| (cores * percent).div_ceil(100);
        let count = match self {
            Self::All => cores,
            Self::Auto => share(25).max(2),
            Self::Count(count) => count,
            Self::Percent(percent) => share(percent),
        };
        count.clamp(1, MAX_WORKERS)
    }
}

impl Value for Workers {
    const WANT: &'static str =
        "auto, a number of threads, 0 for one per core, or a share of the cores from 1% to 100%";

    fn parse(text: &str) -> Option<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            return percent.parse().ok().filter(|percent| (1..=100).contains(percent)).map(Self::Percent);
        }
        match text {
            "0" => Some(Self::All),
            "auto" => Some(Self::Auto),
            count => count.parse().ok().filter(|count| *count <= MAX_WORKERS).map(Self::Count),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::All => "0".to_owned(),
            Self::Auto => "auto".to_owned(),
            Self::Count(count) => count.to_string(),
            Self::Percent(percent) => format!("{percent}%"),
        }
    }
}

/// More threads than any machine has use for; a slip of the pen must not start a million.
const MAX_WORKERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_shares_and_all_cores() {
        for (text, cores, want) in [
            ("auto", 2, 2),
            ("auto", 16, 4),
            ("auto", 17, 5),
            ("0", 8, 8),
            ("3", 2, 3),
            ("50%", 5, 3),
            ("1%", 4, 1),
        ] {
            let workers = Workers::parse(text).unwrap();
            assert_eq!(workers.count(cores), want, "{text} of {cores}");
            assert_eq!(workers.show(), text);
        }
        for text in ["", "-1", "0%", "101%", "many", "1000000"] {
            assert_eq!(Workers::parse(text), None, "{text}");
        }
    }
}
