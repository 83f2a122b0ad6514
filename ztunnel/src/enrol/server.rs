//! The daemon's side of the enrolment socket.

use std::os::fd::{AsFd, OwnedFd};

use certs::describe;
use nix::poll::{PollFd, PollFlags};

use super::error::EnrolError;
use super::protocol::{Answer, PODS_A_PACKET, Refusal, RefusalReason, Request};
use super::registry::Registry;
use super::seqpacket::{PacketError, PacketListener, PacketStream};
use crate::redirect::ListenError;

/// The socket and those who speak on it.
pub(super) struct Server {
    /// None where nobody is to call.
    listener: Option<PacketListener>,
    callers: Vec<PacketStream>,
    /// The next caller could not be accepted, for want of a descriptor: the socket stays ready, and is tried again from
    /// time to time.
    held_back: bool,
}

impl Server {
    pub(super) const fn new(listener: PacketListener) -> Self {
        Self { listener: Some(listener), callers: Vec::new(), held_back: false }
    }

    /// One that nobody can call.
    pub(super) const fn closed() -> Self {
        Self { listener: None, callers: Vec::new(), held_back: false }
    }

    /// What to wait for: the socket first, if there is one, then each caller.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = PollFd<'_>> {
        let for_callers = if self.held_back { PollFlags::empty() } else { PollFlags::POLLIN };
        let callers = self.callers.iter().map(|caller| PollFd::new(caller.as_fd(), PollFlags::POLLIN));
        self.listener.iter().map(move |it| PollFd::new(it.as_fd(), for_callers)).chain(callers)
    }

    /// Whether somebody waits whom nothing will announce.
    pub(super) const fn is_restless(&self) -> bool {
        self.held_back
    }

    /// Serves what is `ready`, in the order of [`Self::descriptors`].
    pub(super) fn serve(&mut self, ready: &[bool], registry: &mut Registry) {
        let (listener_ready, callers_ready) = ready.split_first().unwrap_or((&false, &[]));
        let mut at = 0;
        self.callers.retain(|caller| {
            let is_ready = callers_ready.get(at).copied().unwrap_or(false);
            at += 1;
            !is_ready || answer_one(caller, registry)
        });
        if *listener_ready || self.held_back {
            self.welcome();
        }
    }

    fn welcome(&mut self) {
        let Some(listener) = &self.listener else { return };
        let accepted = listener.accept();
        let was_held_back = std::mem::replace(&mut self.held_back, accepted.is_err());
        match accepted {
            Ok(Some(caller)) if !caller.is_root().unwrap_or(false) => {
                tracing::warn!("caller on the enrolment socket is not root");
                let refusal = refusal(RefusalReason::NotRoot, "only root may enrol pods".to_owned());
                let _gone_then = caller.send(&Answer::Refused(refusal), None);
            }
            // A caller speaks and goes; so many at once are not the CNI plugin.
            Ok(Some(_)) if self.callers.len() >= MAX_CALLERS => {
                tracing::warn!("too many callers on the enrolment socket");
            }
            Ok(Some(caller)) => self.callers.push(caller),
            Ok(None) => {}
            Err(error) if !was_held_back => tracing::warn!(%error, "enrolment socket cannot accept"),
            Err(_) => {}
        }
    }
}

/// Answers one request; false when the conversation is over.
fn answer_one(caller: &PacketStream, registry: &mut Registry) -> bool {
    let answers = match caller.receive::<Request>() {
        Ok((request, fds)) => carry_out(request, fds, registry),
        Err(PacketError::Closed | PacketError::Io(_)) => return false,
        Err(error @ PacketError::Version { .. }) => {
            refused(RefusalReason::UnsupportedVersion, error.to_string())
        }
        Err(error) => refused(RefusalReason::InvalidRequest, describe(&error)),
    };
    answers.iter().all(|answer| caller.send(answer, None).is_ok())
}

fn carry_out(request: Request, mut fds: Vec<OwnedFd>, registry: &mut Registry) -> Vec<Answer> {
    let done = match request {
        Request::Add(add) => registry.add(*add, fds.pop()).map(|()| Answer::Added),
        Request::Remove { uid, now } => registry.remove(&uid, now).map(|gone| Answer::Removed { gone }),
        Request::List => return list(registry),
    };
    match done {
        Ok(answer) => vec![answer],
        Err(error) => {
            let message = describe(&error);
            tracing::warn!(error = message, "enrolment request refused");
            refused(reason_of(&error), message)
        }
    }
}

fn list(registry: &Registry) -> Vec<Answer> {
    let pods = registry.status();
    let mut answers: Vec<Answer> =
        pods.chunks(PODS_A_PACKET).map(|pods| Answer::Pods { pods: pods.to_vec(), more: true }).collect();
    answers.push(Answer::Pods { pods: Vec::new(), more: false });
    answers
}

fn refused(reason: RefusalReason, message: String) -> Vec<Answer> {
    vec![Answer::Refused(refusal(reason, message))]
}

const fn refusal(reason: RefusalReason, message: String) -> Refusal {
    Refusal { reason, message }
}

const fn reason_of(error: &EnrolError) -> RefusalReason {
    match error {
        EnrolError::AddressMissing => RefusalReason::AddressMissing,
        EnrolError::Listen(ListenError::PortHeld { .. }) => RefusalReason::PortHeld,
        EnrolError::Netns { .. } | EnrolError::NetnsGone | EnrolError::NetnsUnknown => {
            RefusalReason::NetnsUnusable
        }
        EnrolError::NetnsTaken(_) => RefusalReason::InvalidRequest,
        EnrolError::State(_) => RefusalReason::StateUnwritable,
        EnrolError::Unknown(_) => RefusalReason::UnknownPod,
        EnrolError::Capture(_)
        | EnrolError::Ineffective(_)
        | EnrolError::Listen(_)
        | EnrolError::Netlink(_) => RefusalReason::CaptureFailed,
    }
}

/// Callers that are heard at the same time.
const MAX_CALLERS: usize = 64;
