//! What goes over the wire, counted, and changed where that changes nothing.

use std::collections::{BTreeMap, VecDeque};

use crate::End;
use crate::frame::{self, Frame};
use crate::random::Random;

/// Between both ends.
pub(crate) struct Tap {
    ours: End,
    random: Random,
    forged: usize,
    split: usize,
    pub(crate) from: [Direction; 2],
}

/// What one end has sent.
#[derive(Debug)]
pub(crate) struct Direction {
    pub(crate) streams: BTreeMap<u32, Sent>,
    /// Payload of all streams.
    pub(crate) bytes: i64,
    /// By how much it has opened the connection's window for the other end.
    pub(crate) updates: i64,
    pub(crate) initial_window: i64,
    /// The last stream of a GOAWAY, and why.
    pub(crate) go_away: Option<(u32, u32)>,
    /// For each SETTINGS on its way to this end, whether it is forged: so is the answer then.
    settings_due: VecDeque<bool>,
    preface_seen: bool,
    greeted: bool,
    within_block: bool,
    header_table_size: u32,
    max_frame_size: u32,
}

/// What one end has sent on a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) bytes: usize,
    pub(crate) ended: bool,
    pub(crate) reset: Option<u32>,
}

impl Tap {
    pub(crate) fn new(ours: End, random: Random, forged: usize, split: usize) -> Self {
        let direction = |end| Direction {
            streams: BTreeMap::new(),
            bytes: 0,
            updates: 0,
            initial_window: 65_535,
            go_away: None,
            settings_due: VecDeque::new(),
            preface_seen: end == End::Server,
            greeted: false,
            within_block: false,
            header_table_size: 4096,
            max_frame_size: 16_384,
        };
        Self { ours, random, forged, split, from: [direction(End::Client), direction(End::Server)] }
    }

    /// Takes whole frames off `bytes`, which `from` has sent, and gives them to `out`.
    pub(crate) fn pass(&mut self, from: End, bytes: &mut &[u8], out: &mut Vec<u8>) {
        let direction = &mut self.from[from.index()];
        if !direction.preface_seen {
            let Some(rest) = bytes.strip_prefix(frame::PREFACE) else { return };
            *bytes = rest;
            direction.preface_seen = true;
            out.extend_from_slice(frame::PREFACE);
        }
        while let Some(frame) = Frame::take(bytes) {
            if self.from[from.index()].greeted
                && !self.from[from.index()].within_block
                && self.random.chance(self.forged)
            {
                self.forge(from, out);
            }
            if self.seen(from, &frame) {
                self.cut(frame, out);
            }
        }
    }

    /// What `end` may send on the connection, if all that was sent has arrived.
    pub(crate) fn connection_window(&self, end: End) -> i64 {
        65_535 + self.from[end.other().index()].updates - self.from[end.index()].bytes
    }

    /// Counts a frame; false if it is not to go on.
    fn seen(&mut self, from: End, frame: &Frame) -> bool {
        let direction = &mut self.from[from.index()];
        direction.within_block = match frame.kind {
            frame::HEADERS | frame::CONTINUATION => !frame.has(frame::END_HEADERS),
            _ => false,
        };
        match frame.kind {
            frame::DATA => {
                let sent = direction.streams.get_mut(&frame.stream).expect("payload comes behind headers");
                assert!(
                    !sent.ended && sent.reset.is_none(),
                    "payload behind the end of stream {}",
                    frame.stream
                );
                sent.bytes += frame.payload.len();
                sent.ended = frame.has(frame::END_STREAM);
                direction.bytes += i64::try_from(frame.payload.len()).unwrap();
                assert!(self.connection_window(from) >= 0, "{from:?} overruns the connection's window");
            }
            frame::HEADERS => {
                let sent = direction.streams.entry(frame.stream).or_default();
                assert!(
                    !sent.ended && sent.reset.is_none(),
                    "headers behind the end of stream {}",
                    frame.stream
                );
                sent.ended = frame.has(frame::END_STREAM);
            }
            frame::RST_STREAM => {
                let sent = direction.streams.entry(frame.stream).or_default();
                // The h2 crate says it again to payload that comes behind.
                assert!(sent.reset.is_none() || from != self.ours, "stream {} is reset twice", frame.stream);
                sent.reset.get_or_insert_with(|| frame.number(0));
            }
            frame::WINDOW_UPDATE if frame.stream == 0 => direction.updates += i64::from(frame.number(0)),
            frame::GOAWAY => direction.go_away = Some((frame.number(0), frame.number(4))),
            frame::SETTINGS if frame.has(frame::ACK) => {
                return !direction.settings_due.pop_front().expect("an answer has a question");
            }
            frame::SETTINGS => self.settings(from, frame),
            frame::PING => return !(frame.has(frame::ACK) && frame.payload == FORGED_PING),
            _ => {}
        }
        true
    }

