//! Bans and licences, from the file that cargo-deny reads.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cargo::cargo;
use crate::error::XtaskError;
use crate::tidy::{Finding, licenses, read};

/// Checks what the workspace depends on against `.cargo/deny.toml`.
pub(super) fn check() -> Result<Vec<Finding>, XtaskError> {
    let rules = read(Path::new(RULES))?;
    let (banned, allowed) = (list(&rules, "deny"), list(&rules, "allow"));
    let mut findings = Vec::new();
    for package in built()? {
        let [name, version, license] = [0, 1, 2].map(|at| package.split('\t').nth(at).unwrap_or_default());
        let place = format!("{name} {version}");
        if banned.iter().any(|it| it == name) {
            findings.push(Finding::new(&place, "is banned"));
        }
        if !licenses::permits(license, &allowed) {
            findings.push(Finding::new(&place, format!("its licence {license:?} is not allowed")));
        }
    }
    Ok(findings)
}

/// Name, version and licence of each package that is built for this machine. Not what the lock file has: that keeps
/// what optional features could ask for, and nobody does.
fn built() -> Result<BTreeSet<String>, XtaskError> {
    let mut tree = cargo();
    tree.args(["tree", "--workspace", "--locked", "--prefix", "none", "--no-dedupe", "-f", "{p}|{l}"]);
    let output = tree.output().map_err(XtaskError::file("cargo"))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(XtaskError::Command { command: "cargo tree".to_owned(), status: output.status });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // `name v1.2.3 (where from)|licence`
    let package = |line: &str| {
        let (package, license) = line.split_once('|')?;
        let mut words = package.split(' ');
        Some(format!("{}\t{}\t{license}", words.next()?, words.next()?))
    };
    Ok(text.lines().filter_map(package).collect())
}

/// The texts in the list of that name: as much of TOML as the file uses.
fn list(rules: &str, name: &str) -> Vec<String> {
    let start = rules.find(&format!("\n{name} = [")).unwrap_or(rules.len());
    let end = rules[start..].find("]\n").map_or(rules.len(), |at| start + at);
    rules[start..end].split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

const RULES: &str = ".cargo/deny.toml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_file_writes_them() {
        let rules =
            "[bans]\ndeny = [{ name = \"a\" }, { name = \"b\" }]\n[licenses]\nallow = [\n    \"MIT\",\n]\n";
        assert_eq!(
            (list(rules, "deny"), list(rules, "allow")),
            (vec!["a".into(), "b".into()], vec!["MIT".into()])
        );
        assert!(list(rules, "other").is_empty());
    }
}
