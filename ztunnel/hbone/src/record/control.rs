//! What a peer sends besides data: tickets, key updates, alerts.

use rustls::AlertDescription;

use super::{RecordError, Records};

/// Joins handshake messages that span records. Holds nothing between whole messages.
#[derive(Default)]
pub(super) struct HandshakeReader {
    partial: Vec<u8>,
}

impl HandshakeReader {
    /// Whether no message is half received.
    pub(super) fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }
}

impl Records {
    /// Takes the content of a handshake record: fragments of one or more messages.
    pub(super) fn handshake_record(&mut self, content: &[u8]) -> Result<(), RecordError> {
        if content.is_empty() {
            return Err(RecordError::Unexpected);
        }
        if self.handshakes.partial.is_empty() {
            let rest = self.handshake_messages(content)?;
            self.handshakes.partial.extend_from_slice(rest);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.handshakes.partial);
        joined.extend_from_slice(content);
        let rest = self.handshake_messages(&joined)?.len();
        joined.drain(..joined.len() - rest);
        if !joined.is_empty() {
            self.handshakes.partial = joined;
        }
        Ok(())
    }

    /// Handles the whole messages at the front of `bytes`, and returns what is left.
    fn handshake_messages<'b>(&mut self, mut bytes: &'b [u8]) -> Result<&'b [u8], RecordError> {
        while let Some((&[kind, high, middle, low], rest)) = bytes.split_first_chunk() {
            let length = u32::from_be_bytes([0, high, middle, low]);
            let length = usize::try_from(length).map_err(|_too_long| RecordError::Malformed)?;
            if length > MAX_MESSAGE {
                return Err(RecordError::Malformed);
            }
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            match kind {
                NEW_SESSION_TICKET => self.schedule.keep_ticket(payload)?,
                KEY_UPDATE => self.key_update_received(payload, rest)?,
                _ => return Err(RecordError::Unexpected),
            }
            bytes = rest;
        }
        Ok(bytes)
    }

    /// `behind` is what follows the message in its record: keys change at the record's end, so it must be empty.
    fn key_update_received(&mut self, payload: &[u8], behind: &[u8]) -> Result<(), RecordError> {
        let &[requested @ (0 | 1)] = payload else { return Err(RecordError::Malformed) };
        if !behind.is_empty() {
            return Err(RecordError::Unexpected);
        }
        self.rx = self.schedule.next_rx()?;
        self.update_asked |= requested == 1;
        Ok(())
    }

    pub(super) fn alert_record(&mut self, content: &[u8]) -> Result<(), RecordError> {
        let &[_level, code] = content else { return Err(RecordError::Malformed) };
        // The level carries no meaning in TLS 1.3: all but these two are fatal (RFC 8446 §6).
        match AlertDescription::from(code) {
            AlertDescription::CloseNotify => {
                self.closed = true;
                Ok(())
            }
            AlertDescription::UserCanceled => Ok(()),
            alert => Err(RecordError::Alert(alert)),
        }
    }
}

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// A KeyUpdate message that asks for none in return (RFC 8446 §4.6.3).
pub(super) const KEY_UPDATE_NOT_REQUESTED: [u8; 5] = [KEY_UPDATE, 0, 0, 1, 0];

/// Longest message after a handshake: a ticket may be 2^16 bytes, and has a little around it.
const MAX_MESSAGE: usize = (1 << 16) + 1024;
