//! Why a step is not done.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use certs::{AuthorityError, ParseRootsError};
use cluster::kubernetes::{ApiError, ConnectError};
use daemon::admin::AskError;
use daemon::config::{ConfigErrors, Value};

use crate::ca::files::FileError;
use crate::ca::root::RootError;

/// Why a step of a rotation is not done. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The API server refuses, or does not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A CA or daemon does not answer, and may be about to be cut off.
    #[error("{who} cannot be asked", who = who.display())]
    Ask {
        /// Its socket.
        who: PathBuf,
        /// Why not.
        #[source]
        source: AskError,
    },
    /// The root is an operator's.
    #[error(
        "root in {place} was brought: its successor's files are put beside it by hand, as the manual says"
    )]
    Brought {
        /// Where it is.
        place: String,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The cluster's API server.
    #[error("trust.kubernetes cannot be used")]
    Connect(#[from] ConnectError),
    /// The note that an earlier step left is none.
    #[error("{path} cannot be read")]
    Damaged {
        /// Where it is.
        path: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// It is too early.
    #[error("it is too early: come again in {}", left.show())]
    Early {
        /// How long it is yet.
        left: Duration,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// No root can be made.
    #[error("no root can be made")]
    Make(#[source] AuthorityError),
    /// The step before was not done, or not to its end.
    #[error("{missing} comes first: `ztunnel ca rotate {missing}`")]
    Missing {
        /// That step.
        missing: &'static str,
    },
    /// Nobody says whether what was changed has arrived.
    #[error(
        "nobody can be asked whether the new root has arrived: set listen.adminSocket, or name sockets with --ca"
    )]
    NobodyToAsk,
    /// Somebody has not followed.
    #[error("not yet everywhere: {}", who.join(", "))]
    NotEverywhere {
        /// Who has not, and what not.
        who: Vec<String>,
    },
    /// Standard output.
    #[error("answer cannot be printed")]
    Print(#[source] io::Error),
    /// Somebody else has written meanwhile.
    #[error("{place} was changed meanwhile: once more")]
    Raced {
        /// Where.
        place: String,
    },
    /// The root that is there.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A list of roots.
    #[error("{path} holds no usable roots")]
    Roots {
        /// Where it is.
        path: String,
        /// What is wrong.
        #[source]
        source: ParseRootsError,
    },
    /// The runtime.
    #[error("the system grants no event queue")]
    Runtime(#[source] io::Error),
    /// Another rotation is not at its end.
    #[error("root {new} signs already, and {old} is not retired: `ztunnel ca rotate retire` comes first")]
    Underway {
        /// The root that signs.
        new: String,
        /// The root that is to go.
        old: String,
    },
}
