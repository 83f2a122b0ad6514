//! Our client's codec and our server's, under any schedule of opens, answers, payload, ends, resets, pings, leaves and
//! deliveries of any size: neither refuses what the other sent, and no byte is lost, doubled or out of order.
#![no_main]

use std::collections::HashMap;

use fuzz::Input;
use hbone::h2::{ConnectRequest, ConnectResponse, Connection, ErrorCode, Event, Limits, StreamId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut pair = Pair::new(&mut input);
    while !input.is_empty() {
        pair.turn(&mut input);
    }
    pair.settle();
});

const CLIENT: usize = 0;
const SERVER: usize = 1;

struct Pair {
    ends: [End; 2],
    /// What each stream has carried, by its number: from the client, from the server.
    streams: HashMap<u32, [Half; 2]>,
}

struct End {
    codec: Connection,
    /// On its way to the other end.
    wire: Vec<u8>,
    /// Streams that are open here, with what is received and not yet given back.
    open: Vec<(StreamId, usize)>,
    /// Requests that wait for an answer.
    asked: Vec<StreamId>,
    /// The other end's settings were seen.
    greeted: bool,
}

/// One direction of a stream.
#[derive(Default)]
struct Half {
    sent: usize,
    received: usize,
    ended: bool,
    end_seen: bool,
    /// Reset by either end: bytes may be missing.
    cut: bool,
}

impl Pair {
    fn new(input: &mut Input<'_>) -> Self {
        let client = limits(input);
        let server = limits(input);
        let ends = [Connection::client(client), Connection::server(server)].map(|codec| End {
            codec,
            wire: Vec::new(),
            open: Vec::new(),
            asked: Vec::new(),
            greeted: false,
        });
        Self { ends, streams: HashMap::new() }
    }

    fn turn(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let at = usize::from(choice & 1);
        match choice >> 1 {
            0..24 => self.open(input),
            24..40 => self.answer(input),
            40..72 => self.write(at, input),
            72..80 => self.reset(at, input),
            80..104 => self.deliver(at, input.size()),
            104..116 => self.release(at, input),
            116..120 => self.ends[at].codec.ping([input.byte(); 8]),
            120..122 if input.byte() == 0 => self.ends[at].codec.go_away(),
            _ => self.deliver(at, usize::MAX),
        }
        self.collect();
    }

    fn open(&mut self, input: &mut Input<'_>) {
        let mut request = ConnectRequest::new(format!("10.0.0.{}:80", input.byte()));
        // Before it has heard of the server's limits, a client can only be modest.
        if self.ends[CLIENT].greeted {
            request.baggage = text(input);
            request.forwarded = text(input);
            request.traceparent = text(input);
        }
        let client = &mut self.ends[CLIENT];
        if let Ok(stream) = client.codec.open(&request) {
            client.codec.set_token(stream, 0);
            client.open.push((stream, 0));
            self.streams.entry(stream.number()).or_default();
        }
    }

    fn answer(&mut self, input: &mut Input<'_>) {
        let server = &mut self.ends[SERVER];
        if server.asked.is_empty() {
            return;
        }
        let stream = server.asked.swap_remove(input.below(server.asked.len()));
        let ends = input.byte().is_multiple_of(8);
        let mut response = ConnectResponse::new(200 + u16::from(input.byte()) % 300);
        response.baggage = text(input);
        let still_there = server.open.iter().any(|(open, _)| *open == stream);
        server.codec.respond(stream, &response, ends);
        if still_there && ends {
            self.half(stream, SERVER).ended = true;
        }
    }

    fn write(&mut self, at: usize, input: &mut Input<'_>) {
        let end = &mut self.ends[at];
        let index = input.below(end.open.len());
        let (wanted, ends) = (input.size(), input.byte().is_multiple_of(8));
        let Some(&(stream, _)) = end.open.get(index) else { return };
        let length = wanted.min(end.codec.send_capacity(stream)).min(end.codec.max_frame_size());
        if self.streams[&stream.number()][at].ended || end.asked.contains(&stream) {
            return;
        }
        // What was to be said before the payload goes out before it.
        end.wire.append(end.codec.control());
        let header = end.codec.data_header(stream, length, ends);
        end.wire.extend_from_slice(&header);
        let half = &mut self.streams.get_mut(&stream.number()).expect("it was opened")[at];
        end.wire.extend((half.sent..half.sent + length).map(|at| content(stream, at)));
        half.sent += length;
        half.ended = ends;
    }

    fn reset(&mut self, at: usize, input: &mut Input<'_>) {
        let end = &mut self.ends[at];
        let index = input.below(end.open.len());
        if let Some(&(stream, unreleased)) = end.open.get(index) {
            end.codec.reset(stream, ErrorCode::CANCEL);
            end.codec.release(stream, unreleased);
            self.gone(at, stream);
        }
    }

    fn release(&mut self, at: usize, input: &mut Input<'_>) {
        let end = &mut self.ends[at];
        let index = input.below(end.open.len());
        let count = input.size();
        if let Some((stream, unreleased)) = end.open.get_mut(index) {
            let count = count.min(*unreleased);
            *unreleased -= count;
            end.codec.release(*stream, count);
        }
    }

