//! Where the root comes from, and news of it.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use certs::describe;
use cluster::kubernetes::{ApiError, Kubernetes, NamespacedName, StoredSecret};
use futures_util::{Stream, StreamExt};
use rustls_pki_types::UnixTime;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::files::RootFiles;
use super::make::{self, NewRoot};
use super::{Root, RootError};

/// Where key and certificates are.
#[derive(Clone, Debug)]
pub enum RootSource {
    /// In a folder.
    Folder(PathBuf),
    /// In a Secret.
    Secret {
        /// The cluster that has it.
        kubernetes: Kubernetes,
        /// What it is called.
        name: NamespacedName,
    },
}

/// Tells what a source says, again and again.
pub(super) enum News {
    Folder {
        path: PathBuf,
        look: Interval,
    },
    Secret {
        name: NamespacedName,
        seen: Pin<Box<dyn Stream<Item = Result<Option<StoredSecret>, ApiError>> + Send>>,
    },
}

impl RootSource {
    /// The root there, which is made if there is none. Of several processes that come at once, one makes it, and all
    /// return it.
    ///
    /// # Errors
    /// When there is a root that is unusable, or none can be written.
    pub async fn ensure(&self, new: &NewRoot, now: UnixTime) -> Result<Root, RootError> {
        match self {
            // Nothing else runs yet that this could keep waiting.
            Self::Folder(path) => make::in_folder(path, new, now),
            Self::Secret { kubernetes, name } => make::in_secret(kubernetes, name, new, now).await,
        }
    }

    pub(super) fn news(&self) -> News {
        match self {
            Self::Folder(path) => {
                let mut look = interval(LOOK_AGAIN);
                look.set_missed_tick_behavior(MissedTickBehavior::Delay);
                News::Folder { path: path.clone(), look }
            }
            Self::Secret { kubernetes, name } => {
                News::Secret { name: name.clone(), seen: Box::pin(kubernetes.watch_secret(name)) }
            }
        }
    }
}

impl News {
    /// What the source says next, or why that cannot be told. May be the same as before.
    ///
    /// # Cancel safety
    /// Safe: what is not told is told the next time.
    pub(super) async fn next(&mut self) -> Result<RootFiles, String> {
        match self {
            Self::Folder { path, look } => {
                look.tick().await;
                // A few kilobytes: not worth a thread.
                RootFiles::of_folder(path).map_err(|error| describe(&error))
            }
            Self::Secret { name, seen } => match seen.next().await {
                Some(Ok(secret)) => Ok(RootFiles::of_secret(name, secret.as_ref())),
                Some(Err(error)) => Err(describe(&error)),
                None => std::future::pending().await,
            },
        }
    }
}

impl std::fmt::Display for RootSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Secret { name, .. } => write!(f, "Secret {name}"),
        }
    }
}

/// How often files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
