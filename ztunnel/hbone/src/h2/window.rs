//! Flow-control windows (RFC 9113 §5.2, §6.9).

use super::limits::MAX_WINDOW;

/// What we may send.
#[derive(Debug, Clone, Copy)]
pub(super) struct SendWindow(i64);

/// The window would be larger than 2^31-1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl SendWindow {
    pub(super) const fn new(size: u32) -> Self {
        Self(size as i64)
    }

    /// How much may be sent; nothing while the window is negative.
    pub(super) fn available(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// Grows, or shrinks after a change of settings; says whether a used-up window is open again.
    pub(super) fn change(&mut self, by: i64) -> Result<bool, Overflow> {
        let was_open = self.0 > 0;
        self.0 += by;
        if self.0 > i64::from(MAX_WINDOW) { Err(Overflow) } else { Ok(!was_open && self.0 > 0) }
    }

    pub(super) fn spend(&mut self, count: usize) {
        // A frame has less than 2^24 bytes.
        self.0 -= i64::try_from(count).unwrap_or(i64::MAX);
    }
}

/// What the peer may send.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceiveWindow {
    /// What it may have in flight when everything was consumed.
    size: u32,
    /// What the peer may still send.
    open: u32,
    /// Consumed, and not yet given back.
    consumed: u32,
}

/// The peer sent more than it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overrun;

impl ReceiveWindow {
    pub(super) const fn new(size: u32) -> Self {
        Self { size, open: size, consumed: 0 }
    }

    pub(super) const fn size(&self) -> u32 {
        self.size
    }

    /// Takes a frame's worth off the window.
    pub(super) fn take(&mut self, length: u32) -> Result<(), Overrun> {
        self.open = self.open.checked_sub(length).ok_or(Overrun)?;
        Ok(())
    }

    /// Counts consumed bytes; the increment that is due, once one part in `parts` of the window is to be given back.
    pub(super) fn release(&mut self, count: usize, parts: u32) -> Option<u32> {
        let room = self.size.saturating_sub(self.open).saturating_sub(self.consumed);
        self.consumed += u32::try_from(count).unwrap_or(u32::MAX).min(room);
        if self.consumed < self.size / parts {
            return None;
        }
        let increment = std::mem::take(&mut self.consumed);
        self.open += increment;
        Some(increment)
    }

    /// Makes the window larger; the peer is to be told.
    pub(super) const fn widen(&mut self, by: u32) {
        self.size += by;
        self.open += by;
    }
}
