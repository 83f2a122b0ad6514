//! The root in use, and the files that it comes from.

use std::sync::Arc;

use certs::{Clock, describe};
use tokio::sync::watch;

use super::Root;
use super::files::RootFiles;
use super::source::RootSource;

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

/// The root, and what keeps it as `source` says.
pub fn follow(
    root: Root,
    source: RootSource,
    clock: Arc<dyn Clock>,
) -> (FollowedRoot, impl Future<Output = ()> + Send) {
    let (sender, receiver) = watch::channel(Arc::new(root));
    (FollowedRoot(receiver), reload(sender, source, clock))
}

async fn reload(current: watch::Sender<Arc<Root>>, source: RootSource, clock: Arc<dyn Clock>) {
    let mut news = source.news();
    // None: read and taken again, though it was just read by whoever made the first root.
    let mut last: Option<Result<RootFiles, String>> = None;
    loop {
        let read = news.next().await;
        if last.as_ref() != Some(&read) {
            take(&current, &source, &read, &*clock);
            last = Some(read);
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
