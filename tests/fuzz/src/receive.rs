//! One end of a connection against a peer that may do anything.

use hbone::h2::{ConnectRequest, ConnectResponse, Connection, ErrorCode, Event, Limits, StreamId};

use crate::{Input, framed, live};

/// What is open at our end, as its user knows it.
struct User {
    codec: Connection,
    open: Vec<Open>,
}

#[derive(Clone, Copy)]
struct Open {
    stream: StreamId,
    /// Received and not given back.
    held: usize,
    /// Our half has ended.
    answered: bool,
}

impl Open {
    const fn new(stream: StreamId) -> Self {
        Self { stream, held: 0, answered: false }
    }
}

/// Has `codec` receive what `bytes` say, as a user of it would, and checks what it promises. Its peer is a client if
/// `from_client`.
pub fn receive(codec: Connection, limits: Limits, from_client: bool, bytes: &[u8]) {
    let before = live();
    let mut input = Input::new(bytes);
    let (piece, seed) = (input.u16(), input.byte());
    let wire = match input.byte() & 1 {
        0 => framed(&mut input, from_client),
        _ => input.rest().to_vec(),
    };
    let mut user = User { codec, open: Vec::new() };
    for _ in 0..if from_client { 0 } else { seed % 8 } {
        user.open.extend(user.codec.open(&ConnectRequest::new("10.0.0.1:80")).map(Open::new));
    }
    user.codec.control().clear();
    let own = i64::try_from(wire.capacity()).expect("it is short");
    let mut turn = seed;
    for piece in wire.chunks(usize::from(piece).max(wire.len() / 512).max(1)) {
        let mut rest = piece;
        loop {
            match user.codec.next_event(&mut rest) {
                Ok(Some(event)) => user.event(&event, &mut turn, limits),
                Ok(None) => break,
                Err(error) => return user.failed(error.code()),
            }
        }
        assert!(rest.is_empty(), "what is not used up will be asked for again");
        // Each frame of 9 bytes or more has one answer of 17 at most, beside those that its user makes.
        assert!(user.codec.control().len() <= 4 * piece.len() + PER_PIECE, "{}", user.codec.control().len());
        user.codec.control().clear();
        user.check(limits);
        assert!(live() - before - own <= MEMORY, "{} bytes", live() - before - own);
    }
}

impl User {
    fn event(&mut self, event: &Event<'_>, turn: &mut u8, limits: Limits) {
        *turn = turn.wrapping_mul(5).wrapping_add(1);
        match *event {
            Event::Request { stream, .. } => {
                let mut open = Open::new(stream);
                if *turn & 3 != 0 {
                    open.answered = *turn & 0x18 == 0;
                    self.codec.respond(stream, &ConnectResponse::new(200), open.answered);
                }
                self.open.push(open);
            }
            Event::Data { stream, payload, .. } => {
                assert!(!payload.is_empty());
                self.find(stream).held += payload.len();
                let held: usize = self.open.iter().map(|open| open.held).sum();
                assert!(held <= limits.connection_window as usize, "{held}");
                if *turn & 7 == 0 {
                    for open in &mut self.open {
                        self.codec.release(open.stream, std::mem::take(&mut open.held));
                    }
                }
            }
            Event::EndStream { stream, .. } => {
                let open = *self.find(stream);
                if *turn & 0x30 == 0 {
                    self.codec.reset(stream, ErrorCode::CANCEL);
                }
                if *turn & 0x30 == 0 || open.answered {
                    self.gone(open);
                }
            }
            Event::Reset { stream, .. } => {
                let open = *self.find(stream);
                self.gone(open);
            }
            Event::Response { stream, .. } => {
                self.find(stream);
            }
            Event::GoAway { .. } | Event::PingAck { .. } | Event::Settings | Event::WindowOpened { .. } => {}
        }
    }

    fn find(&mut self, stream: StreamId) -> &mut Open {
        self.open.iter_mut().find(|open| open.stream == stream).expect("events are of open streams")
    }

    fn gone(&mut self, gone: Open) {
        self.codec.release(gone.stream, gone.held);
        self.open.retain(|open| open.stream != gone.stream);
    }

    fn check(&mut self, limits: Limits) {
        assert!(self.codec.stream_count() <= limits.max_concurrent_streams as usize);
        assert_eq!(self.codec.stream_count(), self.open.len());
        for Open { stream, .. } in self.open.clone() {
            let capacity = self.codec.send_capacity(stream);
            assert!(capacity < 1 << 31);
            let length = capacity.min(self.codec.max_frame_size()).min(1 << 14);
            if length > 0 {
                self.codec.data_header(stream, length, false);
                assert_eq!(self.codec.send_capacity(stream), capacity - length);
            }
        }
    }

    /// It has said goodbye, and stays failed.
    fn failed(&mut self, code: ErrorCode) {
        let goodbye = self.codec.control();
        assert_eq!(goodbye[goodbye.len() - 17..][3], GOAWAY);
        assert_eq!(goodbye[goodbye.len() - 4..], code.0.to_be_bytes());
        goodbye.clear();
        assert!(self.codec.next_event(&mut &b"x"[..]).is_err());
        assert!(self.codec.control().is_empty());
    }
}

/// What the user's own answers take, and one that was due from the piece before.
const PER_PIECE: usize = 4096;
/// Header blocks under way and their fields, the dynamic tables, and what waits to be sent: nothing of it may grow with
/// the input.
const MEMORY: i64 = 2 << 20;
const GOAWAY: u8 = 7;
