//! TLS 1.3 records over the secrets of a finished rustls handshake (RFC 8446 §5).
//!
//! rustls does every handshake and keeps the key schedule; from then on records are sealed and opened where they
//! lie, in the driver's own buffers: no copy, no allocation per record, no lock. A buffer to be sent looks like
//! this, and a received record is opened in the same place:
//!
//! ```text
//! | header 5 | content 0..=16384 | type 1 | tag 16 |
//! ```
//!
//! - [`handshake`]: [`connect`] and [`accept`], from a fresh socket to an [`Established`] connection;
//! - [`keys`]: one direction's key, nonce and counter;
//! - [`seal`]: what we send; [`open`]: what we receive;
//! - [`control`]: what a peer sends besides data: tickets, key updates, alerts.

mod control;
mod handshake;
mod keys;
mod open;
mod seal;

#[cfg(test)]
pub(crate) mod tests;

use rustls::kernel::KernelConnection;
use rustls::{AlertDescription, ExtractedSecrets};

pub use handshake::{Established, HandshakeError, accept, connect};
pub use open::{Opened, RecordError};

use control::HandshakeReader;
use keys::{Direction, UnsupportedSuite};

/// Bytes in front of a record's content.
pub const HEADER: usize = 5;

/// Bytes behind a record's content: its inner type and the AEAD's tag.
pub const TRAILER: usize = 1 + keys::TAG;

/// Most bytes of content in one record (RFC 8446 §5.1).
pub const MAX_CONTENT: usize = 1 << 14;

/// Most bytes that a record of ours takes on the wire.
pub const MAX_RECORD: usize = HEADER + MAX_CONTENT + TRAILER;

/// Most bytes that a peer's record takes on the wire: its padding counts too (RFC 8446 §5.2).
pub const MAX_RECEIVED: usize = HEADER + MAX_CONTENT + 256;

/// A sealed alert.
pub type AlertRecord = [u8; HEADER + 2 + TRAILER];

/// Both directions of one established connection: seals what is sent, opens what was received.
///
/// A [`Records`] has no clock and does no I/O. The driver asks [`Records::key_update_due`] whenever it is about to
/// seal, and puts what [`Records::key_update`] writes in front of the next record.
pub struct Records {
    tx: Direction,
    rx: Direction,
    schedule: KeySchedule,
    handshakes: HandshakeReader,
    closed: bool,
    /// Records since the last one that carried content.
    fruitless: u32,
    /// A record counter from which the sending key is to be replaced.
    update_after: u64,
    /// The peer asked for a new sending key.
    update_asked: bool,
}

/// rustls' key schedule of a finished handshake.
enum KeySchedule {
    Client(KernelConnection<rustls::client::ClientConnectionData>),
    Server(KernelConnection<rustls::server::ServerConnectionData>),
}

impl Records {
    fn new(secrets: ExtractedSecrets, schedule: KeySchedule) -> Result<Self, UnsupportedSuite> {
        Ok(Self {
            tx: Direction::new(secrets.tx)?,
            rx: Direction::new(secrets.rx)?,
            schedule,
            handshakes: HandshakeReader::default(),
            closed: false,
            fruitless: 0,
            update_after: UPDATE_AFTER,
            update_asked: false,
        })
    }

    /// Replaces the sending key after `records` of them instead of 2^24: for tests of key updates.
    pub fn update_keys_after(&mut self, records: u64) {
        self.update_after = records;
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("sealed", &self.tx.count()).field("opened", &self.rx.count()).finish()
    }
}

impl KeySchedule {
    fn next_tx(&mut self) -> Result<Direction, RecordError> {
        let secrets = match self {
            Self::Client(kernel) => kernel.update_tx_secret(),
            Self::Server(kernel) => kernel.update_tx_secret(),
        };
        Direction::new(secrets.map_err(RecordError::KeySchedule)?).map_err(RecordError::from)
    }

    fn next_rx(&mut self) -> Result<Direction, RecordError> {
        let secrets = match self {
            Self::Client(kernel) => kernel.update_rx_secret(),
            Self::Server(kernel) => kernel.update_rx_secret(),
        };
        Direction::new(secrets.map_err(RecordError::KeySchedule)?).map_err(RecordError::from)
    }

    /// Keeps a ticket for later connections. Only servers send tickets.
    fn keep_ticket(&mut self, payload: &[u8]) -> Result<(), RecordError> {
        match self {
            Self::Client(kernel) => {
                kernel.handle_new_session_ticket(payload).map_err(|_malformed| RecordError::Malformed)
            }
            Self::Server(_) => Err(RecordError::Unexpected),
        }
    }
}

/// The content types that follow a handshake (RFC 8446 §B.1).
mod content_type {
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const APPLICATION_DATA: u8 = 23;
}

/// The sending key is replaced from here on: 2^24 records is what AES-GCM allows (RFC 8446 §5.5, rounded down as
/// rustls does), less more than one flush can seal between two looks at [`Records::key_update_due`].
const UPDATE_AFTER: u64 = (1 << 24) - (1 << 16);

/// The alert that a protocol error asks for, as its byte on the wire.
fn alert_code(alert: AlertDescription) -> u8 {
    u8::from(alert)
}
