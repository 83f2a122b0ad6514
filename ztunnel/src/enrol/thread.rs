//! The enrolment thread: waits for callers, commands and announcements, and does one thing after the other.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;

use super::enrolled::Means;
use super::lease::{Command, CommandQueue, Commands, Left};
use super::registry::Registry;
use super::seqpacket::PacketListener;
use super::server::Server;
use super::state::Memory;
use super::{CaptureEvents, DesiredPod, PodUid, StateError};
use crate::netns::Namespaces;
use crate::redirect::{Marks, SocketTuning};

/// Where enrolment finds its files.
#[derive(Clone, Debug)]
pub struct EnrolConfig {
    /// The socket that callers connect to.
    pub socket: PathBuf,
    /// The folder that remembers captured pods; must outlive the daemon but not the node's kernel. Default
    /// `/run/ambient/pods`.
    pub state: PathBuf,
    /// The folder where the container runtime mounts network namespaces. Default `/run/netns`.
    pub netns: PathBuf,
    /// How sockets to and from pods are made.
    pub tuning: SocketTuning,
}

/// The daemon's hold on the enrolment thread, which ends when this is dropped. Rules stay in force then.
#[derive(Debug)]
pub struct EnrolHandle {
    commands: Commands,
    thread: Option<JoinHandle<()>>,
}

/// Ends capture before the daemon ends, where it is to end. Clones end the same.
#[derive(Clone, Debug)]
pub struct Leaving {
    commands: Commands,
}

/// Why enrolment could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The socket.
    #[error("enrolment socket {} cannot be opened", path.display())]
    Socket {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The thread.
    #[error("enrolment thread cannot be started")]
    Thread(#[source] io::Error),
}

/// Takes up the pods of an earlier process and serves the socket, on a thread of its own.
///
/// # Errors
/// When socket, state folder or thread cannot be had.
pub fn start(config: EnrolConfig, events: impl CaptureEvents) -> Result<EnrolHandle, StartError> {
    let EnrolConfig { socket, state, netns, tuning } = config;
    let (commands, queue) = Commands::queue().map_err(StartError::Thread)?;
    let means = Means { state: Memory::folder(&state)?, marks: None, tuning, commands: commands.clone() };
    let registry = Registry::new(means, Namespaces::In(netns), Box::new(events));
    let listener = PacketListener::bind(&socket)
        .map_err(|source| StartError::Socket { path: socket.clone(), source })?;
    spawn(registry, Server::new(listener), commands, queue)
}

/// Captures, by these marks, the one pod in whose namespace the daemon itself is. Nobody else enrols any, and nothing is
/// remembered: what a killed process left in the namespace is replaced.
///
/// # Errors
/// When the thread cannot be had.
pub fn start_inside(
    marks: Marks,
    tuning: SocketTuning,
    events: impl CaptureEvents,
) -> Result<EnrolHandle, StartError> {
    let (commands, queue) = Commands::queue().map_err(StartError::Thread)?;
    let means = Means { state: Memory::none(), marks: Some(marks), tuning, commands: commands.clone() };
    spawn(Registry::new(means, Namespaces::Own, Box::new(events)), Server::closed(), commands, queue)
}

fn spawn(
    mut registry: Registry,
    server: Server,
    commands: Commands,
    queue: CommandQueue,
) -> Result<EnrolHandle, StartError> {
    let work = move || {
        if let Err(error) = registry.restore() {
            tracing::error!(error = certs::describe(&error), "captured pods cannot be taken up");
        }
        registry.report();
        run(server, &queue, &mut registry);
    };
    let thread = std::thread::Builder::new().name("enrol".to_owned()).spawn(work);
    Ok(EnrolHandle { commands, thread: Some(thread.map_err(StartError::Thread)?) })
}

impl EnrolHandle {
    /// Says which pods the node has and which of them should be captured: always all of them.
    pub fn desire(&self, pods: Vec<DesiredPod>) {
        self.commands.send(Command::Desire(pods));
    }

    /// For a daemon whose pod ends with it.
    pub fn leaving(&self) -> Leaving {
        Leaving { commands: self.commands.clone() }
    }
}

impl Leaving {
    /// Redirects nothing new from now on, in any pod. What is proxied goes on.
    pub fn begin(&self) {
        self.commands.send(Command::Leave);
    }

    /// Takes away rules and routes of pods that drain, and whatever is proxied still with them; none when enrolment has
    /// ended. Pods that are to be captured stay so.
    ///
    /// # Cancel safety
    /// They are taken away nevertheless.
    pub async fn finish(&self) -> Option<Left> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Finish(done));
        answer.await.ok()
    }
}

impl Default for EnrolConfig {
    fn default() -> Self {
        Self {
            socket: "/run/ambient/enrol.sock".into(),
            state: "/run/ambient/pods".into(),
            netns: "/run/netns".into(),
            tuning: SocketTuning::default(),
        }
    }
}

impl Drop for EnrolHandle {
    fn drop(&mut self) {
        self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // It has said on stderr why it panicked.
            let _panicked = thread.join();
        }
    }
}

fn run(mut server: Server, queue: &CommandQueue, registry: &mut Registry) {
    loop {
        let (callers, announced) = wait(&server, queue, registry).unwrap_or_else(|error| {
            // Short of memory or descriptors: pods are looked after all the same, if not at once.
            tracing::error!(%error, "enrolment cannot wait for what happens, and looks once a second");
            std::thread::sleep(QUIET_PERIOD);
            Default::default()
        });
        queue.rearm();
        while let Some(command) = queue.next() {
            if matches!(command, Command::Stop) {
                return;
            }
            registry.obey(command);
        }
        let now = Instant::now();
        for uid in announced {
            registry.announced(&uid, now);
        }
        server.serve(&callers, registry);
        registry.tick(Instant::now());
        registry.report();
    }
}

/// Waits until there is something to do; which of the server's descriptors are ready, and whose rules changed.
fn wait(
    server: &Server,
    queue: &CommandQueue,
    registry: &Registry,
) -> Result<(Vec<bool>, Vec<PodUid>), Errno> {
    let now = Instant::now();
    let restless = server.is_restless() || registry.enrolled().any(|(_, pod)| pod.is_restless(now));
    let timeout = if restless { RESTLESS_PERIOD } else { QUIET_PERIOD };
    // One whose rules are looked at soon anyway must not wake us for each further change.
    let watched: Vec<_> = registry.enrolled().filter(|(_, pod)| pod.awaits_announcement(now)).collect();
    let mut waiting = vec![PollFd::new(queue.as_fd(), PollFlags::POLLIN)];
    waiting.extend(server.descriptors());
    let served = waiting.len();
    waiting.extend(watched.iter().map(|(_, pod)| PollFd::new(pod.announcements.as_fd(), PollFlags::POLLIN)));
    match poll(&mut waiting, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error),
    }
    let ready = |it: &PollFd<'_>| it.any().unwrap_or(false);
    let callers = waiting[1..served].iter().map(ready).collect();
    let announced = watched.iter().zip(&waiting[served..]).filter(|(_, it)| ready(it));
    Ok((callers, announced.map(|((uid, _), _)| (*uid).clone()).collect()))
}

/// How long nothing may be looked after: a namespace that vanished is noticed within this time.
const QUIET_PERIOD: Duration = Duration::from_secs(1);
/// The same while a pod drains or its rules are about to be looked at.
const RESTLESS_PERIOD: Duration = Duration::from_millis(100);
