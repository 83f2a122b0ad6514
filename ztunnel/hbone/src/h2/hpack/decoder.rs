//! Header blocks to fields.

use super::table::Table;
use super::{DEFAULT_TABLE_SIZE, huffman, integer};

/// Why a header block cannot be decoded. The tables of both ends differ from then on, so the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HpackError {
    /// A string is not a sequence of whole Huffman codes.
    #[error("a string is not Huffman-coded")]
    Huffman,
    /// An index beyond both tables, or 0.
    #[error("no field has index {0}")]
    Index(usize),
    /// An integer of more than 28 bits.
    #[error("an integer is too large")]
    IntegerTooLarge,
    /// A table size beyond what was allowed, or not at the start of a block.
    #[error("a dynamic table size update is out of place")]
    SizeUpdate,
    /// The block ends within a field.
    #[error("the block ends within a field")]
    Truncated,
}

/// The decoding end of a connection's header compression.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The field at hand, when it is not to be had in one piece elsewhere. Kept for its capacity within one block.
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: Table::new(DEFAULT_TABLE_SIZE), name: Vec::new(), value: Vec::new() }
    }
}

impl Decoder {
    /// Decodes a whole header block, giving each field's name and value to `sink`.
    ///
    /// # Errors
    /// See [`HpackError`]; the decoder is of no further use then.
    pub fn decode(&mut self, mut block: &[u8], mut sink: impl FnMut(&[u8], &[u8])) -> Result<(), HpackError> {
        let mut at_start = true;
        while let Some(&first) = block.first() {
            if first & 0xe0 == 0x20 {
                if !at_start {
                    return Err(HpackError::SizeUpdate);
                }
                self.resize(&mut block)?;
                continue;
            }
            at_start = false;
            if first & 0x80 != 0 {
                let index = integer::decode(&mut block, 7)?;
                let (name, value) = self.table.field(index).ok_or(HpackError::Index(index))?;
                sink(name, value);
            } else {
                self.literal(&mut block, first & 0x40 != 0)?;
                sink(&self.name, &self.value);
            }
        }
        // One connection seldom has more than one block in a second, so memory counts more than capacity.
        self.name = Vec::new();
        self.value = Vec::new();
        Ok(())
    }

    fn resize(&mut self, block: &mut &[u8]) -> Result<(), HpackError> {
        let size = integer::decode(block, 5)?;
        if size > DEFAULT_TABLE_SIZE {
            return Err(HpackError::SizeUpdate);
        }
        self.table.resize(size);
        Ok(())
    }

    /// Takes a literal field into `name` and `value`.
    fn literal(&mut self, block: &mut &[u8], indexed: bool) -> Result<(), HpackError> {
        let name_index = integer::decode(block, if indexed { 6 } else { 4 })?;
        self.name.clear();
        self.value.clear();
        if name_index == 0 {
            string(block, &mut self.name)?;
        } else {
            let (name, _) = self.table.field(name_index).ok_or(HpackError::Index(name_index))?;
            self.name.extend_from_slice(name);
        }
        string(block, &mut self.value)?;
        if indexed {
            self.table.insert(&self.name, &self.value);
        }
        Ok(())
    }
}

/// Takes a string off `block`.
fn string(block: &mut &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    let coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer::decode(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(HpackError::Truncated)?;
    *block = rest;
    if coded {
        huffman::decode(text, out)
    } else {
        out.extend_from_slice(text);
        Ok(())
    }
}
