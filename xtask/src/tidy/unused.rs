//! Dependencies that nothing uses.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cargo::{Dependency, Package};
use crate::error::XtaskError;
use crate::tidy::{Finding, code, read};

/// Checks that the sources of each package name each of its dependencies, and that the exceptions are needed.
pub(super) fn check(files: &[PathBuf], packages: &[Package]) -> Result<Vec<Finding>, XtaskError> {
    let mut findings = Vec::new();
    for package in packages {
        let words = Words::of(package, files, packages)?;
        let excepted = EXCEPTIONS.iter().filter(|(of, ..)| *of == package.name);
        let excepted: BTreeSet<_> = excepted.map(|(_, name, _)| *name).collect();
        let manifest = package.folder().join("Cargo.toml");
        let unused = words.unused(&package.dependencies);
        let strange = unused.difference(&excepted);
        findings.extend(strange.map(|it| Finding::new(manifest.display(), format!("{it} is used nowhere"))));
        let needless = excepted.difference(&unused);
        let needless = needless.map(|it| format!("{it} needs no exception in xtask/src/tidy"));
        findings.extend(needless.map(|problem| Finding::new(manifest.display(), problem)));
    }
    Ok(findings)
}

/// The identifiers in a package's sources.
#[derive(Default)]
struct Words {
    /// In what is built for those who depend on it, its unit tests included.
    product: BTreeSet<String>,
    /// In tests, benches and build scripts of their own.
    beside: BTreeSet<String>,
}

impl Words {
    fn of(package: &Package, files: &[PathBuf], packages: &[Package]) -> Result<Self, XtaskError> {
        let mut words = Self::default();
        let sources = files.iter().filter(|path| path.extension().is_some_and(|it| it == "rs"));
        for path in sources.filter(|path| owner(path, packages) == Some(package.folder())) {
            let inside = path.strip_prefix(package.folder()).unwrap_or(path);
            let is_beside = BESIDE.iter().any(|folder| inside.starts_with(folder));
            let found = if is_beside { &mut words.beside } else { &mut words.product };
            found.extend(identifiers(&code::without_texts(&read(path)?)));
        }
        Ok(words)
    }

    fn unused<'d>(&self, dependencies: &'d [Dependency]) -> BTreeSet<&'d str> {
        let unused = dependencies.iter().filter(|dependency| {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name).replace('-', "_");
            let is_plain = dependency.kind.is_none();
            !self.product.contains(&name) && (is_plain || !self.beside.contains(&name))
        });
        unused.map(|dependency| dependency.name.as_str()).collect()
    }
}

/// The folder of the package that a source belongs to: packages lie within others.
fn owner<'p>(path: &Path, packages: &'p [Package]) -> Option<&'p Path> {
    let folders = packages.iter().map(Package::folder).filter(|folder| path.starts_with(folder));
    folders.max_by_key(|folder| folder.iter().count())
}

fn identifiers(code: &str) -> impl Iterator<Item = String> {
    let words = code.split(|it: char| !it.is_alphanumeric() && it != '_');
    words.filter(|word| !word.is_empty()).map(str::to_owned)
}

/// What is not linked into the package itself.
const BESIDE: &[&str] = &["benches", "build.rs", "examples", "tests"];

/// Package, dependency, and why it is there although no source names it.
const EXCEPTIONS: &[(&str, &str, &str)] = &[("certs", "rustls-webpki", "its library is called webpki")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_used_where_an_identifier_names_it() {
        let words = Words {
            product: identifiers(&code::without_texts("use one_two::A; // three\n")).collect(),
            beside: identifiers("four::five()").collect(),
        };
        let dependency = |name: &str, kind: Option<&str>, rename: Option<&str>| Dependency {
            name: name.to_owned(),
            rename: rename.map(str::to_owned),
            kind: kind.map(str::to_owned),
            path: None,
        };
        let dependencies = [
            dependency("one-two", None, None),
            dependency("three", Some("dev"), None),
            dependency("four", Some("dev"), None),
            dependency("five", None, None),
            dependency("six", None, Some("one_two")),
            dependency("two", None, None),
        ];
        assert_eq!(words.unused(&dependencies), ["five", "three", "two"].into());
    }

    #[test]
    fn sources_belong_to_the_innermost_package() {
        let package = |folder: &str| Package {
            name: folder.to_owned(),
            manifest_path: PathBuf::from(folder).join("Cargo.toml"),
            dependencies: Vec::new(),
            targets: Vec::new(),
        };
        let packages = [package("a"), package("a/b")];
        let owner = |path: &str| owner(Path::new(path), &packages).map(Path::to_owned);
        assert_eq!(owner("a/src/x.rs"), Some("a".into()));
        assert_eq!(owner("a/b/src/x.rs"), Some("a/b".into()));
        assert_eq!(owner("c/src/x.rs"), None);
    }
}
