//! What paths took when somebody last looked.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::Counts;
use crate::error::XtaskError;

/// Instructions by path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Baseline(BTreeMap<String, u64>);

/// What a count is, compared.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Fewer instructions, by so many percent: what is gained may be lost again unnoticed until it is blessed.
    Better(f64),
    /// As many, but for so many percent.
    Same(f64),
    /// Nobody knows how many there were.
    Unknown,
    /// More instructions, by so many percent.
    Worse(f64),
}

impl Baseline {
    /// None is known where there is no file.
    pub(super) fn read(file: &Path) -> Result<Self, XtaskError> {
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(XtaskError::file(file)(error)),
        }
    }

    fn parse(text: &str) -> Result<Self, XtaskError> {
        let unreadable = |line: &str| XtaskError::Unreadable {
            what: "the baseline of instructions".to_owned(),
            problem: line.to_owned(),
        };
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let pairs = lines.map(|line| {
            let (name, count) = line.split_once(' ').ok_or_else(|| unreadable(line))?;
            Ok((name.to_owned(), count.trim().parse().map_err(|_| unreadable(line))?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// Takes in what was counted, and forgets paths that are no more.
    pub(super) fn bless(&mut self, counts: &Counts, exists: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| exists(name));
        let least = counts.iter().filter_map(|(name, counts)| Some((name.clone(), *counts.iter().min()?)));
        self.0.extend(least);
    }

    pub(super) fn write(&self, file: &Path) -> Result<(), XtaskError> {
        std::fs::write(file, self.text()).map_err(XtaskError::file(file))
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (name, count) in &self.0 {
            writeln!(text, "{name} {count}").expect("writing to a String cannot fail");
        }
        text
    }

    pub(super) fn of(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    pub(super) fn verdict(&self, name: &str, count: u64) -> Verdict {
        let Some(known) = self.of(name) else { return Verdict::Unknown };
        match percent(count, known) {
            change if change > TOLERANCE => Verdict::Worse(change),
            change if change < -TOLERANCE => Verdict::Better(change),
            change => Verdict::Same(change),
        }
    }
}

impl Verdict {
    pub(super) fn change(&self) -> String {
        match self {
            Self::Better(change) | Self::Same(change) | Self::Worse(change) => format!("{change:+.2}%"),
            Self::Unknown => String::new(),
        }
    }

    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Better(_) => "better: bless it",
            Self::Same(_) => "ok",
            Self::Unknown => "UNKNOWN",
            Self::Worse(_) => "WORSE",
        }
    }
}

/// How much more than `known` a count is, in percent.
pub(super) fn percent(count: u64, known: u64) -> f64 {
    let float = |count: u64| u32::try_from(count).map_or(f64::MAX, f64::from);
    (float(count) / float(known.max(1)) - 1.0) * 100.0
}

/// Percent that compilers, C libraries and seeds of hashes may make.
const TOLERANCE: f64 = 5.0;

const HEAD: &str =
    "# Instructions of each hot path, once. Compared and rewritten by `cargo xtask instructions`.\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_more_than_it_may_is_worse() {
        let baseline = Baseline::parse("# head\npolicy 1000\n").unwrap();
        assert_eq!(baseline.verdict("policy", 1051).word(), "WORSE");
        assert_eq!(baseline.verdict("policy", 1049).word(), "ok");
        assert_eq!(baseline.verdict("policy", 949).word(), "better: bless it");
        assert_eq!(baseline.verdict("relay", 1).word(), "UNKNOWN");
        assert_eq!(baseline.verdict("policy", 1051).change(), "+5.10%");
    }

    #[test]
    fn what_is_blessed_is_read_again_and_what_is_gone_forgotten() {
        let mut baseline = Baseline::parse("gone 1\nkept 2\nmeasured 3\n").unwrap();
        baseline.bless(&Counts::from([("measured".to_owned(), vec![9, 7])]), |name| name != "gone");
        let text = baseline.text();
        assert!(text.ends_with("kept 2\nmeasured 7\n"), "{text}");
        assert_eq!(Baseline::parse(&text).unwrap(), baseline);
        assert!(Baseline::parse("policy many").is_err());
    }
}
