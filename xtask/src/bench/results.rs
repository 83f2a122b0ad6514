//! Samples, their medians, and the file that keeps them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::bench::metric::Metric;
use crate::cargo::{root, target_folder};
use crate::error::XtaskError;

/// What a run of the bench has measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Results {
    /// Short hash of the commit, with a mark where files differ from it.
    pub(super) commit: String,
    /// Processors and kernel.
    pub(super) machine: String,
    /// As they are shown, left to right.
    pub(super) contenders: Vec<String>,
    pub(super) rounds: u32,
    pub(super) seconds: u32,
    samples: Vec<Samples>,
}

/// All that was measured of one thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Samples {
    metric: Metric,
    /// By contender.
    values: BTreeMap<String, Vec<f64>>,
}

impl Results {
    pub(super) fn new(contenders: Vec<String>, rounds: u32, seconds: u32) -> Self {
        let (commit, machine) = (commit(), machine());
        Self { commit, machine, contenders, rounds, seconds, samples: Vec::new() }
    }

    /// Adds a sample; metrics are shown in the order of their first.
    pub(super) fn add(&mut self, metric: Metric, contender: &str, value: f64) {
        let at = self.samples.iter().position(|it| it.metric == metric).unwrap_or_else(|| {
            self.samples.push(Samples { metric, values: BTreeMap::new() });
            self.samples.len() - 1
        });
        self.samples[at].values.entry(contender.to_owned()).or_default().push(value);
    }

    pub(super) fn metrics(&self) -> impl Iterator<Item = &Metric> {
        self.samples.iter().map(|it| &it.metric)
    }

    /// The median of what was measured of a contender.
    pub(super) fn median(&self, metric: &Metric, contender: &str) -> Option<f64> {
        let samples = self.samples.iter().find(|it| it.metric == *metric)?;
        median(samples.values.get(contender)?)
    }

    /// Reads what an earlier run has kept in that folder: a file, or the commit that it was of.
    pub(super) fn read(folder: &Path, name: &str) -> Result<Self, XtaskError> {
        let path =
            if name.ends_with(".json") { PathBuf::from(name) } else { folder.join(format!("{name}.json")) };
        let text = fs::read_to_string(&path).map_err(XtaskError::file(&path))?;
        let unreadable = |error: serde_json::Error| XtaskError::Unreadable {
            what: path.display().to_string(),
            problem: error.to_string(),
        };
        serde_json::from_str(&text).map_err(unreadable)
    }

    /// Keeps them in that folder as JSON, and `report` beside them; hands out where the report is.
    pub(super) fn write(&self, folder: &Path, report: &str) -> Result<PathBuf, XtaskError> {
        fs::create_dir_all(folder).map_err(XtaskError::file(folder))?;
        let text = serde_json::to_string_pretty(self).expect("results can be written");
        for (kind, text) in [("json", text.as_str()), ("md", report)] {
            let path = folder.join(format!("{}.{kind}", self.commit));
            fs::write(&path, text).map_err(XtaskError::file(path))?;
        }
        Ok(folder.join(format!("{}.md", self.commit)))
    }
}

/// The middle one, or between the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// Where reports are kept.
pub(super) fn folder() -> PathBuf {
    target_folder().join("bench")
}

fn commit() -> String {
    let git = |arguments: &[&str]| Command::new("git").current_dir(root()).args(arguments).output().ok();
    let hash = git(&["rev-parse", "--short", "HEAD"])
        .map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    let hash = hash.filter(|it| !it.is_empty()).unwrap_or_else(|| "unknown".to_owned());
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|it| !it.stdout.is_empty());
    if changed { format!("{hash}-changed") } else { hash }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default();
    format!("{cores} processors, Linux {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::metric::Unit;

    #[test]
    fn what_is_kept_is_read_back_by_its_commit_or_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("bench");
        let metric = |unit| Metric::new("between nodes", "bulk, streams: 1", unit);
        let mut results = Results::new(vec!["direct".to_owned(), "ours".to_owned()], 3, 4);
        results.commit = "1da960d-changed".to_owned();
        results.add(metric(Unit::Gigabits), "direct", 24.9);
        for value in [9.6, 9.2, 10.1] {
            results.add(metric(Unit::Gigabits), "ours", value);
        }
        results.add(metric(Unit::CpuPerGib), "ours", 1.14);
        let report = results.write(&kept, "# A report\n").unwrap();
        assert_eq!(report, kept.join("1da960d-changed.md"));
        assert_eq!(fs::read_to_string(&report).unwrap(), "# A report\n");
        let file = kept.join("1da960d-changed.json").display().to_string();
        for name in ["1da960d-changed", &file] {
            let read = Results::read(&kept, name).unwrap();
            assert_eq!((&read.commit, &read.machine), (&results.commit, &results.machine));
            assert_eq!((&read.contenders, read.rounds, read.seconds), (&results.contenders, 3, 4));
            assert!(read.metrics().eq(results.metrics()));
            assert_eq!(read.median(&metric(Unit::Gigabits), "ours"), Some(9.6));
            assert_eq!(read.median(&metric(Unit::Gigabits), "direct"), Some(24.9));
            assert_eq!(read.median(&metric(Unit::CpuPerGib), "direct"), None);
        }
    }

    #[test]
    fn what_was_not_kept_or_is_no_report_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let told = Results::read(folder.path(), "21ed68a").unwrap_err().to_string();
        assert_eq!(told, folder.path().join("21ed68a.json").display().to_string());
        let path = folder.path().join("other.json");
        fs::write(&path, "{}").unwrap();
        let told = Results::read(folder.path(), "other").unwrap_err().to_string();
        assert!(told.starts_with(&format!("{} cannot be understood: ", path.display())), "{told}");
    }

    #[test]
    fn a_median_is_between_the_two_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
