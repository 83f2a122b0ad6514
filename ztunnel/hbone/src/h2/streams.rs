//! The open streams of a connection.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use slab::Slab;

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
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { slab: Slab::new(), slots: HashMap::with_hasher(RandomState::default()), latest: None }
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
        Some(self.slab.remove(stream.slot as usize))
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
