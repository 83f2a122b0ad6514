//! Open files.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::XtaskError;

/// Allows this process as many open files as it may have.
pub(super) fn raise() -> Result<(), XtaskError> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(std::io::Error::from)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(std::io::Error::from)?;
    Ok(())
}
