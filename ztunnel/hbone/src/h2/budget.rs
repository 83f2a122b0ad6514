//! What a peer may do a number of times.

use super::error::{ConnectionError, Excess};

/// So many times, until it is earned back.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    full: u32,
    of: Excess,
}

impl Budget {
    pub(super) const fn new(full: u32, of: Excess) -> Self {
        Self { left: full, full, of }
    }

    /// Takes one.
    ///
    /// # Errors
    /// When none is left.
    pub(super) fn spend(&mut self) -> Result<(), ConnectionError> {
        self.left = self.left.checked_sub(1).ok_or(ConnectionError::TooMany(self.of))?;
        Ok(())
    }

    /// Gives one back.
    pub(super) fn earn(&mut self) {
        self.left = self.full.min(self.left + 1);
    }

    /// Gives all back.
    pub(super) const fn refill(&mut self) {
        self.left = self.full;
    }
}
