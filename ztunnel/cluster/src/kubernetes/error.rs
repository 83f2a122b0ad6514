//! Why the API server gave no answer.

use std::time::Duration;

use kube::runtime::watcher;
use tokio::time::timeout;

/// Why the API server gave no answer that says anything.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It refuses, or cannot do it now.
    #[error("the API server refuses to {task}: {reason} {message}")]
    Refused {
        /// What it was asked to do.
        task: &'static str,
        /// Its word for why, as `Forbidden`.
        reason: String,
        /// Its sentence for it.
        message: String,
    },
    /// It does not answer in time.
    #[error("the API server did not {task} within {waited:?}")]
    Timeout {
        /// What it was asked to do.
        task: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// It cannot be reached, or its answer cannot be read.
    #[error("the API server cannot be asked to {task}")]
    Unreachable {
        /// What it was to be asked.
        task: &'static str,
        /// What is in the way.
        #[source]
        source: Box<kube::Error>,
    },
}

/// The answer to a call, if there is one in time.
pub(super) async fn answer<T>(
    task: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    match timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(ApiError::of(task, error)),
        Err(_elapsed) => Err(ApiError::Timeout { task, waited: PATIENCE }),
    }
}

impl ApiError {
    pub(super) fn of(task: &'static str, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                Self::Refused { task, reason: status.reason.clone(), message: status.message.clone() }
            }
            error => Self::Unreachable { task, source: Box::new(error) },
        }
    }

    pub(super) fn watch(task: &'static str, error: watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => Self::of(task, error),
            watcher::Error::WatchError(status) => Self::of(task, kube::Error::Api(status)),
            error @ watcher::Error::NoResourceVersion => {
                Self::Refused { task, reason: "NoResourceVersion".to_owned(), message: error.to_string() }
            }
        }
    }
}

/// How long a call may take: a caller of ours, on whose behalf three may be made, waits for ten seconds, and is to be
/// told why.
const PATIENCE: Duration = Duration::from_secs(3);
