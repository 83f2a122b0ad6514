//! Tasks with an owner, a name and an end.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use prometheus::IntCounterVec;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// What a panic in a task means for the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPanic {
    /// The process aborts: a half-dead daemon is worse than one that is started again.
    Abort,
    /// The task's handle tells, and the process goes on.
    Report,
}

/// Owner of tasks: dropped, it ends them.
#[derive(Debug)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    on_panic: OnPanic,
    panics: IntCounterVec,
    live: Mutex<Live>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Live {
    /// `None` until the task's handle is known.
    tasks: HashMap<u64, (&'static str, Option<AbortHandle>)>,
    next_id: u64,
}

impl Tasks {
    /// An owner without tasks. `panics` counts by task name.
    pub fn new(on_panic: OnPanic, panics: IntCounterVec) -> Self {
        let (count, _) = watch::channel(0);
        Self { shared: Arc::new(Shared { on_panic, panics, live: Mutex::default(), count }) }
    }

    /// Runs `future` on the current runtime until it ends or the owner is dropped.
    #[expect(clippy::disallowed_methods, reason = "this is the owner that other places are told to use")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let owned = self.own(name, future);
        let id = owned.place.id;
        let handle = tokio::spawn(owned);
        self.shared.started(id, handle.abort_handle());
        handle
    }

    /// Like [`Tasks::spawn`], on a single-threaded runtime's own thread.
    pub fn spawn_local<F: Future + 'static>(&self, name: &'static str, future: F) -> JoinHandle<F::Output> {
        let owned = self.own(name, future);
        let id = owned.place.id;
        let handle = tokio::task::spawn_local(owned);
        self.shared.started(id, handle.abort_handle());
        handle
    }

    /// Names of the tasks that run, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.shared.lock().tasks.values().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names
    }

    /// Waits until no task runs.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn all_ended(&self) {
        let mut count = self.shared.count.subscribe();
        let _ = count.wait_for(|count| *count == 0).await;
    }

    fn own<F: Future>(&self, name: &'static str, future: F) -> Owned<F> {
        let mut live = self.shared.lock();
        let id = live.next_id;
        live.next_id += 1;
        live.tasks.insert(id, (name, None));
        self.shared.count.send_replace(live.tasks.len());
        let place = Place { id, name, shared: self.shared.clone() };
        Owned { future: Box::pin(future), place }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // Not while the lock is held: a task may end within `abort`, and takes itself out of the list.
        let handles: Vec<_> =
            self.shared.lock().tasks.values().filter_map(|(_, handle)| handle.clone()).collect();
        for handle in handles {
            handle.abort();
        }
    }
}

/// A task's future with its place among its owner's tasks. The future goes first when both are dropped.
struct Owned<F> {
    future: Pin<Box<F>>,
    place: Place,
}

struct Place {
    id: u64,
    name: &'static str,
    shared: Arc<Shared>,
}

impl<F: Future> Future for Owned<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let panicked = PanicGuard(&self.place.shared.clone(), self.place.name);
        let polled = self.future.as_mut().poll(context);
        drop(panicked);
        polled
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut live = self.shared.lock();
        live.tasks.remove(&self.id);
        self.shared.count.send_replace(live.tasks.len());
    }
}

/// Dropped by an unwinding poll, it reports the panic.
struct PanicGuard<'a>(&'a Shared, &'static str);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        tracing::error!(task = self.1, "a task panicked");
        self.0.panics.with_label_values(&[self.1]).inc();
        if self.0.on_panic == OnPanic::Abort {
            std::process::abort();
        }
    }
}

impl Shared {
    fn started(&self, id: u64, handle: AbortHandle) {
        // Gone already when the task ended on another thread meanwhile.
        if let Some((_, known)) = self.lock().tasks.get_mut(&id) {
            *known = Some(handle);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use prometheus::Opts;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn tasks_end_with_their_owner() {
        let tasks = tasks();
        let (held, gone) = oneshot::channel::<()>();
        tasks.spawn("watch", async move {
            let _held = held;
            pending::<()>().await;
        });
        assert_eq!(tasks.names(), ["watch"]);
        drop(tasks);
        assert!(gone.await.is_err(), "the task's future was dropped");
    }

    #[tokio::test]
    async fn a_panic_is_counted_under_the_tasks_name() {
        let tasks = tasks();
        let ended = tasks.spawn("watch", async { panic!("by intent") }).await;
        assert!(ended.unwrap_err().is_panic());
        assert_eq!(tasks.shared.panics.with_label_values(&["watch"]).get(), 1);
        tasks.all_ended().await;
    }

    #[tokio::test]
    async fn a_task_that_ended_is_no_longer_listed() {
        let tasks = tasks();
        assert_eq!(tasks.spawn("sum", async { 2 + 2 }).await.unwrap(), 4);
        tasks.all_ended().await;
        assert!(tasks.names().is_empty());
    }

    fn tasks() -> Tasks {
        let panics = IntCounterVec::new(Opts::new("task_panics_total", "Panics."), &["task"]).unwrap();
        Tasks::new(OnPanic::Report, panics)
    }
}
