//! Netlink messages and attributes as bytes, without a socket.

use nix::libc;

/// A message that does not hold what its own lengths promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("netlink message is cut short or lies about its length")]
pub struct Malformed;

/// A request under construction.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
}

/// One message out of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`: the request that it answers.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// The messages of one datagram, in order. Ends after the first malformed one.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

/// The attributes in a payload, in order: type without flag bits, and value. Ends at the first malformed one.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl Request {
    /// A request of that type; `flags` are added to `NLM_F_REQUEST`.
    pub fn new(kind: u16, flags: libc::c_int) -> Self {
        let mut bytes = vec![0; HEADER];
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).unwrap_or(u16::MAX);
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Self { bytes }
    }

    /// Appends the fixed header of the request's family, padded to four bytes.
    #[must_use]
    pub fn header(mut self, fixed: &[u8]) -> Self {
        self.bytes.extend_from_slice(fixed);
        self.pad();
        self
    }

    /// Appends one attribute.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// Appends an attribute that holds the attributes which `fill` appends.
    #[must_use]
    pub fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self = fill(self.attribute(kind | NESTED, &[]));
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// The finished request, numbered `sequence`.
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }
}

impl<'a> Messages<'a> {
    /// The messages in `datagram`.
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = parse_message(self.rest);
        self.rest = parsed.map_or(&[][..], |(_, rest)| rest);
        Some(parsed.map(|(message, _)| message).ok_or(Malformed))
    }
}

impl<'a> Attributes<'a> {
    /// The attributes in `payload`, which must begin where the family's fixed header ends.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// The value of the first attribute of type `kind`.
    pub fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find_map(|(found, value)| (found == kind).then_some(value))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)? & !(NESTED | BIG_ENDIAN);
        let value = self.rest.get(ATTRIBUTE..length)?;
        self.rest = self.rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn parse_message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let message = Message {
        kind: u16_at(bytes, 4)?,
        flags: u16_at(bytes, 6)?,
        sequence: u32_at(bytes, 8)?,
        payload: bytes.get(HEADER..length)?,
    };
    Some((message, bytes.get(aligned(length)..).unwrap_or_default()))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|raw| u16::from_ne_bytes(*raw))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_ne_bytes(*raw))
}

const fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// Size of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Size of `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;
/// `NLA_F_NET_BYTEORDER`.
const BIG_ENDIAN: u16 = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_parses_back() {
        let bytes = Request::new(7, libc::NLM_F_ACK)
            .header(&[1, 2, 3])
            .attribute(3, b"abcde")
            .nested(4, |inner| inner.attribute(1, &[9]))
            .finish(42);
        let message = Messages::new(&bytes).next().unwrap().unwrap();
        assert_eq!((message.kind, message.flags, message.sequence), (7, 5, 42));
        let attributes = Attributes::new(&message.payload[4..]);
        assert_eq!(attributes.clone().find(3), Some(&b"abcde"[..]));
        let nested = attributes.find(4).unwrap();
        assert_eq!(Attributes::new(nested).collect::<Vec<_>>(), [(1, &[9_u8][..])]);
    }

    #[test]
    fn lengths_that_lie_end_the_parse() {
        let mut bytes = Request::new(7, 0).attribute(3, b"abcd").finish(1);
        bytes[16] = 200;
        let message = Messages::new(&bytes).next().unwrap().unwrap();
        assert_eq!(Attributes::new(message.payload).count(), 0);
        bytes[0] = 200;
        assert_eq!(Messages::new(&bytes).collect::<Vec<_>>(), [Err(Malformed)]);
        assert_eq!(Messages::new(&bytes[..3]).collect::<Vec<_>>(), [Err(Malformed)]);
    }

    #[test]
    fn a_zero_length_never_loops() {
        assert_eq!(Attributes::new(&[0; 64]).count(), 0);
        assert_eq!(Messages::new(&[0; 64]).count(), 1);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_parse_to_an_end(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
            assert!(Attributes::new(&bytes).count() <= bytes.len() / ATTRIBUTE);
            for message in Messages::new(&bytes).flatten() {
                assert!(message.payload.len() + HEADER <= bytes.len());
            }
        }
    }
}
