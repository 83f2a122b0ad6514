//! As much of DER (X.690) as taking certificates apart and putting them together needs.

/// The first element: its tag, what is in it, and what comes behind it.
pub(crate) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// The bytes of the first element, and what comes behind it.
pub(crate) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, _, rest) = element(bytes)?;
    bytes.split_at_checked(bytes.len() - rest.len())
}

/// An element of this content.
pub(crate) fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut bytes = vec![tag];
    if content.len() >= 0x80 {
        // At most the eight bytes of a usize.
        bytes.extend(u8::try_from(digits.len()).map(|count| 0x80 | count));
    }
    bytes.extend_from_slice(if digits.is_empty() { &[0] } else { digits });
    bytes.extend_from_slice(content);
    bytes
}

/// The tag of a SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;

/// The tag of a BIT STRING, whose first byte counts bits that are not used.
pub(crate) const BIT_STRING: u8 = 0x03;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_taken_apart_again_whatever_its_length() {
        for (length, head) in
            [(0, 2), (1, 2), (0x7f, 2), (0x80, 3), (0xff, 3), (0x100, 4), (0xffff, 4), (0x1_0000, 5)]
        {
            let content = vec![7; length];
            let mut bytes = encode(SEQUENCE, &content);
            assert_eq!(bytes.len(), head + length);
            bytes.push(9);
            assert_eq!(element(&bytes), Some((SEQUENCE, &content[..], &[9][..])));
            assert_eq!(split(&bytes), Some((&bytes[..head + length], &[9][..])));
            assert_eq!(element(&bytes[..head + length - usize::from(length > 0)]).is_some(), length == 0);
        }
    }
}
