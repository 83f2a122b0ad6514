//! Reading what cargo prints of tests.

/// What became of tests.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) programs: Vec<Counts>,
    /// Names of tests that failed, and commands that failed for another reason.
    pub(super) failures: Vec<String>,
}

/// What became of the tests of one program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) name: String,
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) seconds: String,
}

/// Reads line by line.
#[derive(Debug, Default)]
pub(super) struct Reader {
    outcome: Outcome,
    program: String,
}

impl Outcome {
    pub(super) fn add(&mut self, other: Self) {
        self.programs.extend(other.programs.into_iter().filter(|it| it.passed + it.failed > 0));
        self.failures.extend(other.failures);
    }

    /// Tests that passed; tests that failed, and commands that failed without any.
    pub(super) fn counts(&self) -> (usize, usize) {
        let passed = self.programs.iter().map(|it| it.passed).sum();
        let failed = self.programs.iter().map(|it| it.failed).sum::<usize>();
        (passed, failed.max(self.failures.len()))
    }
}

impl Reader {
    pub(super) fn line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(program) = line.strip_prefix("Running ") {
            program_of(program).clone_into(&mut self.program);
        } else if let Some(name) = line.strip_prefix("Doc-tests ") {
            self.program = format!("{name} (doc)");
        } else if let Some(name) = line.strip_prefix("test ").and_then(|it| it.strip_suffix(" ... FAILED")) {
            self.outcome.failures.push(format!("{} in {}", name, self.program));
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.outcome.programs.extend(Counts::read(&self.program, result));
        }
    }

    /// What was read; a command that fails without a failed test has failed by itself.
    pub(super) fn end(mut self, success: bool, command: &str) -> Outcome {
        if !success && self.outcome.failures.is_empty() {
            self.outcome.failures.push(command.to_owned());
        }
        self.outcome
    }
}

impl Counts {
    /// `ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 3.51s`
    fn read(name: &str, result: &str) -> Option<Self> {
        let count = |what: &str| result.split(what).next()?.rsplit([' ', ';']).next()?.parse().ok();
        let seconds = result.rsplit_once("finished in ").map_or("", |(_, it)| it.trim_end_matches('s'));
        let (passed, failed) = (count(" passed")?, count(" failed")?);
        Some(Self { name: name.to_owned(), passed, failed, seconds: seconds.to_owned() })
    }
}

/// `unittests src/lib.rs (target/debug/deps/harness-0123456789abcdef)` is of harness.
fn program_of(running: &str) -> &str {
    let path = running.rsplit_once('(').map_or(running, |(_, path)| path.trim_end_matches(')'));
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rsplit_once('-').map_or(file, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_failures_are_read_from_cargos_lines() {
        let mut reader = Reader::default();
        for line in [
            "     Running suites/lab/main.rs (target/debug/deps/lab-98216877aa39c222)",
            "test a_lab_leaves_nothing_behind ... FAILED",
            "test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 3.51s",
        ] {
            reader.line(line);
        }
        let outcome = reader.end(false, "cargo test");
        let lab = Counts { name: "lab".into(), passed: 4, failed: 1, seconds: "3.51".into() };
        assert_eq!(outcome.programs, [lab]);
        assert_eq!(outcome.failures, ["a_lab_leaves_nothing_behind in lab"]);
        assert_eq!(outcome.counts(), (4, 1));
    }

    #[test]
    fn a_command_that_fails_without_tests_counts_as_a_failure() {
        let outcome = Reader::default().end(false, "cargo test");
        assert_eq!(outcome.counts(), (0, 1));
    }
}
