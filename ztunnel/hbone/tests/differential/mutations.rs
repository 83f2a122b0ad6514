//! Conversations with some bits turned over, and what both servers say to them.

use crate::frame::{self, Frame, PREFACE};
use crate::random::Random;
use crate::verdict::{Judges, Verdict};

#[test]
fn both_servers_say_the_same_to_whatever_comes() {
    crate::for_all_seeds(20, |seed| {
        let mut random = Random::new(seed);
        let frames = frames(&conversation(&mut random));
        Judges::with(async |mut judges| {
            judges.hear(PREFACE).await;
            for frame in frames {
                let has_choice = leaves_a_choice(&frame, &judges);
                let [ours, theirs] = judges.hear(&frame.to_bytes()).await;
                let alike = theirs.is_as_strict_as(ours);
                let known = has_choice || is_known_difference(&frame, theirs, &judges);
                assert!(alike || known, "{ours:?} and {theirs:?} to {frame:02x?}");
                // Behind a farewell the crate's server goes when it likes.
                if frame.kind == frame::GOAWAY
                    || !alike
                    || ours != theirs
                    || matches!(ours, Verdict::Connection(_))
                {
                    break;
                }
            }
        });
    });
}

/// Whether a server may take a frame as one likes.
fn leaves_a_choice(frame: &Frame, judges: &Judges) -> bool {
    // Frames may have been sent before the stream's end was heard of (RFC 9113 §5.1).
    let is_late = frame.kind != frame::PRIORITY && judges.is_closed(frame.stream);
    let depends_on = match frame.kind {
        frame::PRIORITY => frame.payload.first_chunk(),
        frame::HEADERS if frame.has(frame::PRIORITY_FLAG) => {
            frame.payload.get(usize::from(frame.has(frame::PADDED))..).and_then(|rest| rest.first_chunk())
        }
        _ => None,
    };
    // Priorities mean nothing any more (RFC 9113 §5.3.2).
    let depends_on_itself = depends_on.is_some_and(|on| u32::from_be_bytes(*on) & MAX == frame.stream);
    is_late || depends_on_itself
}

/// The h2 crate takes requests and trailers that are malformed in ways which the list of differences has. Ours leaves
/// it to its user to say no to an authority that is none.
fn is_known_difference(frame: &Frame, theirs: Verdict, judges: &Judges) -> bool {
    frame.kind == frame::HEADERS && (theirs == Verdict::Accepted || judges.latest_target_is_none())
}

/// The frames, however they came to be, without what is left at the end: our codec judges a frame as soon as it can,
/// the h2 crate when it is whole.
fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    std::iter::from_fn(|| Frame::take(&mut bytes)).collect()
}

/// A conversation as it should be, but for a few bits.
fn conversation(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::new(frame::SETTINGS, 0, 0, []).write(&mut bytes);
    let mut next = 1;
    for _ in 0..random.below(30) {
        let from = bytes.len();
        let frame = some_frame(random, &mut next);
        frame.write(&mut bytes);
        if random.chance(5) {
            // What texts may say is one thing, and frames are another.
            let length = if frame.kind == frame::HEADERS { 9 } else { bytes.len() - from };
            bytes[from + random.below(length)] ^= 1 << random.below(8);
        }
    }
    bytes
}

fn some_frame(random: &mut Random, next: &mut u32) -> Frame {
    let stream = 2 * u32::try_from(random.below(usize::try_from(*next / 2).unwrap() + 1)).unwrap() + 1;
    let ends = if random.chance(20) { frame::END_STREAM } else { 0 };
    match random.below(12) {
        0..4 => {
            let stream = *next;
            *next += 2;
            request(random, stream, ends)
        }
        4..7 => data(random, stream, ends),
        7 => Frame::new(frame::RST_STREAM, 0, stream, [0, 0, 0, 8]),
        8 => Frame::new(frame::WINDOW_UPDATE, 0, random.one_of(&[0, stream]), [0, 0, 1, 0]),
        9 => Frame::new(frame::PING, 0, 0, [7; 8]),
        10 => Frame::new(frame::PRIORITY, 0, stream, [0, 0, 0, 0, 1]),
        _ => Frame::new(frame::SETTINGS, 0, 0, frame::setting(4, 70_000)),
    }
}

fn data(random: &mut Random, stream: u32, flags: u8) -> Frame {
    let mut payload = vec![7; random.bits(8)];
    if random.chance(70) {
        return Frame::new(frame::DATA, flags, stream, payload);
    }
    let padding = random.below(10);
    payload.insert(0, u8::try_from(padding).unwrap());
    payload.resize(payload.len() + padding, 0);
    Frame::new(frame::DATA, flags | frame::PADDED, stream, payload)
}

/// Some with indices, some with Huffman code, some with a table that changes.
fn request(random: &mut Random, stream: u32, flags: u8) -> Frame {
    let mut block = Vec::new();
    if random.chance(10) {
        block.extend_from_slice(random.one_of(&[&b"\x20"[..], b"\x3f\x21", b"\x20\x3f\xe1\x1f"]));
    }
    block.extend_from_slice(
        random.one_of(&[&b"\x02\x07CONNECT"[..], b"\x42\x87\xbd\xab\x4e\x9c\x17\xb7\xff"]),
    );
    block.extend_from_slice(random.one_of(&[
        &b"\x01\x04a:80"[..],
        b"\x41\x04b:81",
        b"\x41\x89\x08\x17\x02\xe0\x5c\x37\x1e\x00\x05",
    ]));
    for _ in 0..random.below(4) {
        block.extend_from_slice(random.one_of(&[
            &b"\x40\x07baggage\x03a=b"[..],
            b"\x00\x01a\x02bc",
            b"\x10\x01a\x00",
            b"\x40\x85\xf2\xb5\x03\x42\x7f\x81\x0f",
        ]));
    }
    Frame::new(frame::HEADERS, flags | frame::END_HEADERS, stream, block)
}

const MAX: u32 = (1 << 31) - 1;
