//! What we send.

use rustls::AlertDescription;

use super::control::KEY_UPDATE_NOT_REQUESTED;
use super::{AlertRecord, HEADER, MAX_CONTENT, RecordError, Records, TRAILER, alert_code, content_type};

impl Records {
    /// Seals the application data in `record`, whose content begins at [`HEADER`] and has `content` bytes.
    /// Returns the record's length on the wire: `HEADER + content + TRAILER`.
    ///
    /// # Panics
    /// When `record` is shorter than that, or `content` longer than [`MAX_CONTENT`].
    pub fn seal(&mut self, record: &mut [u8], content: usize) -> usize {
        self.seal_as(content_type::APPLICATION_DATA, record, content)
    }

    /// Whether [`Records::key_update`] has to go out before the next record of data: the sending key was used long
    /// enough, or the peer asked for another.
    pub fn key_update_due(&self) -> bool {
        self.update_asked || self.tx.count() >= self.update_after
    }

    /// Appends a sealed KeyUpdate to `out` and seals everything later under the next key (RFC 8446 §4.6.3).
    ///
    /// # Errors
    /// When rustls' key schedule refuses, which it has no cause to.
    pub fn key_update(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let start = out.len();
        out.resize(start + HEADER + KEY_UPDATE_NOT_REQUESTED.len() + TRAILER, 0);
        let record = &mut out[start..];
        record[HEADER..][..KEY_UPDATE_NOT_REQUESTED.len()].copy_from_slice(&KEY_UPDATE_NOT_REQUESTED);
        self.seal_as(content_type::HANDSHAKE, record, KEY_UPDATE_NOT_REQUESTED.len());
        self.tx = self.schedule.next_tx()?;
        self.update_asked = false;
        Ok(())
    }

    /// The end of what we send (RFC 8446 §6.1). Nothing may be sealed afterwards.
    pub fn close_notify(&mut self) -> AlertRecord {
        self.alert(AlertDescription::CloseNotify)
    }

    /// Tells the peer why the connection ends. Nothing may be sealed afterwards.
    pub fn alert(&mut self, alert: AlertDescription) -> AlertRecord {
        let level = if alert == AlertDescription::CloseNotify { WARNING } else { FATAL };
        let mut record = AlertRecord::default();
        record[HEADER..][..2].copy_from_slice(&[level, alert_code(alert)]);
        self.seal_as(content_type::ALERT, &mut record, 2);
        record
    }

    pub(super) fn seal_as(&mut self, inner_type: u8, record: &mut [u8], content: usize) -> usize {
        assert!(content <= MAX_CONTENT, "a record's content has {content} bytes");
        let end = HEADER + content + 1;
        record[end - 1] = inner_type;
        let header = header(content + TRAILER);
        record[..HEADER].copy_from_slice(&header);
        let tag = self.tx.seal(header, &mut record[HEADER..end]);
        record[end..end + tag.len()].copy_from_slice(&tag);
        end + tag.len()
    }
}

/// A record's header: outwardly, everything is application data of TLS 1.2 (RFC 8446 §5.2).
fn header(length: usize) -> [u8; HEADER] {
    let length = u16::try_from(length).expect("records are at most 2^14 + 17 bytes");
    let [high, low] = length.to_be_bytes();
    [content_type::APPLICATION_DATA, 3, 3, high, low]
}

const WARNING: u8 = 1;
const FATAL: u8 = 2;
