//! Integers with an N-bit prefix (RFC 7541 §5.1).

use super::HpackError;

/// Takes an integer off `input`; the bits above the prefix are ignored.
pub(super) fn decode(input: &mut &[u8], prefix_bits: u32) -> Result<usize, HpackError> {
    let (&first, mut rest) = input.split_first().ok_or(HpackError::Truncated)?;
    let mask = u8::MAX >> (8 - prefix_bits);
    let mut value = usize::from(first & mask);
    if first & mask == mask {
        let mut shift = 0;
        loop {
            let (&byte, behind) = rest.split_first().ok_or(HpackError::Truncated)?;
            rest = behind;
            if shift > MAX_SHIFT {
                return Err(HpackError::IntegerTooLarge);
            }
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *input = rest;
    Ok(value)
}

/// Appends `value`, its prefix under the bits of `pattern`.
pub(super) fn encode(out: &mut Vec<u8>, pattern: u8, prefix_bits: u32, value: usize) {
    let mask = u8::MAX >> (8 - prefix_bits);
    match u8::try_from(value) {
        Ok(small) if small < mask => out.push(pattern | small),
        _ => {
            out.push(pattern | mask);
            let mut rest = value - usize::from(mask);
            while rest >= 0x80 {
                out.push(low_bits(rest) | 0x80);
                rest >>= 7;
            }
            out.push(low_bits(rest));
        }
    }
}

fn low_bits(value: usize) -> u8 {
    u8::try_from(value & 0x7f).expect("seven bits fit")
}

/// Four bytes behind the prefix, so 2^28 at most: far above any length or index that is acceptable.
const MAX_SHIFT: u32 = 21;
