//! Rules that a client can break, one by one, and what both servers say to it.

use Verdict::{Accepted, Connection, Stream};

use crate::frame::{self, Frame, PREFACE, setting};
use crate::verdict::{Judges, Verdict};

/// What a client says once stream 3 is open, 5 ended and 7 reset by it, and what RFC 9113 says to that.
type Violation = (&'static str, Vec<Frame>, Verdict);

#[test]
fn both_servers_say_the_same_to_whoever_breaks_a_rule() {
    let mut wrong = Vec::new();
    let violations = violations();
    for (what, frames, by_the_book) in &violations {
        let [ours, theirs] = hear(frames);
        let known = DIFFERENCES.iter().find(|(of, ..)| of == what);
        let fine = match known {
            Some((_, difference, _)) => *difference == [ours, theirs],
            None => ours == *by_the_book && theirs.is_as_strict_as(ours),
        };
        if !fine {
            wrong.push(format!("{what}: {ours:?} and {theirs:?}, by the book {by_the_book:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (what, ..) in DIFFERENCES {
        assert!(violations.iter().any(|(of, ..)| *of == what), "{what} is no case");
    }
}

/// The first that each server says against `frames`.
fn hear(frames: &[Frame]) -> [Verdict; 2] {
    Judges::with(async |mut judges| {
        assert_eq!(judges.hear(&greeting()).await, [Accepted; 2]);
        let mut first = [Accepted; 2];
        for frame in frames {
            for (first, verdict) in first.iter_mut().zip(judges.hear(&frame.to_bytes()).await) {
                if *first == Accepted {
                    *first = verdict;
                }
            }
        }
        first
    })
}

/// Where our codec and the h2 crate differ, and why ours does as it does.
const DIFFERENCES: [(&str, [Verdict; 2], &str); 6] = [
    ("stream below others", [Accepted, Connection(PROTOCOL_ERROR)], NO_MEMORY),
    ("data behind a reset", [Accepted, Stream(7, STREAM_CLOSED)], NO_MEMORY),
    ("headers behind a reset", [Accepted, Connection(PROTOCOL_ERROR)], NO_MEMORY),
    ("control character in a value", [Accepted, Connection(PROTOCOL_ERROR)], "RFC 9113 §8.2.1 allows it"),
    ("CONNECT to nowhere", [Stream(9, PROTOCOL_ERROR), Accepted], "there is nobody to connect to"),
    (
        "trailers with a pseudo-header",
        [Stream(3, PROTOCOL_ERROR), Accepted],
        "a tunnel has no use for lenience",
    ),
];

/// Streams that are over leave no memory that a peer could make grow. What comes for one may have been sent before its
/// reset was heard of, so it is ignored, and counted.
const NO_MEMORY: &str = "closed streams are forgotten";

/// Preface, settings, and the streams that [`Violation`]s are about.
fn greeting() -> Vec<u8> {
    let frames = [
        Frame::new(frame::SETTINGS, 0, 0, []),
        request(3),
        request(5),
        Frame::new(frame::DATA, frame::END_STREAM, 5, []),
        request(7),
        Frame::new(frame::RST_STREAM, 0, 7, [0, 0, 0, 8]),
    ];
    let mut bytes = PREFACE.to_vec();
    frames.iter().for_each(|frame| frame.write(&mut bytes));
    bytes
}

/// A header block of literals without Huffman code.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

const CONNECT: [(&str, &str); 2] = [(":method", "CONNECT"), (":authority", "a:80")];

fn headers(stream: u32, block: impl Into<Vec<u8>>) -> Frame {
    Frame::new(frame::HEADERS, frame::END_HEADERS, stream, block)
}

fn request(stream: u32) -> Frame {
    headers(stream, block(&CONNECT))
}

/// Headers of stream 9 besides those of a CONNECT.
fn with(fields: &[(&str, &str)]) -> Vec<Frame> {
    vec![headers(9, block(&[&CONNECT, fields].concat()))]
}

fn settings(id: u16, value: u32) -> Vec<Frame> {
    vec![Frame::new(frame::SETTINGS, 0, 0, setting(id, value))]
}

fn update(stream: u32, by: u32) -> Frame {
    Frame::new(frame::WINDOW_UPDATE, 0, stream, by.to_be_bytes())
}

fn violations() -> Vec<Violation> {
    [frames(), streams(), windows(), blocks(), lists(), harmless()].concat()
}

/// Frames that cannot be (RFC 9113 §4, §6).
fn frames() -> Vec<Violation> {
    let one = |kind, flags, stream, payload: &[u8]| vec![Frame::new(kind, flags, stream, payload)];
    vec![
        ("data without a stream", one(frame::DATA, 0, 0, b"x"), Connection(PROTOCOL_ERROR)),
        ("headers without a stream", vec![request(0)], Connection(PROTOCOL_ERROR)),
        ("priority without a stream", one(frame::PRIORITY, 0, 0, &[0; 5]), Connection(PROTOCOL_ERROR)),
        ("reset without a stream", one(frame::RST_STREAM, 0, 0, &[0; 4]), Connection(PROTOCOL_ERROR)),
        ("settings of a stream", one(frame::SETTINGS, 0, 3, &[]), Connection(PROTOCOL_ERROR)),
        ("ping of a stream", one(frame::PING, 0, 3, &[0; 8]), Connection(PROTOCOL_ERROR)),
        ("farewell of a stream", one(frame::GOAWAY, 0, 3, &[0; 8]), Connection(PROTOCOL_ERROR)),
        ("short ping", one(frame::PING, 0, 0, &[0; 7]), Connection(FRAME_SIZE_ERROR)),
        ("long ping", one(frame::PING, 0, 0, &[0; 9]), Connection(FRAME_SIZE_ERROR)),
        ("short farewell", one(frame::GOAWAY, 0, 0, &[0; 7]), Connection(FRAME_SIZE_ERROR)),
        ("short reset", one(frame::RST_STREAM, 0, 3, &[0; 3]), Connection(FRAME_SIZE_ERROR)),
        ("long reset", one(frame::RST_STREAM, 0, 3, &[0; 5]), Connection(FRAME_SIZE_ERROR)),
        ("short priority", one(frame::PRIORITY, 0, 3, &[0; 4]), Connection(FRAME_SIZE_ERROR)),
        ("short window update", one(frame::WINDOW_UPDATE, 0, 3, &[0; 3]), Connection(FRAME_SIZE_ERROR)),
        ("settings of odd length", one(frame::SETTINGS, 0, 0, &[0; 7]), Connection(FRAME_SIZE_ERROR)),
        ("answer with settings", one(frame::SETTINGS, frame::ACK, 0, &[0; 6]), Connection(FRAME_SIZE_ERROR)),
        (
            "frame of more than was allowed",
            one(frame::DATA, 0, 3, &[0; 16_385]),
            Connection(FRAME_SIZE_ERROR),
        ),
        ("push", one(PUSH_PROMISE, frame::END_HEADERS, 3, &[0; 8]), Connection(PROTOCOL_ERROR)),
        (
            "data that is less than its padding",
            one(frame::DATA, frame::PADDED, 3, &[2, 0]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "data that is but padding's length",
            one(frame::DATA, frame::PADDED, 3, &[1]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "data without its padding's length",
            one(frame::DATA, frame::PADDED, 3, &[]),
            Connection(FRAME_SIZE_ERROR),
        ),
        (
            "headers that are less than their padding",
            one(frame::HEADERS, frame::PADDED | frame::END_HEADERS, 9, &[9, 0, 0]),
            Connection(PROTOCOL_ERROR),
        ),
        ("push allowed by two", settings(2, 2), Connection(PROTOCOL_ERROR)),
        ("initial window of 2^31", settings(4, 1 << 31), Connection(FLOW_CONTROL_ERROR)),
        ("frames of less than must be", settings(5, 16_383), Connection(PROTOCOL_ERROR)),
        ("frames of more than can be", settings(5, 1 << 24), Connection(PROTOCOL_ERROR)),
    ]
}

/// Streams that are not there, or not any more (RFC 9113 §5.1).
fn streams() -> Vec<Violation> {
    let one = |kind, flags, stream, payload: &[u8]| vec![Frame::new(kind, flags, stream, payload)];
    vec![
        ("data of a stream that is not open", one(frame::DATA, 0, 9, b"x"), Connection(PROTOCOL_ERROR)),
        ("data of a stream of ours", one(frame::DATA, 0, 2, b"x"), Connection(PROTOCOL_ERROR)),
        (
            "reset of a stream that is not open",
            one(frame::RST_STREAM, 0, 9, &[0; 4]),
            Connection(PROTOCOL_ERROR),
        ),
        ("window of a stream that is not open", vec![update(9, 1)], Connection(PROTOCOL_ERROR)),
        ("headers of a stream of ours", vec![request(2)], Connection(PROTOCOL_ERROR)),
        ("stream below others", vec![request(1)], Connection(PROTOCOL_ERROR)),
        ("data behind the end", one(frame::DATA, 0, 5, b"x"), Stream(5, STREAM_CLOSED)),
        ("headers behind the end", vec![request(5)], Stream(5, STREAM_CLOSED)),
        ("data behind a reset", one(frame::DATA, 0, 7, b"x"), Stream(7, STREAM_CLOSED)),
        ("headers behind a reset", vec![request(7)], Stream(7, STREAM_CLOSED)),
        ("window behind a reset", vec![update(7, 1)], Accepted),
        ("reset behind a reset", one(frame::RST_STREAM, 0, 7, &[0; 4]), Accepted),
    ]
}

/// Flow control (RFC 9113 §6.9).
fn windows() -> Vec<Violation> {
    let full = |stream| {
        [16_384, 16_384, 16_384, 16_383].map(|length| Frame::new(frame::DATA, 0, stream, vec![0; length]))
    };
    let more = |stream| Frame::new(frame::DATA, 0, stream, *b"x");
    let four = [&[request(9), request(11), request(13)][..], &[3, 9, 11, 13].map(full).concat()].concat();
    vec![
        ("all of a stream's window", full(3).to_vec(), Accepted),
        ("more than a stream's window", [&full(3)[..], &[more(3)]].concat(), Stream(3, FLOW_CONTROL_ERROR)),
        ("all of the connection's window", four.clone(), Accepted),
        (
            "more than the connection's window",
            [&four[..], &[request(15), more(15)]].concat(),
            Connection(FLOW_CONTROL_ERROR),
        ),
        ("connection's window by nothing", vec![update(0, 0)], Connection(PROTOCOL_ERROR)),
        ("stream's window by nothing", vec![update(3, 0)], Stream(3, PROTOCOL_ERROR)),
        ("connection's window beyond 2^31", vec![update(0, MAX_WINDOW)], Connection(FLOW_CONTROL_ERROR)),
        ("stream's window beyond 2^31", vec![update(3, MAX_WINDOW)], Stream(3, FLOW_CONTROL_ERROR)),
        (
            "stream's window beyond 2^31 by settings",
            [vec![update(3, MAX_WINDOW - 65_535)], settings(4, 65_536)].concat(),
            Connection(FLOW_CONTROL_ERROR),
        ),
    ]
}

/// Header blocks (RFC 9113 §6.10, RFC 7541).
fn blocks() -> Vec<Violation> {
    let continuation = |stream, flags| Frame::new(frame::CONTINUATION, flags, stream, []);
    let begun = |stream| Frame::new(frame::HEADERS, 0, stream, block(&CONNECT));
    let hpack = |bytes: &[u8]| vec![headers(9, [&block(&CONNECT), bytes].concat())];
    vec![
        ("continuation of nothing", vec![continuation(9, frame::END_HEADERS)], Connection(PROTOCOL_ERROR)),
        ("continuation of another stream", vec![begun(9), continuation(3, 0)], Connection(PROTOCOL_ERROR)),
        (
            "payload within a block",
            vec![begun(9), Frame::new(frame::DATA, 0, 3, *b"x")],
            Connection(PROTOCOL_ERROR),
        ),
        ("settings within a block", [vec![begun(9)], settings(1, 1)].concat(), Connection(PROTOCOL_ERROR)),
        (
            "unknown frame within a block",
            vec![begun(9), Frame::new(0x42, 0, 0, [])],
            Connection(PROTOCOL_ERROR),
        ),
        ("index 0", hpack(b"\x80"), Connection(COMPRESSION_ERROR)),
        ("index of nothing", hpack(b"\xbe"), Connection(COMPRESSION_ERROR)),
        ("name of nothing", hpack(b"\x7e\x01a"), Connection(COMPRESSION_ERROR)),
        ("text that is not there", hpack(b"\x00\x05abc"), Connection(COMPRESSION_ERROR)),
        ("integer without end", hpack(b"\xff\xff\xff\xff\xff\xff\xff\x01"), Connection(COMPRESSION_ERROR)),
        ("table larger than allowed", vec![headers(9, *b"\x3f\xe2\x1f")], Connection(COMPRESSION_ERROR)),
        ("table size behind a field", hpack(b"\x20"), Connection(COMPRESSION_ERROR)),
        ("padding of zeros", hpack(b"\x00\x01a\x81\x18"), Connection(COMPRESSION_ERROR)),
        ("padding of a whole byte", hpack(b"\x00\x01a\x82\x1f\xff"), Connection(COMPRESSION_ERROR)),
        ("end of string", hpack(b"\x00\x01a\x84\xff\xff\xff\xff"), Connection(COMPRESSION_ERROR)),
    ]
}

/// Header lists (RFC 9113 §8).
fn lists() -> Vec<Violation> {
    let list = |fields: &[(&str, &str)]| vec![headers(9, block(fields))];
    let trailers = |flags, fields: &[(&str, &str)]| {
        vec![Frame::new(frame::HEADERS, frame::END_HEADERS | flags, 3, block(fields))]
    };
    let malformed = Stream(9, PROTOCOL_ERROR);
    vec![
        ("no method", list(&CONNECT[1..]), malformed),
        ("nothing at all", list(&[]), malformed),
        ("CONNECT to nowhere", list(&CONNECT[..1]), malformed),
        ("CONNECT with a path", with(&[(":path", "/")]), malformed),
        ("CONNECT with a scheme", with(&[(":scheme", "http")]), malformed),
        (
            "GET without a path",
            list(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]),
            malformed,
        ),
        ("GET without a scheme", list(&[(":method", "GET"), (":path", "/"), (":authority", "a")]), malformed),
        ("method twice", with(&[CONNECT[0]]), malformed),
        ("authority twice", with(&[CONNECT[1]]), malformed),
        ("status in a request", with(&[(":status", "200")]), malformed),
        ("unknown pseudo-header", with(&[(":b", "c")]), malformed),
        ("pseudo-header behind others", list(&[CONNECT[0], ("a", "b"), CONNECT[1]]), malformed),
        ("upper case in a name", with(&[("Baggage", "a")]), malformed),
        ("empty name", with(&[("", "a")]), malformed),
        ("space in a name", with(&[("a b", "a")]), malformed),
        ("line feed in a value", with(&[("a", "b\nc")]), malformed),
        ("zero in a value", with(&[("a", "b\0c")]), malformed),
        ("connection", with(&[("connection", "close")]), malformed),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), malformed),
        ("te for more than trailers", with(&[("te", "gzip")]), malformed),
        ("trailers without an end", trailers(0, &[("a", "b")]), Stream(3, PROTOCOL_ERROR)),
        ("trailers with a pseudo-header", trailers(frame::END_STREAM, &CONNECT), Stream(3, PROTOCOL_ERROR)),
        ("trailers in upper case", trailers(frame::END_STREAM, &[("A", "b")]), Stream(3, PROTOCOL_ERROR)),
    ]
}

/// What looks wrong and is not.
fn harmless() -> Vec<Violation> {
    let one = |kind, flags, stream, payload: &[u8]| vec![Frame::new(kind, flags, stream, payload)];
    vec![
        ("unknown frame", one(0x42, 0xff, 3, b"x"), Accepted),
        ("unknown setting", settings(0xff, 7), Accepted),
        ("unknown flags", one(frame::DATA, 0xf6, 3, b"x"), Accepted),
        ("priority of a stream that is not open", one(frame::PRIORITY, 0, 99, &[0, 0, 0, 0, 1]), Accepted),
        ("priority behind a reset", one(frame::PRIORITY, 0, 7, &[0, 0, 0, 0, 1]), Accepted),
        ("answer to no ping", one(frame::PING, frame::ACK, 0, &[0; 8]), Accepted),
        ("padding alone", one(frame::DATA, frame::PADDED, 3, &[2, 0, 0]), Accepted),
        ("nothing as payload", one(frame::DATA, 0, 3, &[]), Accepted),
        ("reserved bits", vec![update(0x8000_0000, 0x8000_0001)], Accepted),
        ("farewell", one(frame::GOAWAY, 0, 0, &[0; 20]), Accepted),
        ("control character in a value", with(&[("a", "b\x1dc")]), Accepted),
        ("te for trailers", with(&[("te", "trailers")]), Accepted),
        ("trailers", vec![Frame::new(frame::HEADERS, 5, 3, block(&[("a", "b")]))], Accepted),
        (
            "headers with padding and priority",
            one(frame::HEADERS, 0x2c, 9, &[&[1, 0, 0, 0, 0, 1][..], &block(&CONNECT), &[0]].concat()),
            Accepted,
        ),
        (
            "blocks in three pieces",
            vec![
                Frame::new(frame::HEADERS, 0, 9, []),
                Frame::new(frame::CONTINUATION, 0, 9, block(&CONNECT)),
                Frame::new(frame::CONTINUATION, frame::END_HEADERS, 9, []),
            ],
            Accepted,
        ),
    ]
}

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;

const PUSH_PROMISE: u8 = 5;
const MAX_WINDOW: u32 = (1 << 31) - 1;
