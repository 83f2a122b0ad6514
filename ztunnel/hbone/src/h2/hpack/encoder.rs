//! Fields to header blocks.

use super::statics::ENTRIES;
use super::table::Table;
use super::{DEFAULT_TABLE_SIZE, FIELD_OVERHEAD, integer};

/// Whether a field goes into the dynamic table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexing {
    /// The same value will come again on this connection.
    Repeated,
    /// Differs from stream to stream.
    Unique,
}

/// The encoding end of a connection's header compression.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// The smallest bound since the last block: the peer must be told of it and of the present one.
    smallest: Option<usize>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { table: Table::new(DEFAULT_TABLE_SIZE), smallest: None }
    }
}

impl Encoder {
    /// Takes over the peer's SETTINGS_HEADER_TABLE_SIZE. More than the default is not made use of.
    pub fn set_table_size(&mut self, size: usize) {
        let size = size.min(DEFAULT_TABLE_SIZE);
        if size != self.table.max_size() {
            self.table.resize(size);
            self.smallest = Some(self.smallest.map_or(size, |smallest| smallest.min(size)));
        }
    }

    /// Begins a header block: changed table sizes come first (RFC 7541 §4.2).
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.smallest.take() {
            integer::encode(out, 0x20, 5, smallest);
            if smallest != self.table.max_size() {
                integer::encode(out, 0x20, 5, self.table.max_size());
            }
        }
    }

    /// Appends a field. `name` is in lower case.
    pub fn field(&mut self, out: &mut Vec<u8>, name: &str, value: &str, indexing: Indexing) {
        let known = ENTRIES.iter().position(|entry| *entry == (name, value)).map(|position| position + 1);
        if let Some(index) = known.or_else(|| self.table.find(name.as_bytes(), value.as_bytes())) {
            return integer::encode(out, 0x80, 7, index);
        }
        // A field that would push out most others is not worth it.
        let indexed = indexing == Indexing::Repeated
            && name.len() + value.len() + FIELD_OVERHEAD <= self.table.max_size() / 2;
        let name_index = ENTRIES.iter().position(|entry| entry.0 == name).map_or(0, |position| position + 1);
        if indexed {
            integer::encode(out, 0x40, 6, name_index);
            self.table.insert(name.as_bytes(), value.as_bytes());
        } else {
            integer::encode(out, 0x00, 4, name_index);
        }
        if name_index == 0 {
            string(out, name);
        }
        string(out, value);
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    integer::encode(out, 0x00, 7, text.len());
    out.extend_from_slice(text.as_bytes());
}
