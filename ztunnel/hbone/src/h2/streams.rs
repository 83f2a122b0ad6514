//! The open streams of a connection.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use slab::Slab;

use super::limits::{DEFAULT_WINDOW, Limits};
use super::window::{ReceiveWindow, SendWindow};

/// A stream of a connection. It says where the stream is kept, so finding it again costs an index and a comparison;
/// after the stream's end it finds nothing, even if the place was taken by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId {
    pub(super) id: u32,
    slot: u32,
}

impl StreamId {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self.id
    }
}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// The caller's own name for it.
    pub(super) token: usize,
    pub(super) sending: Half,
    pub(super) receiving: Half,
    pub(super) send: SendWindow,
    pub(super) receive: ReceiveWindow,
}

/// How far one direction of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    /// The headers are still to come.
    Headers,
    /// Payload may follow.
    Open,
    /// END_STREAM was seen.
    Ended,
}

impl Stream {
    pub(super) fn is_over(&self) -> bool {
        self.sending == Half::Ended && self.receiving == Half::Ended
    }
}

/// The open streams, by handle and by number.
#[derive(Debug)]
pub(super) struct Streams {
    slab: Slab<Stream>,
    slots: HashMap<u32, u32, RandomState>,
    /// The stream found last: consecutive frames are mostly for one.
    latest: Option<StreamId>,
    /// How large the window of one may become.
    max_window: u32,
    /// What windows may grow by, all together.
    spare: u32,
}

impl Streams {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            slab: Slab::new(),
            slots: HashMap::with_hasher(RandomState::default()),
            latest: None,
            max_window: limits.stream_window,
            spare: limits.spare_window(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(super) fn insert(&mut self, stream: Stream) -> StreamId {
        let id = stream.id;
        let slot = u32::try_from(self.slab.insert(stream)).expect("streams are fewer than their ids");
        self.slots.insert(id, slot);
        StreamId { id, slot }
    }

    /// The handle of the open stream with this number.
    pub(super) fn find(&mut self, id: u32) -> Option<StreamId> {
        if let Some(latest) = self.latest
            && latest.id == id
        {
            return Some(latest);
        }
        let slot = *self.slots.get(&id)?;
        self.latest = Some(StreamId { id, slot });
        self.latest
    }

    pub(super) fn get(&self, stream: StreamId) -> Option<&Stream> {
        self.slab.get(stream.slot as usize).filter(|found| found.id == stream.id)
    }

    pub(super) fn get_mut(&mut self, stream: StreamId) -> Option<&mut Stream> {
        self.slab.get_mut(stream.slot as usize).filter(|found| found.id == stream.id)
    }

    pub(super) fn remove(&mut self, stream: StreamId) -> Option<Stream> {
        self.get(stream)?;
        self.slots.remove(&stream.id);
        if self.latest == Some(stream) {
            self.latest = None;
        }
        let removed = self.slab.remove(stream.slot as usize);
        self.spare += removed.receive.size() - DEFAULT_WINDOW;
        Some(removed)
    }

    /// Counts bytes of a stream that were consumed; the increment that is due, once half of its window is to be given
    /// back: small enough that a sender never stalls, large enough that updates are few.
    ///
    /// A window doubles each time: whoever has taken so much in takes more. One whose reader stands still stays small,
    /// so the stuck streams of a connection can never use up what its others need.
    pub(super) fn release(&mut self, stream: StreamId, count: usize) -> Option<u32> {
        let (max_window, spare) = (self.max_window, self.spare);
        let window = self
            .get_mut(stream)
            .filter(|found| found.receiving == Half::Open)
            .map(|found| &mut found.receive)?;
        let increment = window.release(count, 2)?;
        // A share of what is left, so that none is ever refused altogether.
        let growth = window.size().min(max_window - window.size()).min(spare / 4);
        window.widen(growth);
        self.spare -= growth;
        Some(increment + growth)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slab.iter_mut().map(|(_, stream)| stream)
    }

    /// Some open stream whose number is above `id`.
    pub(super) fn above(&mut self, id: u32) -> Option<StreamId> {
        let number = self.slab.iter().map(|(_, stream)| stream.id).find(|number| *number > id)?;
        self.find(number)
    }
}
