//! Frames as this test sees them, by its own reading of RFC 9113 §4.1.

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// Takes a frame off `bytes`, if it is there as a whole.
    pub(crate) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<9>()?;
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = *header;
        let length = usize::try_from(u32::from_be_bytes([0, l2, l1, l0])).unwrap();
        let (payload, rest) = rest.split_at_checked(length)?;
        *bytes = rest;
        Some(Self::new(kind, flags, u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]), payload))
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        out.extend_from_slice(&length[1..]);
        out.extend_from_slice(&[self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.payload);
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Four bytes of payload as a number.
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The settings that it holds.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (u16, u32)> {
        self.payload.as_chunks::<6>().0.iter().map(|[i1, i0, v3, v2, v1, v0]| {
            (u16::from_be_bytes([*i1, *i0]), u32::from_be_bytes([*v3, *v2, *v1, *v0]))
        })
    }
}

pub(crate) fn setting(id: u16, value: u32) -> [u8; 6] {
    let ([i1, i0], [v3, v2, v1, v0]) = (id.to_be_bytes(), value.to_be_bytes());
    [i1, i0, v3, v2, v1, v0]
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITY_FLAG: u8 = 0x20;

pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const MAX_FRAME_SIZE: u16 = 5;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
