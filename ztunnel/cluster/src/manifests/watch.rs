//! When to look at the files again.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// Tells when something changed below some paths: by the kernel's word, and by a slow look where it has none (network
/// filesystems, links that lead elsewhere, folders that come back).
#[derive(Debug)]
pub(super) struct Watch {
    roots: Vec<Root>,
    /// None where the kernel has no watches left.
    watcher: Option<RecommendedWatcher>,
    events: Arc<Events>,
}

/// Files that changed, or may have.
#[derive(Debug, Default)]
pub(super) struct Stale {
    paths: HashSet<PathBuf>,
    all: bool,
}

#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Device and inode of the folder that is watched: another one may take its place.
    watched: Option<(u64, u64)>,
    /// The folder around it is watched, or cannot be.
    around: bool,
}

#[derive(Debug, Default)]
struct Events {
    pending: Mutex<Pending>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    stale: Stale,
    /// Files that somebody has written to and not closed: what is in them is not all yet.
    writing: HashSet<PathBuf>,
    /// Counts events.
    count: u64,
}

impl Watch {
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        let events = Arc::new(Events::default());
        let (sink, roots) = (events.clone(), paths.to_vec());
        let watcher = notify::recommended_watcher(move |event| sink.take(event, &roots)).ok();
        let roots =
            paths.iter().map(|path| Root { path: path.clone(), watched: None, around: false }).collect();
        let mut watch = Self { roots, watcher, events };
        watch.follow();
        watch
    }

    /// Waits until something may have changed, and then until it looks settled.
    ///
    /// # Cancel safety
    /// No change is lost when the future is dropped.
    pub(super) async fn changed(&mut self) {
        let seen = timeout(POLL, self.events.some()).await.is_ok();
        if seen {
            self.events.settled().await;
        }
        self.follow();
    }

    /// What changed since the last call.
    pub(super) fn take(&self) -> Stale {
        std::mem::take(&mut self.events.pending().stale)
    }

    /// Watches folders that came, or came back.
    fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for root in &mut self.roots {
            let metadata = fs::metadata(&root.path).ok();
            let now = metadata.as_ref().map(|metadata| (metadata.dev(), metadata.ino()));
            if root.around && now == root.watched {
                continue;
            }
            if root.watched.is_some() {
                // Gone with the folder, mostly.
                let _ = watcher.unwatch(&root.path);
            }
            // The folder around it tells of a root that comes, and of a file that is replaced.
            let parent = root.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let around = watcher.watch(parent.unwrap_or_else(|| Path::new(".")), RecursiveMode::NonRecursive);
            let is_folder = metadata.is_some_and(|metadata| metadata.is_dir());
            let within = if is_folder { watcher.watch(&root.path, RecursiveMode::Recursive) } else { Ok(()) };
            if let Some(error) = around.and(within).err() {
                tracing::warn!(path = %root.path.display(), %error, "changes are noticed late: cannot be watched");
            }
            (root.watched, root.around) = (now, true);
            self.events.pending().stale.all = true;
        }
    }
}

impl Stale {
    pub(super) fn has(&self, path: &Path) -> bool {
        self.all || self.paths.contains(path)
    }
}

impl Events {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: notify::Result<Event>, roots: &[PathBuf]) {
        let mut pending = self.pending();
        match event {
            Ok(event) if event.need_rescan() => pending.stale.all = true,
            Ok(event) => {
                let concerns = |path: &PathBuf| roots.iter().any(|root| path.starts_with(root));
                if !event.paths.iter().any(concerns) || !pending.note(&event) {
                    return;
                }
            }
            Err(_) => pending.stale.all = true,
        }
        pending.count += 1;
        drop(pending);
        self.wake.notify_one();
    }

    async fn some(&self) {
        while self.pending().count == 0 {
            self.wake.notified().await;
        }
    }

    /// Until nothing happened for a moment and nobody is writing, but not for ever.
    async fn settled(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.pending().count;
            sleep(QUIET).await;
            let mut pending = self.pending();
            let settled = pending.count == before && pending.writing.is_empty();
            if settled || Instant::now() >= deadline {
                pending.count = 0;
                pending.writing.clear();
                return;
            }
        }
    }
}

impl Pending {
    /// Whether the event is about a change.
    fn note(&mut self, event: &Event) -> bool {
        for path in &event.paths {
            match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                    self.writing.remove(path);
                }
                EventKind::Access(_) => return false,
                EventKind::Modify(ModifyKind::Data(_)) => {
                    self.writing.insert(path.clone());
                }
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                    self.writing.remove(path);
                }
                _ => {}
            }
            if self.stale.paths.len() < MAX_STALE {
                self.stale.paths.insert(path.clone());
            } else {
                self.stale.all = true;
            }
        }
        true
    }
}

/// Between looks where the kernel says nothing.
const POLL: Duration = Duration::from_secs(2);

/// Changes come in groups: a moment without one ends the group. Far below what a person notices.
const QUIET: Duration = Duration::from_millis(20);

/// How long a file that is being written, or a folder that never rests, puts off the look.
const PATIENCE: Duration = Duration::from_millis(300);

/// Paths remembered one by one; with more than that, everything is looked at.
const MAX_STALE: usize = 4096;
