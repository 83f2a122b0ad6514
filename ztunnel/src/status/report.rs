//! The daemon's answers, for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::enrol::{PodPhase, PodStatus};

/// What there is to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pods: Vec<PodStatus>,
    #[serde(flatten)]
    source: Source,
}

/// What the daemon says of its manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
struct Source {
    problems: Vec<String>,
    notes: Vec<String>,
    ignored: Vec<String>,
}

impl Report {
    pub(super) fn read(source: &str, pods: &str) -> serde_json::Result<Self> {
        // Null until the daemon has read its manifests.
        let source = serde_json::from_str::<Option<Source>>(source)?.unwrap_or_default();
        Ok(Self { pods: serde_json::from_str(pods)?, source })
    }

    /// How much there is to mend. What is ignored is not: it may be meant for somebody else.
    pub(super) fn findings(&self) -> usize {
        let failed = self.pods.iter().filter(|pod| pod.phase == PodPhase::Failed).count();
        failed + self.source.problems.len() + self.source.notes.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "PODS: {}", self.pods.len())?;
        for PodStatus { pod, phase, problem, .. } in &self.pods {
            let phase = match phase {
                PodPhase::Captured => "captured",
                PodPhase::Draining => "draining",
                PodPhase::Failed => "NOT CAPTURED",
            };
            let problem = problem.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
            writeln!(f, "  {}/{}  {phase}{problem}", pod.namespace, pod.name)?;
        }
        let Source { problems, notes, ignored } = &self.source;
        section(f, "BROKEN (what was last read of them stays in force)", problems)?;
        section(f, "NOT IN FORCE AS WRITTEN", notes)?;
        section(f, "IGNORED", ignored)
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    writeln!(
        f,
        "{title}: {}",
        if lines.is_empty() { "nothing".to_owned() } else { lines.len().to_string() }
    )?;
    lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_not_in_force_is_printed_and_counts_but_for_what_is_ignored() {
        let source = r#"{"problems": [], "notes": ["a: b"], "ignored": ["VirtualService shop/routes: no"]}"#;
        let report = Report::read(source, "[]").unwrap();
        let text = "PODS: 0\nBROKEN (what was last read of them stays in force): nothing\n\
                    NOT IN FORCE AS WRITTEN: 1\n  a: b\nIGNORED: 1\n  VirtualService shop/routes: no\n";
        assert_eq!((report.to_string().as_str(), report.findings()), (text, 1));
    }

    #[test]
    fn a_daemon_that_has_read_nothing_yet_has_nothing_to_say() {
        assert_eq!(Report::read("null", "[]").unwrap().findings(), 0);
    }
}
