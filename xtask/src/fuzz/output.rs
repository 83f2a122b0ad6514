//! Reading what libFuzzer prints.

use std::fmt;

/// What became of a target.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) target: String,
    /// How many inputs were tried.
    pub(super) runs: u64,
    /// How many edges of its code they reached.
    pub(super) covered: u64,
    pub(super) success: bool,
    /// The input that it failed on.
    pub(super) artifact: Option<String>,
}

impl Outcome {
    /// Reads all that a target printed.
    pub(super) fn read(target: &str, output: &str, success: bool) -> Self {
        let mut outcome = Self { target: target.to_owned(), runs: 0, covered: 0, success, artifact: None };
        for line in output.lines() {
            if let Some((_, path)) = line.split_once("Test unit written to ") {
                outcome.artifact = Some(path.trim().to_owned());
            }
            // `#2048  pulse  cov: 417 ft: 520 corp: 23/1004b ...`
            let Some((runs, rest)) = line.strip_prefix('#').and_then(|it| it.split_once(char::is_whitespace))
            else {
                continue;
            };
            let covered =
                rest.split_once("cov: ").and_then(|(_, it)| it.split_whitespace().next()?.parse().ok());
            outcome.runs = runs.parse().unwrap_or(outcome.runs);
            outcome.covered = covered.unwrap_or(outcome.covered);
        }
        outcome
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.success { "ok" } else { "FAILED" };
        write!(f, "fuzz {}: {verdict}, {} runs, {} edges covered", self.target, self.runs, self.covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_the_failing_input_are_read() {
        let output = "INFO: seed corpus: files: 2\n#3\tINITED cov: 100 ft: 120 corp: 2/40b exec/s: 0 rss: 31Mb\n\
                      #2048\tpulse  cov: 417 ft: 520 corp: 23/1004b lim: 48 exec/s: 1024 rss: 33Mb\n\
                      artifact_prefix='a/'; Test unit written to a/crash-12\n";
        let want = Outcome {
            target: "dns".into(),
            runs: 2048,
            covered: 417,
            success: false,
            artifact: Some("a/crash-12".into()),
        };
        assert_eq!(Outcome::read("dns", output, false), want);
    }

    #[test]
    fn output_of_a_program_that_never_began_counts_nothing() {
        let outcome = Outcome::read("dns", "error: no such file\n#x\n", false);
        assert_eq!((outcome.runs, outcome.covered, outcome.artifact), (0, 0, None));
    }
}
