//! One worker: a thread with its own reactor, connections, tunnels and pool.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use daemon::tasks::{OnPanic, Tasks};
use foldhash::fast::RandomState;
use hbone::pool::Pool;
use hbone::traceparent::TraceParent;
use hbone::tunnel::Buffers;
use mesh::Draws;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, LocalSet};
use tokio::time::{Instant, sleep};

use super::baggage::Answering;
use super::failure::Failure;
use super::live::{Cut, Live};
use super::pod::ServedPod;
use super::revoked::OpenTunnels;
use super::shared::Shared;
use super::tunnel_out::TunnelKey;
use super::workers::{Arrival, Command, ListenPort, Peers};
use super::{accept, inbound, linger, outbound, plaintext};
use crate::decision::Tunnel;
use crate::probe::HostSockets;
use crate::telemetry::{Telemetry, Trace};

/// What a worker's tasks share. Not `Send`: it stays on its thread.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) peers: Peers,
    pub(super) telemetry: Telemetry,
    pub(super) buffers: Buffers,
    pub(super) pool: Pool<TunnelKey, Failure>,
    pub(super) live: Live,
    /// Who answers on other networks.
    pub(super) answering: Answering,
    pub(super) open: OpenTunnels,
    pub(super) tasks: Tasks,
    /// The node's own sockets; none where they cannot be asked for, and no connection is a probe then.
    pub(super) host_sockets: Option<HostSockets>,
    pods: RefCell<HashMap<mesh::PodUid, Served, RandomState>>,
    /// Listeners' queues that are not emptied for good.
    queues: Rc<Cell<usize>>,
    /// The mesh has changed since it was last asked for pods that are gone.
    mesh_changed: Cell<bool>,
    random: RefCell<Draws>,
}

/// A pod, and the tasks that accept its connections on this worker.
#[derive(Debug)]
struct Served {
    pod: Arc<ServedPod>,
    accepting: Vec<AbortHandle>,
}

/// A listener's queue, from which connections are accepted until this is dropped.
#[derive(Debug)]
pub(super) struct Queue(Rc<Cell<usize>>);

