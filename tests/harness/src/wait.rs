//! Waiting for what other processes do.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::LabError;

/// How long anything may take that should take no time.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Asks again and again until there is an answer, for [`PATIENCE`]. `what` says what did not happen.
///
/// # Errors
/// When there is none by then; errors of `ask` end it at once.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Result<Option<T>, LabError>) -> Result<T, LabError> {
    wait_for(what, PATIENCE, ask)
}

/// Asks again and again until there is an answer, for `patience`.
///
/// # Errors
/// When there is none by then; errors of `ask` end it at once.
pub fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, LabError>,
) -> Result<T, LabError> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > patience {
            return Err(LabError::Timeout { what: what.to_owned(), waited: patience });
        }
        sleep(STEP);
    }
}

/// Between two questions: short against what a person notices, long against what asking costs.
const STEP: Duration = Duration::from_millis(10);
