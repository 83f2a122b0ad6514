//! The one writer of the mesh, and how readers follow it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::apply::Writer;
use crate::{ChangeSet, Snapshot, Update};

/// Holds the mesh. One source applies updates; readers take snapshots through [`Snapshots`].
#[derive(Debug)]
pub struct Store {
    snapshots: Snapshots,
    changes: broadcast::Sender<Arc<ChangeSet>>,
}

/// Where readers find the current snapshot. Cheap to clone; reading takes no lock.
#[derive(Clone, Debug)]
pub struct Snapshots(Arc<ArcSwap<Snapshot>>);

/// Follows the store's changes. One that falls behind is told to look at everything.
#[derive(Debug)]
pub struct Changes {
    receiver: broadcast::Receiver<Arc<ChangeSet>>,
    snapshots: Snapshots,
}

impl Store {
    /// An empty mesh.
    pub fn new() -> Self {
        let (changes, _) = broadcast::channel(BACKLOG);
        Self { snapshots: Snapshots(Arc::new(ArcSwap::from_pointee(Snapshot::default()))), changes }
    }

    /// Applies an update as a whole: when this returns, [`Self::snapshot`] has it. What it changed is returned and sent
    /// to subscribers; an update that changes nothing is not published.
    pub fn apply(&mut self, update: Update) -> Arc<ChangeSet> {
        let current = self.snapshot();
        let mut writer = Writer::new(&current);
        writer.apply(update);
        let (next, changes) = writer.finish();
        let changes = Arc::new(changes);
        if !changes.is_empty() {
            self.snapshots.0.store(Arc::new(next));
            // Nobody listens: then nobody has to know.
            let _ = self.changes.send(changes.clone());
        }
        changes
    }

    /// The current state.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.0.load_full()
    }

    /// Where readers find the current state.
    pub fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    /// Follows changes from now on.
    pub fn subscribe(&self) -> Changes {
        Changes { receiver: self.changes.subscribe(), snapshots: self.snapshots.clone() }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Snapshots {
    /// Where readers find a state that never changes.
    pub fn fixed(snapshot: Snapshot) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(snapshot)))
    }

    /// The current state, for one decision: don't hold it across an await.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// The current state, to keep for a while.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}

impl Changes {
    /// The next change; none when the store is gone. A subscriber that fell behind gets a change set with `resync`.
    ///
    /// # Cancel safety
    /// No change is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Arc<ChangeSet>> {
        match self.receiver.recv().await {
            Ok(changes) => Some(changes),
            Err(RecvError::Closed) => None,
            Err(RecvError::Lagged(_)) => {
                let generation = self.snapshots.load().generation();
                Some(Arc::new(ChangeSet::lost(generation)))
            }
        }
    }
}

/// Change sets kept for subscribers that are busy: a second's worth at 1000 updates a second.
const BACKLOG: usize = 1024;
