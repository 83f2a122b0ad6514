//! Buffers that the tunnels and relays of one worker share.
//!
//! Nothing that is idle holds one: what is read is read into the worker's one scratch buffer and mostly gone before
//! the poll ends, and what is to be sent lies in a buffer of the pool only until the kernel has taken it.

use std::cell::{Cell, RefCell, RefMut};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::record::MAX_RECORD;
use crate::relay::Pipe;

/// The buffers of one worker. Clones share them.
#[derive(Clone, Debug)]
pub struct Buffers(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    scratch: RefCell<Box<[u8]>>,
    spare: RefCell<Vec<Box<[u8]>>>,
    pipes: RefCell<Vec<Pipe>>,
    arrivals: Cell<u64>,
    watcher: RefCell<Option<Waker>>,
}

impl Buffers {
    /// The buffers of a worker.
    pub fn new() -> Self {
        let scratch = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
        Self(Rc::new(Shared {
            scratch,
            spare: RefCell::default(),
            pipes: RefCell::default(),
            arrivals: Cell::new(0),
            watcher: RefCell::default(),
        }))
    }

    /// The buffer that everything is received into, for the length of one poll.
    ///
    /// # Panics
    /// When it is in use: a poll that calls another one must not hold it.
    pub fn scratch(&self) -> RefMut<'_, Box<[u8]>> {
        self.0.scratch.borrow_mut()
    }

    /// How many messages have arrived for the worker's tunnels and relays. Wraps.
    pub fn arrivals(&self) -> u64 {
        self.0.arrivals.get()
    }

    /// Waits until something has arrived that `seen` does not count.
    pub async fn arrival(&self, seen: u64) {
        poll_fn(|cx| {
            if self.arrivals() != seen {
                return Poll::Ready(());
            }
            *self.0.watcher.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// So many messages have arrived.
    pub(crate) fn arrived(&self, count: u64) {
        self.0.arrivals.set(self.arrivals().wrapping_add(count));
        if let Some(watcher) = self.0.watcher.borrow_mut().take() {
            watcher.wake();
        }
    }

    /// A buffer of [`SEND_BUFFER`] bytes, to be [given back](Self::give_back).
    pub(super) fn lend(&self) -> Box<[u8]> {
        let spare = self.0.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| vec![0; SEND_BUFFER].into_boxed_slice())
    }

    pub(super) fn give_back(&self, buffer: Box<[u8]>) {
        let mut spare = self.0.spare.borrow_mut();
        if spare.len() < MAX_SPARE && buffer.len() == SEND_BUFFER {
            spare.push(buffer);
        }
    }

    /// A pipe, to be [given back](Self::give_back_pipe); none when there are too many open files.
    pub(crate) fn lend_pipe(&self) -> Option<Pipe> {
        let spare = self.0.pipes.borrow_mut().pop();
        spare.or_else(|| Pipe::new().ok())
    }

    /// Takes a pipe back; one that is not empty is closed.
    pub(crate) fn give_back_pipe(&self, pipe: Pipe) {
        let mut pipes = self.0.pipes.borrow_mut();
        if pipes.len() < MAX_SPARE && pipe.is_empty() {
            pipes.push(pipe);
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// What one read takes at most, behind room for the part of a record that an earlier read has left. Large reads are
/// where bulk gets its speed; larger ones than this gain nothing more.
///
/// The kernel cuts what is written at once into packets of 62 to 64 KiB. These records fill four of them; one more would
/// be a fifth packet for the rest, which costs as much as a full one.
pub const READ: usize = RECORDS * MAX_RECORD;

/// Bytes of the scratch buffer.
pub(super) const SCRATCH: usize = READ + crate::record::MAX_RECEIVED;

/// Records that a buffer for sending has room for.
pub(super) const RECORDS: usize = 15;

/// Bytes of a buffer for sending: as many full records as one read fills, and one more, since the first may begin
/// anywhere in front of where the last may.
pub(super) const SEND_BUFFER: usize = (RECORDS + 1) * MAX_RECORD;

/// Buffers, and pipes, kept although nobody needs them: more than a worker sends from at a time.
const MAX_SPARE: usize = 4;
