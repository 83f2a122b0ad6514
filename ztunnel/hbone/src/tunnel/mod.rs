//! One TLS connection and its streams, driven by one task on one worker.
//!
//! - [`driver`]: the task: [`receive`]s, writes payload straight to applications, sends what was collected;
//! - [`stream`]: one CONNECT stream, and [`relay`]: the task of one application's connection;
//! - [`lane`]: what driver and relay share of a stream, [`pending`]: what an application has not taken yet;
//! - [`nested`]: a tunnel within a stream of another one;
//! - [`outgoing`]: frames put into records where they lie; [`buffers`]: what a worker's tunnels share.
//!
//! A worker's tasks run one after the other. So a tunnel is plain data behind a `RefCell`, borrowed for the length of
//! one poll at most, and everything that the streams of a tunnel have to say in one turn of the event loop leaves in one
//! write: the first of them wakes the driver, which then runs behind all others that are ready.

mod buffers;
mod driver;
mod lane;
mod nested;
mod outgoing;
mod pending;
mod receive;
mod relay;
mod state;
mod stream;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use identity::SpiffeId;
use rustls::pki_types::CertificateDer;

use crate::h2::{ConnectRequest, Connection, Limits, OpenError};
use crate::record::Established;
use crate::socket::Socket;

pub use buffers::{Buffers, READ};
pub use driver::drive;
pub use nested::{Carrier, drive_nested};
pub use pending::Pending;
pub use relay::{Meter, Relay, RelayError};
pub use state::Ended;
pub use stream::{Request, Stream, StreamError};

use lane::Lane;
use state::State;

/// A tunnel. Clones are the same one. Its task must run: [`drive`].
#[derive(Clone, Debug)]
pub struct Tunnel(Rc<Shared>);

/// How long silence is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Silence before the peer is pinged. Default 10 s.
    pub ping_every: Duration,
    /// How long it may take to answer. Default 20 s.
    pub ping_timeout: Duration,
    /// How long the tunnel is kept without streams; none leaves that to the peer.
    pub idle: Option<Duration>,
}

#[derive(Debug)]
struct Shared {
    state: RefCell<State>,
    socket: Socket,
    buffers: Buffers,
    timing: Timing,
    peer: SpiffeId,
    peer_certificates: Rc<[CertificateDer<'static>]>,
    /// The last second of the first of these certificates to end, since 1970.
    peer_until: Cell<u64>,
}

impl Tunnel {
    /// The end that opens streams.
    pub fn client(established: Established, limits: Limits, timing: Timing, buffers: Buffers) -> Self {
        Self::new(established, Connection::client(limits), timing, buffers)
    }

    /// The end that is asked.
    pub fn server(established: Established, limits: Limits, timing: Timing, buffers: Buffers) -> Self {
        Self::new(established, Connection::server(limits), timing, buffers)
    }

    fn new(established: Established, h2: Connection, timing: Timing, buffers: Buffers) -> Self {
        let Established { socket, records, received, peer, peer_certificates, .. } = established;
        let state = RefCell::new(State::new(h2, records, received));
        // One that does not parse was never accepted.
        let ends = peer_certificates.iter().map(|certificate| certs::not_after(certificate).unwrap_or(0));
        let peer_until = Cell::new(ends.min().unwrap_or(0));
        Self(Rc::new(Shared {
            state,
            socket,
            buffers,
            timing,
            peer,
            peer_certificates: peer_certificates.into(),
            peer_until,
        }))
    }

    /// Who the peer has proved to be.
    pub fn peer(&self) -> &SpiffeId {
        &self.0.peer
    }

    /// The certificates by which it did, leaf first.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        &self.0.peer_certificates
    }

    /// Asks for a stream (clients only).
    ///
    /// # Errors
    /// When the tunnel takes no more streams: open another one.
    pub fn open(&self, request: &ConnectRequest) -> Result<Stream, OpenError> {
        let mut state = self.0.state.borrow_mut();
        if state.ended.is_some() {
            return Err(OpenError::GoingAway);
        }
        let stream = state.h2.open(request)?;
        let token = state.lanes.insert(Lane::new(stream));
        state.h2.set_token(stream, token);
        state.schedule();
        drop(state);
        Ok(Stream::new(self.clone(), token))
    }

    /// Whether [`open`](Self::open) would succeed now.
    pub fn can_open(&self) -> bool {
        let state = self.0.state.borrow();
        state.ended.is_none() && state.h2.can_open()
    }

    /// Whether no stream can ever be opened again.
    pub fn is_leaving(&self) -> bool {
        let state = self.0.state.borrow();
        state.ended.is_some() || state.h2.is_going_away()
    }

    /// How many streams there are.
    pub fn stream_count(&self) -> usize {
        self.0.state.borrow().lanes.len()
    }

    /// Takes no new streams; ends when the last one has.
    pub fn leave(&self) {
        let mut state = self.0.state.borrow_mut();
        state.h2.go_away();
        state.schedule();
    }

    /// Asks the peer whether it is there, and ends unless something comes from it within that time.
    pub fn doubt(&self, within: Duration) {
        let mut state = self.0.state.borrow_mut();
        state.doubted = Some(within);
        state.schedule();
    }

    /// Ends at once, and resets the connections of its applications.
    pub fn cut(&self) {
        self.cut_for(Ended::Closed);
    }

    /// [`cut`](Self::cut), and tells those who had streams in it why.
    pub fn cut_for(&self, why: Ended) {
        let mut state = self.0.state.borrow_mut();
        state.ended.get_or_insert(why);
        state.schedule();
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self { ping_every: Duration::from_secs(10), ping_timeout: Duration::from_secs(20), idle: None }
    }
}

#[cfg(test)]
mod tests;
