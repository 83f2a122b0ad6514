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
    /// Lent while there are bytes in it, or are about to be.
    pipe: Option<Pipe>,
    /// The sender sends in bulk.
    bulk: bool,
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
            if let Poll::Ready(result) = self.drain(cx, to, moved) {
                result.map_err(FlowError::To)?;
            } else {
                return from.poll_failure(cx).map(|error| Err(FlowError::From(error)));
            }
            let step = match self.pipe(buffers) {
                Some(pipe) => pipe.fill(cx, from).map_err(FlowError::From),
                None => self.copy(cx, from, to, buffers, moved),
            };
            let Poll::Ready(count) = step else {
                // Nothing that is idle holds a pipe.
                self.give_back(buffers);
                return Poll::Pending;
            };
            match count? {
                0 => {
                    self.give_back(buffers);
                    self.ended = true;
                    // A receiver that is gone already has said so, or will when the other direction ends.
                    return Poll::Ready(to.shutdown_write().map_err(FlowError::To));
                }
                count => {
                    buffers.arrived(1);
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

    /// The pipe that bytes are to go through; none while they are few, or when there are too many open files.
    fn pipe(&mut self, buffers: &Buffers) -> Option<&mut Pipe> {
        if self.bulk && self.pipe.is_none() {
            self.pipe = buffers.lend_pipe();
        }
        self.pipe.as_mut()
    }

    fn give_back(&mut self, buffers: &Buffers) {
        if let Some(pipe) = self.pipe.take() {
            buffers.give_back_pipe(pipe);
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
            self.bulk |= self.large == PATIENCE;
        } else {
            self.large = self.large.saturating_sub(1);
            self.bulk &= self.large > 0;
        }
    }
}

/// A read that looks like bulk.
const LARGE: usize = 32 << 10;

/// Large reads in a row after which bytes are spliced: what is small is copied at less cost.
const PATIENCE: u32 = 16;
