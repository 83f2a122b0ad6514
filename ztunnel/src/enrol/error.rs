//! What can go wrong with one pod.

use std::io;
use std::path::PathBuf;

use super::{PodUid, StateError};
use crate::redirect::{CaptureError, CaptureProblem, ListenError};

/// Why a pod is not enrolled, or not released.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The namespace is some other pod's.
    #[error("namespace holds none of the pod's addresses")]
    AddressMissing,
    /// Rules or routes.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Installed, and yet not in force.
    #[error(transparent)]
    Ineffective(#[from] CaptureProblem),
    /// Listeners.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Sockets for netlink.
    #[error("netlink cannot be used in the pod's namespace")]
    Netlink(#[source] io::Error),
    /// The namespace could not be opened.
    #[error("namespace {} cannot be opened", path.display())]
    Netns {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The pod was enrolled with another namespace before.
    #[error("namespace is gone, and one with the pod's addresses may be another pod's")]
    NetnsGone,
    /// Another pod is enrolled with that namespace.
    #[error("namespace is that of pod {0}, which is enrolled")]
    NetnsTaken(PodUid),
    /// No namespace holds the pod's addresses.
    #[error("no namespace with the pod's addresses is mounted")]
    NetnsUnknown,
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// Not enrolled.
    #[error("pod {0} is not enrolled")]
    Unknown(PodUid),
}
