//! What a daemon waits for before it calls itself ready.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The tasks to be done before the daemon is ready. Clones share them.
#[derive(Clone, Debug)]
pub struct Readiness {
    shared: Arc<Shared>,
}

/// A task that must be [`done`](ReadyTask::done). Dropped before that, it stays outstanding: what gave up is not
/// ready.
#[derive(Debug)]
#[must_use = "the daemon is not ready before this is done"]
pub struct ReadyTask {
    id: u64,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outstanding: Mutex<Outstanding>,
    ready: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Outstanding {
    tasks: Vec<(u64, Arc<str>)>,
    next_id: u64,
}

impl Readiness {
    /// Adds a task. A daemon may become unready again by adding one.
    pub fn task(&self, name: &str) -> ReadyTask {
        let mut outstanding = self.shared.lock();
        let id = outstanding.next_id;
        outstanding.next_id += 1;
        outstanding.tasks.push((id, name.into()));
        self.shared.ready.send_replace(false);
        ReadyTask { id, shared: self.shared.clone() }
    }

    /// Whether nothing is outstanding.
    pub fn is_ready(&self) -> bool {
        self.shared.lock().tasks.is_empty()
    }

    /// Names of the tasks that are not done, oldest first.
    pub fn outstanding(&self) -> Vec<String> {
        self.shared.lock().tasks.iter().map(|(_, name)| name.to_string()).collect()
    }

    /// Waits until nothing is outstanding.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn ready(&self) {
        let mut ready = self.shared.ready.subscribe();
        // The sender lives as long as `self`.
        let _ = ready.wait_for(|ready| *ready).await;
    }
}

impl Default for Readiness {
    fn default() -> Self {
        let (ready, _) = watch::channel(true);
        Self { shared: Arc::new(Shared { outstanding: Mutex::default(), ready }) }
    }
}

impl ReadyTask {
    /// The task is done.
    pub fn done(self) {
        let mut outstanding = self.shared.lock();
        outstanding.tasks.retain(|(id, _)| *id != self.id);
        self.shared.ready.send_replace(outstanding.tasks.is_empty());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Outstanding> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_means_that_every_task_is_done() {
        let readiness = Readiness::default();
        readiness.ready().await;
        let (listeners, source) = (readiness.task("listeners"), readiness.task("source"));
        assert_eq!(readiness.outstanding(), ["listeners", "source"]);
        listeners.done();
        assert!(!readiness.is_ready());
        source.done();
        readiness.ready().await;
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_task_that_gave_up_stays_outstanding() {
        let readiness = Readiness::default();
        drop(readiness.task("source"));
        assert_eq!(readiness.outstanding(), ["source"]);
    }
}
