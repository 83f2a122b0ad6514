//! The top level, and the README's map of the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cargo::Metadata;
use crate::error::XtaskError;
use crate::tidy::{Finding, read};

/// Checks that the top level is as it is fixed, and that the README's code map names every crate and nothing else.
pub(super) fn check(files: &[PathBuf], workspace: &Metadata) -> Result<Vec<Finding>, XtaskError> {
    let mut findings = top_level(files);
    let crates = workspace.packages.iter().map(|package| package.folder().display().to_string());
    let folders: BTreeSet<_> = crates.chain([String::from("deploy")]).collect();
    findings.extend(code_map(&read(Path::new(README))?, &folders));
    Ok(findings)
}

fn top_level(files: &[PathBuf]) -> Vec<Finding> {
    let there: BTreeSet<_> = files.iter().filter_map(|path| path.iter().next()?.to_str()).collect();
    let strange = there.iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(name));
    let strange = strange.map(|name| Finding::new(name, "is not of the top level, which is fixed"));
    let missing = TOP_LEVEL.iter().filter(|name| !there.contains(*name));
    strange.chain(missing.map(|name| Finding::new(name, "is missing at the top level"))).collect()
}

/// The map is a table whose first column is a folder in backquotes.
fn code_map(readme: &str, folders: &BTreeSet<String>) -> Vec<Finding> {
    let section = readme.split("\n## ").find(|section| section.starts_with(MAP)).unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let named: BTreeSet<_> = rows.map(|folder| folder.trim_end_matches('/').to_owned()).collect();
    let missing = folders.difference(&named);
    let missing = missing.map(|it| Finding::new(README, format!("its {MAP} does not name the folder {it}")));
    let gone = named.difference(folders);
    missing
        .chain(gone.map(|it| Finding::new(README, format!("its {MAP} names {it}, which is no crate"))))
        .collect()
}

const README: &str = "README.md";

/// The section of the README that maps folders to what is in them.
const MAP: &str = "Code map";

const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "deploy",
    "tests",
    "waypoint",
    "xtask",
    "ztunnel",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_names_each_crate_and_no_other() {
        let readme =
            "# A\n\n## Code map\n\n| folder | story |\n|---|---|\n| `one` | x |\n| `gone/` | x |\n\n## B\n";
        let folders = ["one".to_owned(), "two".to_owned()].into();
        let found: Vec<_> = code_map(readme, &folders).into_iter().map(|it| it.problem).collect();
        let want =
            ["its Code map does not name the folder two", "its Code map names gone, which is no crate"];
        assert_eq!(found, want);
    }
}
