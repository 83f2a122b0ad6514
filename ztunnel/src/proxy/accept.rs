//! Takes connections off pods' listeners and gives each to a worker.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hbone::socket::Listener;
use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
use socket2::Socket as RawSocket;
use tokio::task::AbortHandle;

use super::pod::ServedPod;
use super::worker::Worker;
use super::workers::{Arrival, Command, ListenPort};

/// Accepts connections of a pod on this worker, until the tasks are aborted.
pub(super) fn start(worker: &Rc<Worker>, pod: &Arc<ServedPod>) -> Vec<AbortHandle> {
    let listeners = &pod.captured.listeners;
    let ports = [
        (ListenPort::Outbound, &listeners.outbound),
        (ListenPort::Plaintext, &listeners.inbound),
        (ListenPort::Hbone, &listeners.hbone),
    ];
    let mut tasks = Vec::new();
    for (port, socket) in ports {
        // Accepted sockets inherit these options, which saves a handful of syscalls for each.
        let tuned = pod.captured.sockets.tuning().apply(socket);
        // A descriptor of our own for the same socket: the original stays with the registry.
        match tuned.and_then(|()| socket.try_clone()).and_then(Listener::new) {
            Ok(listener) => {
                let accepting = accept(worker.clone(), pod.clone(), port, listener);
                tasks.push(worker.tasks.spawn_local("accept", accepting).abort_handle());
            }
            Err(error) => tracing::error!(pod = %pod.uid.0, ?port, %error, "listener cannot be served"),
        }
    }
    tasks
}

async fn accept(worker: Rc<Worker>, pod: Arc<ServedPod>, port: ListenPort, listener: Listener) {
    loop {
        match listener.accept().await {
            Ok(socket) => place(&worker, &pod, port, socket),
            Err(error) if is_shortage(&error) => {
                // The connection stays in the queue, and so does the reason.
                worker.shared.counts.turned_away.with_label_values(&["open_files"]).inc();
                tokio::time::sleep(SHORTAGE_PAUSE).await;
            }
            Err(error) => {
                tracing::error!(pod = %pod.uid.0, ?port, %error, "listener failed");
                return;
            }
        }
    }
}

fn place(worker: &Rc<Worker>, pod: &Arc<ServedPod>, port: ListenPort, socket: RawSocket) {
    let (place, load) = worker.peers.place(worker.index);
    let arrival = Arrival { load, port, socket, pod: pod.clone() };
    if place == worker.index {
        worker.take(arrival);
    } else {
        worker.peers.tell(place, Command::Take(arrival));
    }
}

fn is_shortage(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM))
}

/// How long accepting rests when there is no descriptor or memory to be had.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);
