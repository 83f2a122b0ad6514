//! A message's header.

/// RFC 1035 §4.1.1.
pub(super) struct Header {
    pub(super) id: u16,
    flags: [u8; 2],
    pub(super) questions: u16,
    /// Records in all other sections.
    pub(super) records: u32,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        Some(Self {
            id: field(0),
            flags: [header[2], header[3]],
            questions: field(4),
            records: [6, 8, 10].map(|at| u32::from(field(at))).iter().sum(),
        })
    }

    pub(super) const fn is_answer(&self) -> bool {
        self.flags[0] & 0x80 != 0
    }

    pub(super) const fn opcode(&self) -> u8 {
        (self.flags[0] >> 3) & 0xf
    }

    pub(super) const fn code(&self) -> u8 {
        self.flags[1] & 0xf
    }
}

/// Size of a header.
pub(super) const HEADER: usize = 12;
/// Opcode of a standard query.
pub(super) const QUERY: u8 = 0;
/// The TC bit, in the third byte of a header.
pub(super) const TRUNCATED: u8 = 2;
