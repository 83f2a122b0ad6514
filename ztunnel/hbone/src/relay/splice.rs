//! Bytes moved through a pipe, without leaving the kernel (splice(2)).

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

use crate::socket::Socket;

/// A pipe between two sockets.
#[derive(Debug)]
pub(crate) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    capacity: usize,
    /// Bytes in it.
    held: usize,
}

impl Pipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Refused beyond a user's share of pipe memory; the default size does too.
        let capacity = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(CAPACITY))
            .ok()
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(DEFAULT_CAPACITY);
        Ok(Self { reader, writer, capacity, held: 0 })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves what `from` has into the pipe, which is empty; 0 is the end of the stream.
    pub(crate) fn fill(&mut self, cx: &mut Context<'_>, from: &Socket) -> Poll<io::Result<usize>> {
        let Self { writer, capacity, .. } = self;
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        let count = ready!(from.poll_read_with(cx, |socket| {
            splice(socket, None, &*writer, None, *capacity, flags).map_err(io::Error::from)
        }))?;
        self.held += count;
        Poll::Ready(Ok(count))
    }

    /// Moves what is in the pipe to `to`. Ready when nothing is left.
    pub(crate) fn drain(
        &mut self,
        cx: &mut Context<'_>,
        to: &Socket,
        moved: &dyn Fn(usize),
    ) -> Poll<io::Result<()>> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        while self.held > 0 {
            let Self { reader, held, .. } = self;
            let count = ready!(to.poll_write_with(cx, |socket| {
                splice(&*reader, None, socket, None, *held, flags).map_err(io::Error::from)
            }))?;
            self.held -= count;
            moved(count);
        }
        Poll::Ready(Ok(()))
    }
}

/// What a pipe is asked to hold: one read of a tunnel fits, and pipes have sizes of powers of two.
const CAPACITY: i32 = 256 << 10;
const DEFAULT_CAPACITY: usize = 64 << 10;
