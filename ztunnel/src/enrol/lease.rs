//! Leases: what keeps a draining pod's rules in force, and commands to the enrolment thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Weak, mpsc};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use super::{DesiredPod, PodUid};

/// Held by one proxied connection of a pod. When the last one ends after capture was turned off, the pod's rules go.
#[derive(Clone, Debug)]
pub struct Lease {
    end: Arc<LeaseEnd>,
}

/// Where the connections of one pod get their leases.
#[derive(Clone, Debug)]
pub struct LeaseSource {
    end: Weak<LeaseEnd>,
}

/// What a daemon that ends leaves in pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// A pod is captured, as it is to be: without a daemon it is shut.
    Captured,
    /// Nothing.
    Nothing,
    /// What was to be taken away could not be.
    Remains,
}

/// What the enrolment thread is told.
#[derive(Debug)]
pub(super) enum Command {
    /// The pods of this node, all of them.
    Desire(Vec<DesiredPod>),
    /// The last lease of that enrolment ended.
    Drained { uid: PodUid, enrolment: u64 },
    /// Take everything out of the namespaces of pods that drain, and say what is left.
    Finish(oneshot::Sender<Left>),
    /// Redirect nothing new in any pod, ever again.
    Leave,
    /// Leave everything in force and end.
    Stop,
}

/// Sends commands to the enrolment thread and wakes it.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    sender: mpsc::Sender<Command>,
    wake: Arc<EventFd>,
}

/// The thread's end.
#[derive(Debug)]
pub(super) struct CommandQueue {
    receiver: mpsc::Receiver<Command>,
    wake: Arc<EventFd>,
}

#[derive(Debug)]
struct LeaseEnd {
    uid: PodUid,
    enrolment: u64,
    commands: Commands,
}

impl Lease {
    /// The first lease of an enrolment. `enrolment` tells it from earlier ones of the same pod.
    pub(super) fn new(uid: PodUid, enrolment: u64, commands: Commands) -> Self {
        Self { end: Arc::new(LeaseEnd { uid, enrolment, commands }) }
    }

    pub(super) fn source(&self) -> LeaseSource {
        LeaseSource { end: Arc::downgrade(&self.end) }
    }
}

impl LeaseSource {
    /// A lease for a new connection; none when the pod has drained, and the connection must be refused.
    pub fn take(&self) -> Option<Lease> {
        self.end.upgrade().map(|end| Lease { end })
    }
}

impl Drop for LeaseEnd {
    fn drop(&mut self) {
        self.commands.send(Command::Drained { uid: self.uid.clone(), enrolment: self.enrolment });
    }
}

impl Commands {
    pub(super) fn queue() -> io::Result<(Self, CommandQueue)> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        let (sender, receiver) = mpsc::channel();
        Ok((Self { sender, wake: wake.clone() }, CommandQueue { receiver, wake }))
    }

    /// Hands over `command`. Nobody listens any more when the thread has ended, and nothing is owed then.
    pub(super) fn send(&self, command: Command) {
        if self.sender.send(command).is_ok() {
            // Fails only when the counter is full: the thread has been woken often enough.
            let _woken_anyway = self.wake.write(1);
        }
    }
}

impl CommandQueue {
    /// The next command, if any.
    pub(super) fn next(&self) -> Option<Command> {
        self.receiver.try_recv().ok()
    }

    /// Makes the descriptor wait for the next command again.
    pub(super) fn rearm(&self) {
        let _was_not_signalled = self.wake.read();
    }
}

impl AsFd for CommandQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
