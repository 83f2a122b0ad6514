//! A tunnel's data.

use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use super::buffers::Buffers;
use super::lane::Lane;
use super::outgoing::{FlushError, Outgoing};
use super::relay::RelayError;
use crate::h2::{Connection, ConnectionError};
use crate::record::{RecordError, Records};

/// A tunnel's data, borrowed for the length of one poll.
#[derive(Debug)]
pub(super) struct State {
    pub(super) h2: Connection,
    pub(super) records: Records,
    pub(super) outgoing: Outgoing,
    /// Streams by token.
    pub(super) lanes: Slab<Lane>,
    /// The beginning of a record that is not all there yet.
    pub(super) partial: Vec<u8>,
    /// Streams whose relays wait for room in `outgoing`, by token.
    pub(super) blocked: Vec<usize>,
    /// The driver's task.
    pub(super) driver: Option<Waker>,
    /// The driver has been woken and has not run since.
    pub(super) scheduled: bool,
    /// Anything was received since the last look.
    pub(super) alive: bool,
    /// Somebody wants to know whether the peer is there, and for how long to wait.
    pub(super) doubted: Option<Duration>,
    pub(super) ended: Option<Ended>,
}

/// Why a tunnel ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Ended {
    /// The stream of another tunnel that carries it failed.
    #[error("what carries the tunnel failed")]
    Carrier(#[source] std::sync::Arc<RelayError>),
    /// It was to be closed, and its last stream had ended.
    #[error("tunnel was closed")]
    Closed,
    /// The driver was dropped: the worker ends.
    #[error("tunnel was given up")]
    Dropped,
    /// The peer closed it.
    #[error("peer closed the tunnel")]
    PeerClosed,
    /// The peer breaks HTTP/2.
    #[error("peer broke the tunnel's protocol")]
    Protocol(#[from] ConnectionError),
    /// The peer breaks TLS.
    #[error("peer broke the tunnel's encryption")]
    Record(#[source] std::sync::Arc<RecordError>),
    /// The peer's certificate was revoked.
    #[error("peer's certificate was revoked")]
    Revoked,
    /// The socket failed.
    #[error("tunnel's socket failed")]
    Socket(#[source] std::sync::Arc<std::io::Error>),
    /// The peer answers no ping.
    #[error("peer did not answer a ping within {0:?}")]
    Unresponsive(Duration),
}

impl State {
    pub(super) fn new(h2: Connection, records: Records, received: Vec<u8>) -> Self {
        Self {
            h2,
            records,
            outgoing: Outgoing::default(),
            lanes: Slab::new(),
            partial: received,
            blocked: Vec::new(),
            driver: None,
            scheduled: false,
            alive: false,
            doubted: None,
            ended: None,
        }
    }

    /// Has the driver run soon.
    pub(super) fn schedule(&mut self) {
        if !self.scheduled {
            self.scheduled = true;
            if let Some(driver) = &self.driver {
                driver.wake_by_ref();
            }
        }
    }

    /// Puts the control frames that there are behind what is to be sent.
    pub(super) fn collect_control(&mut self, buffers: &Buffers) -> Result<(), RecordError> {
        if self.h2.control().is_empty() {
            return Ok(());
        }
        self.outgoing.control(self.h2.control(), &mut self.records, buffers)
    }

    /// Ends the tunnel for everyone who waits for it.
    pub(super) fn end(&mut self, why: Ended, buffers: &Buffers) {
        if self.ended.is_none() {
            self.ended = Some(why);
        }
        self.outgoing.reset(buffers);
        self.partial = Vec::new();
        for (_, lane) in &self.lanes {
            lane.wake();
        }
        self.unblock();
    }

    /// Wakes those who wait for room.
    pub(super) fn unblock(&mut self) {
        for token in self.blocked.drain(..) {
            // A token may be another stream's by now, which is woken in vain.
            if let Some(lane) = self.lanes.get_mut(token) {
                lane.blocked = false;
                lane.wake();
            }
        }
    }

    /// Has the relay of a stream woken when there is room to send.
    pub(super) fn block(&mut self, token: usize) {
        if !std::mem::replace(&mut self.lanes[token].blocked, true) {
            self.blocked.push(token);
        }
    }
}

impl From<RecordError> for Ended {
    fn from(error: RecordError) -> Self {
        Self::Record(std::sync::Arc::new(error))
    }
}

impl From<FlushError> for Ended {
    fn from(error: FlushError) -> Self {
        match error {
            FlushError::Record(error) => error.into(),
            FlushError::Socket(error) => Self::Socket(std::sync::Arc::new(error)),
        }
    }
}
