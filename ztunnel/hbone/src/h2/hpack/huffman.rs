//! The Huffman code of RFC 7541, Appendix B.
//!
//! The code is canonical: codes of one length are consecutive and in the order of their symbols, and every longer
//! code is numerically behind all shorter ones. So the lengths alone define it, and decoding needs no tree: the next
//! 30 bits, left-aligned, are compared with the first code behind each length.

use super::HpackError;

/// Appends what `input` stands for to `out`.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    let mut bits: u64 = 0;
    let mut count = 0;
    for &byte in input {
        bits = bits << 8 | u64::from(byte);
        count += 8;
        while let Some((symbol, length)) = next_symbol(bits, count) {
            out.push(u8::try_from(symbol).map_err(|_| HpackError::Huffman)?);
            count -= length;
            bits &= (1 << count) - 1;
        }
    }
    // What is left must be the start of the end-of-string code, which is all ones, and shorter than a byte.
    if count < 8 && bits == (1 << count) - 1 { Ok(()) } else { Err(HpackError::Huffman) }
}

/// The symbol that the top of the `count` lowest bits stands for, if its code is there as a whole.
fn next_symbol(bits: u64, count: u32) -> Option<(u16, u32)> {
    if count < MIN_LENGTH {
        return None;
    }
    let aligned =
        if count >= MAX_LENGTH { bits >> (count - MAX_LENGTH) } else { bits << (MAX_LENGTH - count) };
    let window = u32::try_from(aligned).ok()?;
    let mut length = MIN_LENGTH;
    while length <= count.min(MAX_LENGTH) {
        let row = &CODE.rows[length as usize];
        if window < row.end {
            let index = row.first_symbol + ((window - row.start) >> (MAX_LENGTH - length)) as usize;
            return Some((CODE.symbols[index], length));
        }
        length += 1;
    }
    None
}

/// The codes of one length, as numbers of [`MAX_LENGTH`] bits.
#[derive(Clone, Copy)]
struct Row {
    start: u32,
    end: u32,
    first_symbol: usize,
}

struct Code {
    rows: [Row; MAX_LENGTH as usize + 1],
    /// Symbols in the order of their codes; 256 is the end of the string.
    symbols: [u16; LENGTHS.len()],
}

static CODE: Code = build();

const fn build() -> Code {
    let mut rows = [Row { start: 0, end: 0, first_symbol: 0 }; MAX_LENGTH as usize + 1];
    let mut symbols = [0; LENGTHS.len()];
    let mut filled = 0;
    let mut next = 0;
    let mut length = MIN_LENGTH;
    while length <= MAX_LENGTH {
        let start = next;
        let first_symbol = filled;
        let mut symbol: u16 = 0;
        while (symbol as usize) < LENGTHS.len() {
            if LENGTHS[symbol as usize] as u32 == length {
                symbols[filled] = symbol;
                filled += 1;
                next += 1 << (MAX_LENGTH - length);
            }
            symbol += 1;
        }
        rows[length as usize] = Row { start, end: next, first_symbol };
        length += 1;
    }
    assert!(next == 1 << MAX_LENGTH, "the code is complete");
    Code { rows, symbols }
}

const MIN_LENGTH: u32 = 5;
const MAX_LENGTH: u32 = 30;

/// Bits of each symbol's code; the last one is the end of the string.
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28,
    28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
    23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19,
    22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
    27, 27, 27, 26, 30,
];
