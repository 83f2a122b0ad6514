//! Choices out of the fuzzer's bytes.

/// The fuzzer's bytes, taken one by one. At their end every choice is 0, so that no input is invalid.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all bytes were taken.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// Two bytes as a number.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Four bytes as a number.
    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// A choice among `count` things, 0 where there are none.
    pub fn below(&mut self, count: usize) -> usize {
        let byte = usize::from(self.byte());
        byte.checked_rem(count).unwrap_or(0)
    }

    /// A size: mostly small, now and then up to a good hundred thousand.
    pub fn size(&mut self) -> usize {
        let byte = usize::from(self.byte());
        if byte < 128 { byte } else { (byte - 127) << (self.byte() % 11) }
    }

    /// Up to `count` bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }
}
