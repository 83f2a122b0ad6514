//! `cargo xtask tidy`: rules of the tree that no compiler checks.

mod code;
mod dependencies;
mod layers;
mod layout;
mod licenses;
mod sources;
mod unused;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::cargo::{Metadata, root};
use crate::error::XtaskError;

/// Checks sizes, layers, dependencies and the README's code map; fails on the least finding.
#[derive(Clone, Debug, Args)]
pub(crate) struct TidyArgs {}

/// A rule that is not kept, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    place: String,
    problem: String,
}

impl TidyArgs {
    pub(crate) fn run(self) -> Result<(), XtaskError> {
        let files = tracked_files()?;
        let workspace = Metadata::of_workspace()?;
        let mut findings = layout::check(&files, &workspace)?;
        findings.extend(layers::check(&workspace.packages));
        findings.extend(sources::check(&files)?);
        findings.extend(dependencies::check()?);
        findings.extend(unused::check(&files, &workspace.packages)?);
        findings.sort();
        for finding in &findings {
            println!("{finding}");
        }
        if findings.is_empty() {
            println!("tidy: {} files, no findings", files.len());
            return Ok(());
        }
        Err(XtaskError::Untidy(findings.len()))
    }
}

impl Finding {
    fn new(place: impl fmt::Display, problem: impl Into<String>) -> Self {
        Self { place: place.to_string(), problem: problem.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// Files that git has, or would take, from the workspace's folder on.
fn tracked_files() -> Result<Vec<PathBuf>, XtaskError> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().map_err(XtaskError::file("git"))?;
    if !output.status.success() {
        return Err(XtaskError::Command { command: "git ls-files".to_owned(), status: output.status });
    }
    let names = String::from_utf8_lossy(&output.stdout);
    let paths = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    // Deleted and not yet committed.
    let mut paths: Vec<_> = paths.filter(|path| root().join(path).exists()).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, XtaskError> {
    std::fs::read_to_string(root().join(path)).map_err(XtaskError::file(path))
}