/// Runs a worker until the daemon's end.
pub(super) fn run(
    runtime: &Runtime,
    index: usize,
    shared: Arc<Shared>,
    peers: Peers,
    commands: mpsc::UnboundedReceiver<Command>,
) {
    // Let go of behind everything else: once no worker holds one the process ends, and what is still open then is closed
    // by the kernel, which tells peers that all is well.
    let guard = shared.drain.guard();
    let local = LocalSet::new();
    local.block_on(runtime, async move {
        let worker = Rc::new(Worker::new(index, shared, peers));
        let drain = worker.shared.drain.clone();
        let lingering = worker.shared.settings.linger;
        if !lingering.is_zero() {
            worker.tasks.spawn_local("linger", linger::linger(worker.buffers.clone(), lingering));
        }
        let ending = async {
            drain.draining().await;
            worker.drain().await;
        };
        tokio::select! {
            () = worker.obey(commands) => {}
            () = ending => {}
            () = drain.cut() => worker.cut().await,
        }
        worker.telemetry.flush();
    });
    drop(local);
    drop(guard);
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>, peers: Peers) -> Self {
        let telemetry = Telemetry::new(shared.metrics.worker(), shared.records.clone());
        let panics = shared.counts.panics.clone();
        let unseen = |error: &std::io::Error| {
            tracing::warn!(%error, "the node's sockets cannot be looked at; no connection counts as a probe");
        };
        let host_sockets =
            shared.settings.on_node.then(|| HostSockets::open().inspect_err(unseen).ok()).flatten();
        Self {
            index,
            telemetry,
            peers,
            buffers: Buffers::new(),
            pool: Pool::new(STREAMS_PER_TUNNEL),
            live: Live::default(),
            answering: Answering::default(),
            open: OpenTunnels::default(),
            tasks: Tasks::new(OnPanic::Abort, panics),
            host_sockets,
            pods: RefCell::default(),
            queues: Rc::default(),
            mesh_changed: Cell::new(false),
            random: RefCell::new(Draws::new(seed())),
            shared,
        }
    }

    /// A captured pod of this node.
    pub(super) fn pod(&self, uid: &mesh::PodUid) -> Option<Arc<ServedPod>> {
        self.pods.borrow().get(uid).map(|served| served.pod.clone())
    }

    /// Whether the receiver of a tunnel is one of this node's captured pods.
    pub(super) fn serves(&self, tunnel: &Tunnel) -> bool {
        let uid = tunnel.upstream.workload.as_ref().and_then(|workload| workload.pod_uid.as_ref());
        uid.is_some_and(|uid| self.pods.borrow().contains_key(uid))
    }

    /// Notes a listener whose connections are accepted.
    pub(super) fn queue(&self) -> Queue {
        self.queues.update(|count| count + 1);
        Queue(self.queues.clone())
    }

    /// Random bits: for choices, never for secrets.
    pub(super) fn random(&self) -> u64 {
        self.random.borrow_mut().bits()
    }

    /// The trace of a connection that begins here.
    pub(super) fn trace(&self) -> Trace {
        let sampled = self.shared.records.traces(self.random());
        Trace::root(&mut self.random.borrow_mut(), sampled)
    }

    /// The trace of a connection that a peer opened, who may have said which one it belongs to.
    pub(super) fn trace_below(&self, parent: Option<TraceParent>) -> Trace {
        match parent {
            Some(parent) => Trace::below(parent, &mut self.random.borrow_mut()),
            None => self.trace(),
        }
    }

    /// Serves a connection.
    pub(super) fn take(self: &Rc<Self>, arrival: Arrival) {
        let worker = self.clone();
        match arrival.port {
            ListenPort::Outbound => self.tasks.spawn_local("outbound", outbound::serve(worker, arrival)),
            ListenPort::Plaintext => self.tasks.spawn_local("plaintext", plaintext::serve(worker, arrival)),
            ListenPort::Hbone => self.tasks.spawn_local("inbound", inbound::serve(worker, arrival)),
        };
    }

    /// Carries out commands; ends when nobody is left to give any.
    async fn obey(self: &Rc<Self>, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.carry_out(command),
                    None => return,
                },
                _ = tick.tick() => {
                    self.telemetry.flush();
                    self.shared.counts.pooled(self.pool.take_counts());
                    self.give_up_on_gone_pods();
                    self.pool.prune();
                }
            }
        }
    }

    fn carry_out(self: &Rc<Self>, command: Command) {
        match command {
            Command::Serve { pod, accept } => self.serve(pod, accept),
            Command::Gone(uid) => self.forget(&uid),
            Command::Draining(uid) => {
                self.pool.evict(|key| key.pod == uid);
                self.live.leave(&uid);
            }
            Command::Take(arrival) => self.take(arrival),
            Command::Changed(changes) => {
                self.mesh_changed.set(true);
                self.recheck(&changes);
            }
            Command::Rotated => {
                self.pool.evict(|key| {
                    let current = self.shared.identities.current(&key.identity);
                    current.is_none_or(|configs| configs.epoch() != key.epoch)
                });
                self.cut_revoked();
            }
            Command::List(answer) => {
                // Whoever asked may have gone.
                let _gone = answer.send(self.live.views());
            }
        }
    }

    fn serve(self: &Rc<Self>, pod: Arc<ServedPod>, accept: bool) {
        self.forget(&pod.uid);
        let accepting = if accept { accept::start(self, &pod) } else { Vec::new() };
        self.pods.borrow_mut().insert(pod.uid.clone(), Served { pod, accepting });
    }

    /// Ends everything of a pod.
    fn forget(&self, uid: &mesh::PodUid) {
        let Some(served) = self.pods.borrow_mut().remove(uid) else { return };
        served.accepting.iter().for_each(AbortHandle::abort);
        self.pool.evict(|key| key.pod == *uid);
        self.live.cut_pod(uid, &Cut::PodGone);
    }

    /// Has nobody wait for what pods say that are not in the mesh any more: nothing may be left to end their
    /// connections. One that answers keeps them.
    fn give_up_on_gone_pods(&self) {
        if !self.mesh_changed.take() {
            return;
        }
        let snapshot = self.shared.snapshots.load();
        let is_gone = |uid: &mesh::PodUid| snapshot.workload_by_pod_uid(uid).is_none();
        self.pool.give_up(|key| key.peer_pod.as_ref().is_some_and(is_gone), GONE_PATIENCE);
    }

    /// Takes nothing new, and waits until what is there has ended.
    async fn drain(&self) {
        self.pool.evict(|_| true);
        self.live.leave_all();
        let mut tick = tokio::time::interval(TICK / 10);
        // The first is at once, and another worker may have accepted a connection for us that moment.
        tick.tick().await;
        loop {
            tick.tick().await;
            // Those that are still on their way to somewhere count too.
            if self.queues.get() == 0 && self.peers.load(self.index) == 0 {
                return;
            }
        }
    }

    /// Ends what there is. Each connection has the time to say in its record why it ended.
    async fn cut(&self) {
        self.live.cut_all(&Cut::Shutdown);
        let all_gone = async {
            let mut tick = tokio::time::interval(TICK / 100);
            while self.peers.load(self.index) > 0 {
                tick.tick().await;
            }
        };
        // Those that are still on their way to somewhere are not listed: they end with their tasks.
        let _some_are_left = tokio::time::timeout(CUT_TIME, all_gone).await;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.0.update(|count| count - 1);
    }
}

/// Asks what the mesh knows until it is no more that it does not, for as long as a pod may talk before: the last answer.
pub(super) async fn until_known<T>(ask: impl Fn() -> T, is_unknown: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + UNKNOWN_WAIT;
    loop {
        let answer = ask();
        if !is_unknown(&answer) || Instant::now() >= deadline {
            return answer;
        }
        sleep(UNKNOWN_POLL).await;
    }
}

fn seed() -> u64 {
    // The hasher's own seed is random enough for choices.
    getrandom::u64().unwrap_or_else(|_| RandomState::default().hash_one(0_u8))
}

/// How long a pod that seems to be gone may take to answer.
pub(super) const GONE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a pod may talk before the mesh knows it.
const UNKNOWN_WAIT: Duration = Duration::from_secs(5);
const UNKNOWN_POLL: Duration = Duration::from_millis(20);

/// Between two looks at counters and tunnels.
const TICK: Duration = Duration::from_secs(1);

/// How long what is cut may take to say so. Less than the daemon gives workers for it.
const CUT_TIME: Duration = Duration::from_secs(1);

/// Streams of one tunnel before another is opened beside it. Few tunnels mean few writes; too many streams in one make
/// one lost packet hold up all of them.
const STREAMS_PER_TUNNEL: usize = 256;
