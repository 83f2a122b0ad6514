//! Bans and licences, from the file that cargo-deny reads, and where dependencies come from.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cargo::{cargo, root};
use crate::error::XtaskError;
use crate::tidy::{Finding, licenses, read};

/// Checks what the workspace depends on against `.cargo/deny.toml`, and that it is published.
pub(super) fn check() -> Result<Vec<Finding>, XtaskError> {
    let rules = read(Path::new(RULES))?;
    let (banned, allowed) = (list(&rules, "deny"), list(&rules, "allow"));
    let mut findings = Vec::new();
    for package in built()? {
        let Package { name, version, origin, license } = &package;
        let place = format!("{name} {version}");
        if !origin.is_empty() && !Path::new(origin).starts_with(root()) {
            findings.push(Finding::new(&place, format!("comes from {origin}, not from the registry")));
        }
        if banned.contains(name) {
            findings.push(Finding::new(&place, "is banned"));
        }
        if !licenses::permits(license, &allowed) {
            findings.push(Finding::new(&place, format!("its licence {license:?} is not allowed")));
        }
    }
    Ok(findings)
}

/// A package that is built.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    /// A folder, a repository or another registry; empty for the registry that is cargo's own.
    origin: String,
    license: String,
}

/// The packages that are built for this machine. Not what the lock file has: that keeps what optional features could ask
/// for, and nobody does.
fn built() -> Result<BTreeSet<Package>, XtaskError> {
    let mut tree = cargo();
    tree.args(["tree", "--workspace", "--locked", "--prefix", "none", "--no-dedupe", "-f", "{p}|{l}"]);
    let output = tree.output().map_err(XtaskError::file("cargo"))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(XtaskError::Command { command: "cargo tree".to_owned(), status: output.status });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(Package::read).collect())
}

impl Package {
    /// `name v1.2.3 (proc-macro) (where from)|licence`
    fn read(line: &str) -> Option<Self> {
        let (package, license) = line.split_once('|')?;
        let mut words = package.split(' ');
        let [name, version] = [words.next()?, words.next()?].map(str::to_owned);
        let rest: Vec<_> = words.filter(|word| *word != "(proc-macro)").collect();
        let origin = rest.join(" ").trim_matches(['(', ')']).to_owned();
        Some(Self { name, version, origin, license: license.to_owned() })
    }
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
    fn a_package_says_where_it_comes_from() {
        let origin = |line: &str| Package::read(line).unwrap().origin;
        assert_eq!(origin("serde_derive v1.0.229 (proc-macro)|MIT OR Apache-2.0"), "");
        assert_eq!(origin("mesh v0.1.0 (/src/ztunnel/mesh)|Apache-2.0"), "/src/ztunnel/mesh");
        assert_eq!(origin("h2 v0.4.0 (https://example.test/h2#1a2b)|MIT"), "https://example.test/h2#1a2b");
    }

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
