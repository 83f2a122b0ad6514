//! Takes connections off pods' listeners and gives each to a worker.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use daemon::drain::Phase;
use hbone::socket::{Listener, Socket};
use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
use socket2::Socket as RawSocket;
use tokio::task::AbortHandle;

use super::limits::Limit;
use super::pod::ServedPod;
use super::worker::{Queue, Worker};
use super::workers::{Arrival, Command, ListenPort};
use crate::redirect::{canonical, original_destination};

/// A connection of an application.
pub(super) struct Taken {
    /// Ends by RST, unless it comes to its end: a connection that never came about is no empty one.
    pub(super) socket: Socket,
    /// Who opened it.
    pub(super) client: SocketAddr,
    /// Where to.
    pub(super) destination: SocketAddr,
}

/// Takes an accepted connection of an application; none where it is gone already.
pub(super) fn taken(socket: RawSocket) -> Option<Taken> {
    let socket = Socket::from_nonblocking(socket).ok()?;
    socket.reset_on_close();
    let client = canonical(socket.options().peer_addr().ok()?.as_socket()?);
    let destination = original_destination(&socket).ok()?;
    Some(Taken { socket, client, destination })
}

/// Accepts connections of a pod on this worker, until the tasks are aborted.
pub(super) fn start(worker: &Rc<Worker>, pod: &Arc<ServedPod>) -> Vec<AbortHandle> {
    let (ports, tuning) = pod.listeners();
    let mut tasks = Vec::new();
    for (port, socket) in ports {
        // Accepted sockets inherit these options, which saves a handful of syscalls for each.
        let tuned = tuning.apply(socket).and_then(|()| match port {
            ListenPort::Plaintext => tuning.apply_in_plaintext(socket),
            ListenPort::Hbone | ListenPort::Outbound => Ok(()),
        });
        // A descriptor of our own for the same socket: the original stays with the registry.
        match tuned.and_then(|()| socket.try_clone()).and_then(Listener::new) {
            Ok(listener) => {
                let queue = worker.queue();
                let accepting = accept(worker.clone(), pod.clone(), port, listener, queue);
                tasks.push(worker.tasks.spawn_local("accept", accepting).abort_handle());
            }
            Err(error) => tracing::error!(pod = %pod.uid.0, ?port, %error, "listener cannot be served"),
        }
    }
    tasks
}

/// Accepts until the daemon is about to end, then what is left in the queue, and turns away whoever comes later.
async fn accept(worker: Rc<Worker>, pod: Arc<ServedPod>, port: ListenPort, listener: Listener, queue: Queue) {
    let served = async {
        loop {
            let socket = next(&worker, &pod, port, &listener).await?;
            place(&worker, &pod, port, socket);
        }
    };
    let failed: Option<()> = tokio::select! {
        failed = served => failed,
        _deadline = worker.shared.drain.draining() => Some(()),
    };
    if failed.is_none() {
        return;
    }
    // Who is in the queue came before the end was announced: the kernel has told them that they are connected.
    while let Ok(Some(socket)) = listener.try_accept() {
        let load = worker.peers.own(worker.index);
        worker.take(Arrival { load, port, socket, pod: pod.clone() });
    }
    drop(queue);
    // Whoever comes from here on is told at once, and does not wait for the end in the queue.
    while let Some(socket) = next(&worker, &pod, port, &listener).await {
        let _already_reset = socket.set_linger(Some(Duration::ZERO));
    }
}

/// The next connection; none when the listener has failed.
async fn next(worker: &Worker, pod: &ServedPod, port: ListenPort, listener: &Listener) -> Option<RawSocket> {
    loop {
        match listener.accept().await {
            Ok(socket) => return Some(socket),
            Err(error) if is_shortage(&error) => {
                // The connection stays in the queue, and so does the reason.
                worker.turn_away(Limit::OpenFiles, pod, None);
                tokio::time::sleep(SHORTAGE_PAUSE).await;
            }
            Err(error) => {
                tracing::error!(pod = %pod.uid.0, ?port, %error, "listener failed");
                return None;
            }
        }
    }
}

fn place(worker: &Rc<Worker>, pod: &Arc<ServedPod>, port: ListenPort, socket: RawSocket) {
    let (place, load) = match worker.shared.drain.phase() {
        Phase::Running => worker.peers.place(worker.index),
        // The others may have ended.
        Phase::Draining { .. } | Phase::Cut => (worker.index, worker.peers.own(worker.index)),
    };
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
