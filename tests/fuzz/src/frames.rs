//! Frames of HTTP/2 out of the fuzzer's bytes.

use crate::Input;

/// What a client sends before its first frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that are frames at least, so that the fuzzer need not find out about lengths and the preface first. With
/// `preface`, they begin as a client's.
pub fn framed(input: &mut Input<'_>, preface: bool) -> Vec<u8> {
    let mut bytes = if preface { PREFACE.to_vec() } else { Vec::new() };
    if !input.byte().is_multiple_of(8) {
        bytes.extend_from_slice(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]);
    }
    while !input.is_empty() {
        let kind = input.byte();
        match kind {
            // A request that is one, and its answer.
            0x80..=0x9f => {
                let block: &[u8] = if preface { CONNECT } else { OK };
                frame(&mut bytes, HEADERS, END_HEADERS | input.byte() & 1, stream(input), block);
            }
            // Many of one kind.
            0xa0..=0xaf => {
                let (kind, flags, stream) = (kind & 0xf, input.byte(), stream(input));
                let length = usize::from(input.byte() % 16);
                let (payload, count) = (input.take(length).to_vec(), input.u16());
                // More than any budget allows.
                for _ in 0..count % 12_000 {
                    frame(&mut bytes, kind, flags, stream, &payload);
                }
            }
            // DATA that is longer than the input.
            0xb0..=0xbf => {
                let (flags, stream, length) = (input.byte(), stream(input), input.u16());
                frame(&mut bytes, 0, flags, stream, &vec![0; length.into()]);
            }
            0xc0..=0xff => bytes.extend_from_slice(input.take(usize::from(kind & 0x3f))),
            _ => {
                let (flags, stream) = (input.byte(), stream(input));
                let length = usize::from(input.byte());
                frame(&mut bytes, kind % 0x10, flags, stream, input.take(length));
            }
        }
    }
    bytes
}

/// Mostly a small odd number.
fn stream(input: &mut Input<'_>) -> u32 {
    match input.byte() {
        byte @ 0..128 => u32::from(byte),
        byte @ 128..250 => 2 * u32::from(byte % 8) + 1,
        _ => input.u32(),
    }
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("payload is short");
    bytes.extend_from_slice(&length.to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;

/// `:method: CONNECT`, `:authority: a:80`, as literals.
const CONNECT: &[u8] = b"\x02\x07CONNECT\x01\x04a:80";
/// `:status: 200`.
const OK: &[u8] = b"\x88";
