//! One direction.

use std::io;
use std::task::{Context, Poll, ready};

use super::FlowError;
use super::splice::Pipe;
use crate::socket::Socket;
use crate::tunnel::{Buffers, Pending, READ};

/// One direction of a relay.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// What the receiver has not taken yet.
    pending: Pending,
    /// There while the sender sends in bulk.
    pipe: Option<Pipe>,
    /// Large reads in a row.
    large: u32,
    /// The sender has ended, and the receiver was told.
    ended: bool,
}

impl Flow {
    /// Moves bytes as far as both sides allow. Ready when this direction has ended.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &Socket,
        to: &Socket,
        buffers: &Buffers,
        moved: &dyn Fn(usize),
    ) -> Poll<Result<(), FlowError>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        let mut turn = 0;
        loop {
            ready!(self.drain(cx, to, moved)).map_err(FlowError::To)?;
            let step = match &mut self.pipe {
                Some(pipe) => ready!(pipe.fill(cx, from)).map_err(FlowError::From)?,
                None => ready!(self.copy(cx, from, to, buffers, moved))?,
            };
            match step {
                0 => {
                    self.pipe = None;
                    self.ended = true;
                    // A receiver that is gone already has said so, or will when the other direction ends.
                    return Poll::Ready(to.shutdown_write().map_err(FlowError::To));
                }
                count => {
                    self.adapt(count);
                    turn += count;
                }
            }
            if turn >= READ {
                // The others' turn.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Writes what was kept. Ready when nothing is left.
    fn drain(&mut self, cx: &mut Context<'_>, to: &Socket, moved: &dyn Fn(usize)) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let count = ready!(to.poll_send(cx, self.pending.bytes()))?;
            self.pending.take(count);
            moved(count);
        }
        match &mut self.pipe {
            Some(pipe) => pipe.drain(cx, to, moved),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Reads once and writes what was read as far as the receiver takes it at once.
    fn copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &Socket,
        to: &Socket,
        buffers: &Buffers,
        moved: &dyn Fn(usize),
    ) -> Poll<Result<usize, FlowError>> {
        let mut scratch = buffers.scratch();
        let count = ready!(from.poll_recv(cx, &mut scratch[..READ])).map_err(FlowError::From)?;
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let written = match to.try_send_vectored(&[io::IoSlice::new(&scratch[..count])]) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Poll::Ready(Err(FlowError::To(error))),
        };
        moved(written);
        self.pending.push(&scratch[written..count]);
        Poll::Ready(Ok(count))
    }

    /// Begins to splice when reads have been large for a while, and ends it when they no longer are.
    fn adapt(&mut self, count: usize) {
        if count >= LARGE {
            self.large = (self.large + 1).min(PATIENCE);
            if self.large == PATIENCE && self.pipe.is_none() {
                // Without a pipe (too many open files) bytes are copied as before.
                self.pipe = Pipe::new().ok();
            }
        } else {
            self.large = self.large.saturating_sub(1);
            if self.large == 0 && self.pipe.as_ref().is_some_and(Pipe::is_empty) {
                self.pipe = None;
            }
        }
    }
}

/// A read that looks like bulk.
const LARGE: usize = 32 << 10;

/// Large reads in a row after which bytes are spliced: a pipe costs three syscalls and two descriptors.
const PATIENCE: u32 = 16;
