//! Why a lab could not do what it was told.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a lab could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A socket, a file, a process.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A file.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What about it.
        #[source]
        source: io::Error,
    },
    /// A manifest that is not what it should be.
    #[error("manifest {name}: {problem}")]
    Manifest {
        /// File or object.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A program that is not there.
    #[error("no program {0}: build it, or name it in the environment")]
    NoProgram(PathBuf),
    /// A program that ended with an error.
    #[error("{command}: {status}\n{output}")]
    Program {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        output: String,
    },
    /// Something that should have happened by then.
    #[error("{what} within {waited:?}")]
    Timeout {
        /// What did not happen, as a sentence.
        what: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// An answer or a record that cannot be read.
    #[error("{what}: {problem}")]
    Unreadable {
        /// What was read.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl LabError {
    /// Names the file that an error is about.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// Whether it is that something did not happen in time.
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }
}
