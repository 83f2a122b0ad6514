//! What cargo knows of the workspace, and running it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::XtaskError;

/// The part of `cargo metadata` that the tasks need.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

/// A package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// What a package depends on.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// What the package calls it, if not by its name.
    pub(crate) rename: Option<String>,
    /// `dev`, `build` or nothing.
    pub(crate) kind: Option<String>,
    /// Where it is, if it is of the workspace.
    pub(crate) path: Option<PathBuf>,
}

/// What a package is built into.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    /// Features of its package without which it is not built.
    #[serde(default, rename = "required-features")]
    pub(crate) features: Vec<String>,
}

impl Metadata {
    /// The packages of the workspace.
    pub(crate) fn of_workspace() -> Result<Self, XtaskError> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1", "--locked", "--no-deps"]);
        let output = command.output().map_err(XtaskError::file("cargo"))?;
        if !output.status.success() {
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            return Err(XtaskError::Command { command: "cargo metadata".to_owned(), status: output.status });
        }
        let unreadable = |error: serde_json::Error| XtaskError::Unreadable {
            what: "cargo metadata".to_owned(),
            problem: error.to_string(),
        };
        serde_json::from_slice(&output.stdout).map_err(unreadable)
    }
}

impl Package {
    /// Its folder, from the workspace's.
    pub(crate) fn folder(&self) -> &Path {
        let folder = self.manifest_path.parent().unwrap_or(&self.manifest_path);
        folder.strip_prefix(root()).unwrap_or(folder)
    }
}

/// Cargo, as it runs this program, in the workspace's folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command with its output on the terminal.
pub(crate) fn run(command: &mut Command) -> Result<(), XtaskError> {
    let status = command.status().map_err(XtaskError::file(command.get_program()))?;
    if status.success() { Ok(()) } else { Err(XtaskError::Command { command: words(command), status }) }
}

/// The command as one would type it.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_else(|| command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is in a folder of the workspace")
}

/// Where builds go.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}
