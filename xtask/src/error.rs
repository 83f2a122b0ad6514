//! Why a task did not succeed.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use harness::LabError;

/// Why a task did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XtaskError {
    #[error("{command} ended with {status}")]
    Command { command: String, status: ExitStatus },
    #[error("{}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} fuzz targets failed")]
    Fuzz(usize),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("more instructions than before: {0}")]
    MoreInstructions(String),
    #[error("the suites with a control plane need Go {wanted} or newer, which is not there")]
    NoGo { wanted: String },
    #[error("network namespaces need root, run:\n\n    sudo env \"PATH=$PATH\" cargo xtask {0}\n")]
    NotRoot(String),
    #[error("these programs are missing: {missing}; run:\n\n    {line}\n")]
    Packages { missing: String, line: String },
    #[error("the demo saw what it should not: {0}")]
    Surprise(String),
    #[error("{0} failed")]
    Tests(usize),
    #[error("{0} findings")]
    Untidy(usize),
    #[error("there is no path {name}; there are: {known}")]
    UnknownPath { name: String, known: String },
    #[error("there is no suite {name}; there are: {known}")]
    UnknownSuite { name: String, known: String },
    #[error("there is no fuzz target {name}; there are: {known}")]
    UnknownTarget { name: String, known: String },
    #[error("{what} cannot be understood: {problem}")]
    Unreadable { what: String, problem: String },
}

impl XtaskError {
    /// Names the file that an error is about.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
