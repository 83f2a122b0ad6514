//! From received bytes to payload at applications.

use smallvec::SmallVec;

use super::lane::{Batch, Lane};
use super::state::{Ended, State};
use crate::h2::{ConnectRequest, Connection, Event, StreamId};
use crate::record::Opened;
use slab::Slab;

/// What a turn of receiving brought besides payload.
#[derive(Default)]
pub(super) struct Brought {
    /// New streams of the peer, with their tokens.
    pub(super) requests: SmallVec<[(usize, ConnectRequest); 4]>,
    /// The peer has ended the TLS connection.
    pub(super) closed: bool,
    /// Bytes that were used up.
    pub(super) consumed: usize,
    /// How often payload went to an application.
    pub(super) deliveries: u64,
    /// The socket had something, be it less than a record.
    pub(super) received: bool,
    /// Nothing was read: the peer is to read first what we have for it.
    pub(super) held_back: bool,
    /// The read was full: there is more to be read.
    pub(super) full: bool,
    /// The last ping was answered.
    pub(super) pong: bool,
}

impl State {
    /// Opens the records in `buffer` where they lie and hands on what they hold. What is left of `buffer` is the
    /// beginning of a record.
    pub(super) fn take_in(&mut self, buffer: &mut [u8]) -> Result<Brought, Ended> {
        let mut brought = Brought::default();
        let mut batch = Batch::new();
        let mut rest = buffer;
        loop {
            match self.records.open(rest)? {
                Opened::Incomplete { .. } => break,
                Opened::CloseNotify { .. } => {
                    brought.closed = true;
                    break;
                }
                Opened::Control { consumed } => {
                    brought.consumed += consumed;
                    rest = std::mem::take(&mut rest).split_at_mut(consumed).1;
                }
                Opened::Data { consumed, plaintext } => {
                    brought.consumed += consumed;
                    let (record, behind) = std::mem::take(&mut rest).split_at_mut(consumed);
                    rest = behind;
                    let mut input = &record[plaintext];
                    while let Some(event) = self.h2.next_event(&mut input)? {
                        self.event(event, &mut batch, &mut brought);
                    }
                }
            }
        }
        brought.deliveries += deliver(&mut batch, &mut self.lanes, &mut self.h2);
        Ok(brought)
    }

    fn event<'b>(&mut self, event: Event<'b>, batch: &mut Batch<'b>, brought: &mut Brought) {
        if let Event::Data { stream, token, payload } = event {
            if !batch.takes(stream) {
                brought.deliveries += deliver(batch, &mut self.lanes, &mut self.h2);
                (batch.stream, batch.token) = (Some(stream), token);
            }
            batch.add(payload);
            return;
        }
        // Payload first: what ends a stream must not overtake it.
        brought.deliveries += deliver(batch, &mut self.lanes, &mut self.h2);
        match event {
            Event::Data { .. } => {}
            Event::Request { stream, request, .. } => {
                let token = self.lanes.insert(Lane::new(stream));
                self.h2.set_token(stream, token);
                brought.requests.push((token, request));
            }
            Event::Response { stream, token, response, .. } => {
                self.with_lane(stream, token, |lane| lane.response = Some(response));
            }
            Event::EndStream { stream, token } => {
                self.with_lane(stream, token, |lane| lane.peer_ended = true)
            }
            Event::Reset { stream, token, code } => {
                self.with_lane(stream, token, |lane| lane.reset = Some(code));
            }
            Event::WindowOpened { token: Some(token) } => {
                if let Some(lane) = self.lanes.get(token) {
                    lane.wake();
                }
            }
            Event::Settings | Event::WindowOpened { token: None } => {
                self.lanes.iter().for_each(|(_, lane)| lane.wake())
            }
            Event::PingAck { .. } => brought.pong = true,
            Event::GoAway { last_stream, code } => {
                tracing::debug!(last_stream, %code, "peer takes no more streams");
            }
        }
    }

    fn with_lane(&mut self, stream: StreamId, token: usize, change: impl FnOnce(&mut Lane)) {
        if let Some(lane) = lane(&mut self.lanes, stream, token) {
            change(lane);
            lane.wake();
        }
    }
}

/// Writes what was collected to its application; says how many that were, one or none.
fn deliver(batch: &mut Batch<'_>, lanes: &mut Slab<Lane>, h2: &mut Connection) -> u64 {
    let Some(stream) = batch.stream.take() else { return 0 };
    let done = match lane(lanes, stream, batch.token) {
        Some(lane) => lane.deliver(&batch.pieces, batch.total),
        // Its relay is gone: the bytes still count for the connection.
        None => batch.total,
    };
    if done > 0 {
        h2.release(stream, done);
    }
    batch.pieces.clear();
    batch.total = 0;
    1
}

/// The lane of that very stream: a token is used again.
fn lane(lanes: &mut Slab<Lane>, stream: StreamId, token: usize) -> Option<&mut Lane> {
    lanes.get_mut(token).filter(|lane| lane.stream == stream)
}