    fn settings(&mut self, from: End, frame: &Frame) {
        let direction = &mut self.from[from.index()];
        direction.greeted = true;
        for (id, value) in frame.settings() {
            match id {
                frame::HEADER_TABLE_SIZE => direction.header_table_size = value,
                frame::INITIAL_WINDOW_SIZE => direction.initial_window = value.into(),
                frame::MAX_FRAME_SIZE => direction.max_frame_size = value,
                _ => {}
            }
        }
        self.from[from.other().index()].settings_due.push_back(false);
    }

    /// Adds a frame that means nothing, or no more than `from` has said anyway.
    fn forge(&mut self, from: End, out: &mut Vec<u8>) {
        let stream = 2 * u32::try_from(self.random.below(10)).unwrap() + 1;
        let direction = &self.from[from.index()];
        let forged = match self.random.below(5) {
            0 => Frame::new(frame::PRIORITY, 0, stream, [0, 0, 0, 0, 7]),
            1 => Frame::new(0x42, 0xff, stream, vec![7; self.random.bits(10)]),
            2 => Frame::new(frame::PING, 0, 0, FORGED_PING),
            3 => {
                let size = self.random.below(usize::try_from(direction.header_table_size).unwrap() + 1);
                self.forge_setting(from, frame::HEADER_TABLE_SIZE, size)
            }
            _ => {
                let most = usize::try_from(direction.max_frame_size).unwrap();
                let size = 16_384 + self.random.below(most - 16_384 + 1);
                self.forge_setting(from, frame::MAX_FRAME_SIZE, size)
            }
        };
        forged.write(out);
    }

    fn forge_setting(&mut self, from: End, id: u16, value: usize) -> Frame {
        self.from[from.other().index()].settings_due.push_back(true);
        let entries = [frame::setting(0xfff0, 1), frame::setting(id, u32::try_from(value).unwrap())];
        Frame::new(frame::SETTINGS, 0, 0, entries.concat())
    }

    /// Writes a frame as one or as two.
    fn cut(&mut self, mut frame: Frame, out: &mut Vec<u8>) {
        let divisible = match frame.kind {
            frame::DATA | frame::HEADERS => frame.payload.len() > 1,
            frame::WINDOW_UPDATE => frame.number(0) > 1,
            _ => false,
        };
        if !divisible || !self.random.chance(self.split) {
            return frame.write(out);
        }
        let (first, second) = match frame.kind {
            frame::WINDOW_UPDATE => {
                let first = 1 + self.random.below(usize::try_from(frame.number(0)).unwrap() - 1);
                let first = u32::try_from(first).unwrap();
                (first.to_be_bytes().to_vec(), (frame.number(0) - first).to_be_bytes().to_vec())
            }
            _ => {
                let at = 1 + self.random.below(frame.payload.len() - 1);
                let second = frame.payload.split_off(at);
                (std::mem::take(&mut frame.payload), second)
            }
        };
        let (kept, moved, kind) = match frame.kind {
            frame::HEADERS => (!frame::END_HEADERS, !frame::END_STREAM, frame::CONTINUATION),
            kind => (!frame::END_STREAM, u8::MAX, kind),
        };
        Frame::new(frame.kind, frame.flags & kept, frame.stream, first).write(out);
        Frame::new(kind, frame.flags & moved, frame.stream, second).write(out);
    }
}

/// Nobody else pings so.
const FORGED_PING: [u8; 8] = *b"forged!!";
