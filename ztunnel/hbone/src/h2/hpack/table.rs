//! The dynamic table (RFC 7541 §2.3.2), the same at both ends.

use std::collections::VecDeque;

use super::FIELD_OVERHEAD;
use super::statics::ENTRIES;

/// Fields seen before, newest first, within a bound of bytes.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
}

#[derive(Debug)]
struct Entry {
    /// Name and value, one behind the other.
    text: Box<[u8]>,
    name_len: usize,
}

impl Table {
    pub(super) const fn new(max_size: usize) -> Self {
        Self { entries: VecDeque::new(), size: 0, max_size }
    }

    pub(super) const fn max_size(&self) -> usize {
        self.max_size
    }

    /// Changes the bound and forgets what is over it.
    pub(super) fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.evict(0);
    }

    /// The field at `index` of the static and dynamic tables together, counted from 1.
    pub(super) fn field(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let index = index.checked_sub(1)?;
        if let Some((name, value)) = ENTRIES.get(index) {
            return Some((name.as_bytes(), value.as_bytes()));
        }
        let entry = self.entries.get(index - ENTRIES.len())?;
        Some(entry.text.split_at(entry.name_len))
    }

    /// Where `name` with `value` is, if it was inserted and not evicted.
    pub(super) fn find(&self, name: &[u8], value: &[u8]) -> Option<usize> {
        let position = self.entries.iter().position(|entry| {
            let (entry_name, entry_value) = entry.text.split_at(entry.name_len);
            entry_name == name && entry_value == value
        })?;
        Some(ENTRIES.len() + 1 + position)
    }

    /// Adds a field; one that is larger than the whole table empties it instead (RFC 7541 §4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + FIELD_OVERHEAD;
        self.evict(size);
        if size <= self.max_size {
            self.size += size;
            self.entries.push_front(Entry { text: [name, value].concat().into(), name_len: name.len() });
        }
    }

    /// Forgets the oldest fields until there is room for `size` bytes.
    fn evict(&mut self, size: usize) {
        while self.size + size > self.max_size {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= oldest.text.len() + FIELD_OVERHEAD;
        }
    }
}
