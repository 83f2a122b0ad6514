//! Starts workers and talks to them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesh::ChangeSet;
use socket2::Socket as RawSocket;
use tokio::runtime::RuntimeMetrics;
use tokio::sync::{mpsc, oneshot};

use super::pod::ServedPod;
use super::shared::Shared;
use super::view::ConnectionView;
use super::worker;

/// All workers. They end with the drain.
#[derive(Debug)]
pub struct Workers {
    peers: Peers,
    /// By the names of their threads.
    runtimes: Vec<(String, RuntimeMetrics)>,
}

/// Where workers are told something. Clones tell the same ones.
#[derive(Clone, Debug)]
pub(super) struct Peers(Arc<[Peer]>);

#[derive(Debug)]
struct Peer {
    commands: mpsc::UnboundedSender<Command>,
    /// Connections that it has.
    load: Arc<AtomicUsize>,
}

/// Workers could not be started.
#[derive(Debug, thiserror::Error)]
#[error("worker threads cannot be started")]
pub struct StartError(#[source] pub(super) io::Error);

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Command {
    /// A pod is captured; who is to accept its connections starts to.
    Serve { pod: Arc<ServedPod>, accept: bool },
    /// A pod is gone: everything of it ends.
    Gone(mesh::PodUid),
    /// A pod drains: peers are told to dial anew.
    Draining(mesh::PodUid),
    /// A connection that another worker accepted.
    Take(Arrival),
    /// The mesh changed.
    Changed(Arc<ChangeSet>),
    /// Some identities have fresh certificates, or lost them.
    Rotated,
    /// Somebody wants to see connections.
    List(oneshot::Sender<Vec<ConnectionView>>),
}

/// An accepted connection on its way to a worker.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Counts it as its worker's.
    pub(super) load: Load,
    pub(super) port: ListenPort,
    pub(super) socket: RawSocket,
    pub(super) pod: Arc<ServedPod>,
}

/// One connection of a worker's load.
#[derive(Debug)]
pub(super) struct Load(Arc<AtomicUsize>);

/// Which of a pod's listeners a connection arrived at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListenPort {
    /// 15001.
    Outbound,
    /// 15006.
    Plaintext,
    /// 15008.
    Hbone,
}

impl Workers {
    /// Starts `count` workers.
    ///
    /// # Errors
    /// When a thread or its reactor cannot be had.
    pub fn start(count: usize, shared: &Arc<Shared>) -> Result<Self, StartError> {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let peers = senders.into_iter().map(|commands| Peer { commands, load: Arc::default() });
        let peers = Peers(peers.collect());
        let mut runtimes = Vec::new();
        for (index, commands) in receivers.into_iter().enumerate() {
            let (shared, peers) = (shared.clone(), peers.clone());
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError)?;
            let name = format!("worker-{index}");
            runtimes.push((name.clone(), runtime.metrics()));
            let run = move || worker::run(&runtime, index, shared, peers, commands);
            let thread = std::thread::Builder::new().name(name);
            thread.spawn(run).map_err(StartError)?;
        }
        Ok(Self { peers, runtimes })
    }

    /// Their runtimes, by name.
    pub fn runtimes(&self) -> impl Iterator<Item = (String, RuntimeMetrics)> {
        self.runtimes.iter().cloned()
    }

    /// Has a pod served.
    pub(super) fn serve(&self, pod: &Arc<ServedPod>) {
        // Pods are spread by what is random about them anyway.
        let random = pod.captured().map_or(0, |captured| captured.marks.socket);
        let accepting = usize::try_from(random).unwrap_or(0) % self.peers.0.len();
        for (index, peer) in self.peers.0.iter().enumerate() {
            peer.tell(Command::Serve { pod: pod.clone(), accept: index == accepting });
        }
    }

    pub(super) fn gone(&self, uid: &mesh::PodUid) {
        self.peers.0.iter().for_each(|peer| peer.tell(Command::Gone(uid.clone())));
    }

    pub(super) fn draining(&self, uid: &mesh::PodUid) {
        self.peers.0.iter().for_each(|peer| peer.tell(Command::Draining(uid.clone())));
    }

    /// Says what changed in the mesh.
    pub fn changed(&self, changes: &Arc<ChangeSet>) {
        self.peers.0.iter().for_each(|peer| peer.tell(Command::Changed(changes.clone())));
    }

    /// Says that some identities have fresh certificates, or lost them.
    pub fn rotated(&self) {
        self.peers.0.iter().for_each(|peer| peer.tell(Command::Rotated));
    }

    /// The connections that live.
    pub async fn connections(&self) -> Vec<ConnectionView> {
        let mut all = Vec::new();
        for peer in &*self.peers.0 {
            let (sender, views) = oneshot::channel();
            peer.tell(Command::List(sender));
            all.extend(views.await.unwrap_or_default());
        }
        all
    }
}

impl Peers {
    /// Who is to take a connection that `accepting` has accepted: itself, unless another has less to do.
    pub(super) fn place(&self, accepting: usize) -> (usize, Load) {
        let own = self.0[accepting].load.load(Ordering::Relaxed);
        let loads = self.0.iter().map(|peer| peer.load.load(Ordering::Relaxed)).enumerate();
        let place = match loads.min_by_key(|(_, load)| *load) {
            Some((least, load)) if load < own => least,
            _ => accepting,
        };
        (place, Load::new(&self.0[place].load))
    }

    /// One more for that worker.
    pub(super) fn own(&self, worker: usize) -> Load {
        Load::new(&self.0[worker].load)
    }

    /// How many connections a worker has.
    pub(super) fn load(&self, worker: usize) -> usize {
        self.0[worker].load.load(Ordering::Relaxed)
    }

    pub(super) fn tell(&self, worker: usize, command: Command) {
        self.0[worker].tell(command);
    }
}

impl Load {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }

    /// One connection more for the same worker.
    pub(super) fn another(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peer {
    fn tell(&self, command: Command) {
        // A worker that has ended needs to know nothing any more.
        let _ended = self.commands.send(command);
    }
}
