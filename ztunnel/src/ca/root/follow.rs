//! The root in use, and the files that it comes from.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certs::{Clock, describe, pem_of};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Root;
use super::files::RootFiles;
use super::source::RootSource;
use crate::ca::files::{self, FileError, Readers};

/// The root in use. Clones see the same.
#[derive(Clone, Debug)]
pub struct FollowedRoot(watch::Receiver<Arc<Root>>);

impl FollowedRoot {
    /// The root now.
    pub fn current(&self) -> Arc<Root> {
        self.0.borrow().clone()
    }

    /// Waits for another root than the one seen last.
    ///
    /// # Cancel safety
    /// Safe: no change is lost.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody follows the files any more.
            std::future::pending().await
        }
    }
}

/// The root, and what keeps it as `source` says. The trusted roots are also written to `publish`, for those who are to
/// trust them.
pub fn follow(
    root: Root,
    source: RootSource,
    publish: Option<PathBuf>,
    clock: Arc<dyn Clock>,
) -> (FollowedRoot, impl Future<Output = ()> + Send) {
    let (sender, receiver) = watch::channel(Arc::new(root));
    (FollowedRoot(receiver), reload(sender, source, publish, clock))
}

async fn reload(
    current: watch::Sender<Arc<Root>>,
    source: RootSource,
    publish: Option<PathBuf>,
    clock: Arc<dyn Clock>,
) {
    let mut news = source.news();
    // None: read and taken again, though it was just read by whoever made the first root.
    let mut last: Option<Result<RootFiles, String>> = None;
    let mut last_fault = None;
    loop {
        tokio::select! {
            read = news.next() => {
                if last.as_ref() != Some(&read) {
                    take(&current, &source, &read, &*clock);
                    last = Some(read);
                }
            }
            // What could not be published is tried again.
            () = sleep(PUBLISH_AGAIN) => {}
        }
        if let Some(path) = &publish {
            let fault = write_roots(path, &current.borrow()).err().map(|error| describe(&error));
            if let Some(cause) = fault.as_ref().filter(|_| fault != last_fault) {
                tracing::warn!(path = %path.display(), cause, "roots are not published");
            }
            last_fault = fault;
        }
    }
}

fn take(
    current: &watch::Sender<Arc<Root>>,
    source: &RootSource,
    read: &Result<RootFiles, String>,
    clock: &dyn Clock,
) {
    let root = match read {
        Ok(files) => files.root(clock.now()).map_err(|error| describe(&error)),
        Err(cause) => Err(cause.clone()),
    };
    match root {
        Ok(root) => {
            let changed = current.send_if_modified(|current| {
                let differs =
                    current.trusted != root.trusted || current.authority.chain() != root.authority.chain();
                if differs {
                    *current = Arc::new(root);
                }
                differs
            });
            if changed {
                let roots = current.borrow().trusted.len();
                tracing::info!(target: "audit", %source, roots, "root changed");
            }
        }
        Err(cause) => tracing::error!(%source, cause, "root is not taken, the last one stays"),
    }
}

fn write_roots(path: &Path, root: &Root) -> Result<(), FileError> {
    let text = pem_of(&root.trusted);
    if files::read(path)?.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(FileError::on("make", folder))?;
    }
    files::write(path, text.as_bytes(), Readers::All)
}

/// How soon what could not be published is tried again.
const PUBLISH_AGAIN: Duration = Duration::from_secs(2);
