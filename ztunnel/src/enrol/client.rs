//! The caller's side of the enrolment socket: for the CNI plugin, the command line and tests.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::PodUid;
use super::protocol::{AddPod, Answer, PodStatus, Refusal, Request};
use super::seqpacket::{PacketError, PacketStream};

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens there.
    #[error(
        "no daemon answers at {}: does `ztunnel proxy` run on this node, and is that its state.enrolSocket?",
        socket.display()
    )]
    Connect {
        /// Where one should.
        socket: PathBuf,
        /// Why none does.
        source: io::Error,
    },
    /// The answer does not fit the question.
    #[error("the daemon answered something else than was asked")]
    OutOfStep,
    /// The answer could not be read.
    #[error("answer cannot be read")]
    Receive(#[source] PacketError),
    /// The daemon said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The question could not be sent.
    #[error("question cannot be sent")]
    Send(#[source] io::Error),
}

/// Has a pod captured. `netns` is its namespace; without it the path in `pod` counts.
///
/// # Errors
/// When no daemon answers, or capture does not work: the pod is not captured then.
pub fn add(socket: &Path, pod: AddPod, netns: Option<BorrowedFd<'_>>) -> Result<(), ClientError> {
    match ask(socket, &Request::Add(Box::new(pod)), netns)?.1 {
        Answer::Added => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// Has a pod released; `now` cuts its connections. True when nothing is left, false while connections end.
///
/// # Errors
/// When no daemon answers, or it cannot take the rules away.
pub fn remove(socket: &Path, uid: PodUid, now: bool) -> Result<bool, ClientError> {
    match ask(socket, &Request::Remove { uid, now }, None)?.1 {
        Answer::Removed { gone } => Ok(gone),
        other => Err(unexpected(other)),
    }
}

/// How all pods fare.
///
/// # Errors
/// When no daemon answers.
pub fn list(socket: &Path) -> Result<Vec<PodStatus>, ClientError> {
    let (stream, mut answer) = ask(socket, &Request::List, None)?;
    let mut all = Vec::new();
    loop {
        match answer {
            Answer::Pods { pods, more } => {
                all.extend(pods);
                if !more {
                    return Ok(all);
                }
            }
            other => return Err(unexpected(other)),
        }
        answer = stream.receive().map_err(ClientError::Receive)?.0;
    }
}

fn ask(
    socket: &Path,
    request: &Request,
    fd: Option<BorrowedFd<'_>>,
) -> Result<(PacketStream, Answer), ClientError> {
    let refused = |source| ClientError::Connect { socket: socket.to_owned(), source };
    let stream = PacketStream::connect(socket).map_err(refused)?;
    stream.send(request, fd).map_err(ClientError::Send)?;
    let answer = stream.receive().map_err(ClientError::Receive)?.0;
    Ok((stream, answer))
}

fn unexpected(answer: Answer) -> ClientError {
    match answer {
        Answer::Refused(refusal) => refusal.into(),
        _ => ClientError::OutOfStep,
    }
}