    /// Moves up to `count` bytes from end `from` to the other.
    fn deliver(&mut self, from: usize, count: usize) {
        let sender = &mut self.ends[from];
        let count = count.min(sender.wire.len()).min(MOST_AT_ONCE);
        let piece: Vec<u8> = sender.wire.drain(..count).collect();
        let to = 1 - from;
        // Seconds pass: what a peer may do in them is bounded, and not what this is about.
        self.ends[to].codec.replenish();
        let mut rest = &piece[..];
        loop {
            let event = self.ends[to].codec.next_event(&mut rest).expect("the other end keeps the rules");
            let Some(event) = event else { break };
            self.seen(to, event);
        }
        assert!(rest.is_empty());
    }

    fn seen(&mut self, at: usize, event: Event<'_>) {
        match event {
            Event::Request { stream, request, .. } => {
                assert!(request.is_connect());
                self.ends[at].codec.set_token(stream, 0);
                self.ends[at].open.push((stream, 0));
                self.ends[at].asked.push(stream);
            }
            Event::Data { stream, payload, .. } => {
                let open = self.ends[at].open.iter_mut().find(|(open, _)| *open == stream);
                open.expect("payload is of an open stream").1 += payload.len();
                let half = self.half(stream, 1 - at);
                let before = half.received;
                half.received += payload.len();
                assert!(half.received <= half.sent);
                for (index, byte) in payload.iter().enumerate() {
                    assert_eq!(*byte, content(stream, before + index));
                }
            }
            Event::EndStream { stream, .. } => {
                let half = self.half(stream, 1 - at);
                assert!(half.ended && !half.end_seen && half.received == half.sent);
                half.end_seen = true;
            }
            Event::Reset { stream, code, .. } => {
                assert!(matches!(code, ErrorCode::CANCEL | ErrorCode::REFUSED_STREAM), "{code}");
                let end = &mut self.ends[at];
                if let Some((_, unreleased)) = end.open.iter().find(|(open, _)| *open == stream) {
                    end.codec.release(stream, *unreleased);
                }
                self.gone(at, stream);
            }
            Event::Settings => self.ends[at].greeted = true,
            Event::Response { .. }
            | Event::GoAway { .. }
            | Event::PingAck { .. }
            | Event::WindowOpened { .. } => {}
        }
    }

    /// The stream is over at end `at`, whatever is still under way.
    fn gone(&mut self, at: usize, stream: StreamId) {
        self.ends[at].open.retain(|(open, _)| *open != stream);
        self.ends[at].asked.retain(|asked| *asked != stream);
        for half in self.streams.get_mut(&stream.number()).expect("it was opened") {
            half.cut = true;
        }
    }

    fn half(&mut self, stream: StreamId, from: usize) -> &mut Half {
        &mut self.streams.get_mut(&stream.number()).expect("it was opened")[from]
    }

    /// Takes what the codecs have to say.
    fn collect(&mut self) {
        for end in &mut self.ends {
            end.wire.append(end.codec.control());
        }
    }

    /// Lets everything arrive and gives everything back: then both ends agree on all there was.
    fn settle(&mut self) {
        self.collect();
        while self.ends.iter().any(|end| !end.wire.is_empty()) {
            for at in [CLIENT, SERVER] {
                self.deliver(at, usize::MAX);
                let end = &mut self.ends[at];
                for (stream, unreleased) in &mut end.open {
                    end.codec.release(*stream, std::mem::take(unreleased));
                }
            }
            self.collect();
        }
        let mut open = 0;
        for (number, halves) in &self.streams {
            let over = halves.iter().all(|half| half.end_seen) || halves.iter().any(|half| half.cut);
            open += usize::from(!over);
            for half in halves.iter().filter(|half| !half.cut) {
                assert_eq!(half.received, half.sent, "stream {number}");
                assert_eq!(half.ended, half.end_seen, "stream {number}");
            }
        }
        assert_eq!(self.ends.each_ref().map(|end| end.codec.stream_count()), [open, open]);
    }
}

/// Windows, streams and frames of all sizes, small ones mostly.
fn limits(input: &mut Input<'_>) -> Limits {
    Limits {
        max_concurrent_streams: u32::from(input.byte()),
        initial_send_streams: u32::from(input.byte()) % 100,
        stream_window: u32::from(input.byte()) << 10,
        connection_window: u32::from(input.byte()) << 12,
        max_frame_size: u32::from(input.byte()) << 8,
        max_header_list: 256 + u32::from(input.u16() % 16_384),
        ..Limits::default()
    }
}

/// A header's value, from none to a few kilobytes.
fn text(input: &mut Input<'_>) -> Option<Box<str>> {
    let length = match input.byte() {
        0..200 => return None,
        short @ 200..250 => usize::from(short) - 200,
        _ => usize::from(input.u16()) % 4096,
    };
    let letter = char::from(b'a' + input.byte() % 26);
    Some(letter.to_string().repeat(length).into())
}

/// The byte of a stream at an offset.
fn content(stream: StreamId, at: usize) -> u8 {
    let [low, high, ..] = at.to_le_bytes();
    let [number, ..] = stream.number().to_le_bytes();
    low.wrapping_mul(31).wrapping_add(high).wrapping_add(number)
}

/// Less than what exhausts the patience with resets: one takes 25 bytes with its request.
const MOST_AT_ONCE: usize = 4096;
