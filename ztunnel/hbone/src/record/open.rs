//! What we receive.

use std::ops::Range;

use rustls::AlertDescription;

use super::keys::{BadRecord, TAG, UnsupportedSuite};
use super::{HEADER, MAX_CONTENT, MAX_RECEIVED, Records, content_type};

/// What lies at the front of a buffer of received bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The peer ended what it sends: nothing behind this counts.
    CloseNotify {
        /// Bytes to drop from the front of the buffer: all of it.
        consumed: usize,
    },
    /// A ticket, a key update or padding. Look at [`Records::key_update_due`] when next sealing.
    Control {
        /// Bytes to drop from the front of the buffer.
        consumed: usize,
    },
    /// Application data, never empty.
    Data {
        /// Bytes to drop from the front of the buffer once the plaintext was used.
        consumed: usize,
        /// Where in the buffer the plaintext is.
        plaintext: Range<usize>,
    },
    /// The record is not all there.
    Incomplete {
        /// Bytes that the buffer must hold, counted from its front, before it is worth asking again.
        needed: usize,
    },
}

/// Why a connection's received bytes are unusable. All of them end the connection.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The peer ended the connection with an alert.
    #[error("peer sent the alert {0:?}")]
    Alert(AlertDescription),
    /// The record's tag is wrong: its bytes changed on the way, or were never sealed by the peer.
    #[error("record does not authenticate")]
    BadRecord,
    /// rustls could not derive the next key.
    #[error("key schedule refused the next key")]
    KeySchedule(#[source] rustls::Error),
    /// A ticket, key update or alert that does not parse.
    #[error("malformed control message")]
    Malformed,
    /// A record longer than TLS allows.
    #[error("record is longer than 2^14 bytes")]
    Overflow,
    /// A cipher suite that the handshake should not have chosen.
    #[error(transparent)]
    Suite(#[from] UnsupportedSuite),
    /// Record after record without any content.
    #[error("peer sent {MAX_FRUITLESS} records in a row without data")]
    TooManyFruitless,
    /// A record or message that has no place after a handshake.
    #[error("unexpected record or message")]
    Unexpected,
}

impl RecordError {
    /// The alert to send before closing; none when the peer has closed by one itself.
    pub fn alert(&self) -> Option<AlertDescription> {
        match self {
            Self::Alert(_) => None,
            Self::BadRecord => Some(AlertDescription::BadRecordMac),
            Self::KeySchedule(_) | Self::Suite(_) => Some(AlertDescription::InternalError),
            Self::Malformed => Some(AlertDescription::DecodeError),
            Self::Overflow => Some(AlertDescription::RecordOverflow),
            Self::TooManyFruitless | Self::Unexpected => Some(AlertDescription::UnexpectedMessage),
        }
    }
}

impl Records {
    /// Opens the record at the front of `buffer`, in place.
    ///
    /// # Errors
    /// When the connection cannot go on: send [`RecordError::alert`] and close. Don't call again afterwards.
    pub fn open(&mut self, buffer: &mut [u8]) -> Result<Opened, RecordError> {
        if self.closed {
            return Ok(Opened::CloseNotify { consumed: buffer.len() });
        }
        let Some((header, rest)) = buffer.split_first_chunk_mut::<HEADER>() else {
            return Ok(Opened::Incomplete { needed: HEADER });
        };
        let length = payload_length(*header)?;
        let consumed = HEADER + length;
        let Some(sealed) = rest.get_mut(..length) else {
            return Ok(Opened::Incomplete { needed: consumed });
        };
        let inner = self.rx.open(*header, sealed)?;
        if inner > MAX_CONTENT + 1 {
            return Err(RecordError::Overflow);
        }
        let (content, inner_type) = strip_padding(&sealed[..inner])?;
        let handshake_open = !self.handshakes.is_empty();
        match inner_type {
            content_type::APPLICATION_DATA if handshake_open => Err(RecordError::Unexpected),
            content_type::APPLICATION_DATA if content > 0 => {
                self.fruitless = 0;
                Ok(Opened::Data { consumed, plaintext: HEADER..HEADER + content })
            }
            content_type::APPLICATION_DATA => self.fruitless(consumed),
            content_type::HANDSHAKE => {
                self.handshake_record(&sealed[..content])?;
                self.fruitless(consumed)
            }
            content_type::ALERT if !handshake_open => {
                self.alert_record(&sealed[..content])?;
                if self.closed {
                    return Ok(Opened::CloseNotify { consumed: buffer.len() });
                }
                self.fruitless(consumed)
            }
            _ => Err(RecordError::Unexpected),
        }
    }

    fn fruitless(&mut self, consumed: usize) -> Result<Opened, RecordError> {
        self.fruitless += 1;
        if self.fruitless > MAX_FRUITLESS {
            return Err(RecordError::TooManyFruitless);
        }
        Ok(Opened::Control { consumed })
    }
}

impl From<BadRecord> for RecordError {
    fn from(BadRecord: BadRecord) -> Self {
        Self::BadRecord
    }
}

/// Checks a header and returns the length behind it. The version in it is to be ignored (RFC 8446 §5.1); the
/// outer type is fixed once keys are in use: a ChangeCipherSpec ends with the handshake.
fn payload_length(header: [u8; HEADER]) -> Result<usize, RecordError> {
    let [outer_type, _, _, high, low] = header;
    if outer_type != content_type::APPLICATION_DATA {
        return Err(RecordError::Unexpected);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_RECEIVED - HEADER {
        return Err(RecordError::Overflow);
    }
    if length < TAG + 1 {
        return Err(RecordError::BadRecord);
    }
    Ok(length)
}

/// Splits content and inner type off the zeros behind them (RFC 8446 §5.4).
fn strip_padding(inner: &[u8]) -> Result<(usize, u8), RecordError> {
    let at = inner.iter().rposition(|&byte| byte != 0).ok_or(RecordError::Unexpected)?;
    Ok((at, inner[at]))
}

/// Records in a row that may carry no data: tickets come in ones and twos, key updates once in 2^24 records.
/// More is a peer that makes us work for nothing.
pub(super) const MAX_FRUITLESS: u32 = 32;
