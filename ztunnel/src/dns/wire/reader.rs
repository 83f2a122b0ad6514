//! A message's bytes, behind its header.

use super::header::HEADER;
use super::query::Edns;
use super::{Question, RecordKind};

/// Reads a message from its start to its end, once.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Where the rest begins.
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    /// Reads what comes behind a message's header.
    pub(super) const fn behind_header(bytes: &'a [u8]) -> Self {
        Self { bytes, at: HEADER }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|it| it[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|it| u16::from_be_bytes([it[0], it[1]]))
    }

    /// The question. Its name stands in full: there is nothing before it that it could point to.
    pub(super) fn question(&mut self) -> Option<Question> {
        let start = self.at;
        let mut name = Some(String::new());
        loop {
            let length = usize::from(self.u8()?);
            if length == 0 {
                break;
            }
            let label = (length <= MAX_LABEL).then(|| self.take(length))??;
            if self.at - start >= MAX_NAME {
                return None;
            }
            name = name.filter(|_| label.iter().all(|byte| is_host(*byte))).map(|mut name| {
                if !name.is_empty() {
                    name.push('.');
                }
                name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                name
            });
        }
        let (kind, class) = (self.u16()?, self.u16()?);
        Some(Question { name: name.filter(|name| !name.is_empty()), kind: RecordKind::new(kind, class) })
    }

    /// What EDNS says in one of the remaining records, and in which version; there may be one such record only.
    #[expect(clippy::option_option, reason = "malformed, or without EDNS")]
    pub(super) fn edns(&mut self, records: u32) -> Option<Option<(Edns, u8)>> {
        let mut found = None;
        for _ in 0..records {
            self.skip_name()?;
            let (kind, class) = (self.u16()?, self.u16()?);
            let ttl = self.take(4)?;
            let length = self.u16()?;
            self.take(usize::from(length))?;
            if kind == OPT && found.replace((Edns { payload: class }, ttl[1])).is_some() {
                return None;
            }
        }
        Some(found)
    }

    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.u8()? {
                0 => return Some(()),
                length if usize::from(length) <= MAX_LABEL => self.take(usize::from(length))?,
                pointer if pointer & 0xc0 == 0xc0 => return self.take(1).map(|_| ()),
                _ => return None,
            };
        }
    }
}

/// Letters, digits, hyphens, and the underscore that Windows and SRV records are fond of.
const fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Type OPT (RFC 6891).
const OPT: u16 = 41;
/// Longest label (RFC 1035 §2.3.4); what is longer is a pointer or malformed.
const MAX_LABEL: usize = 63;
/// Longest name with its length bytes (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;
