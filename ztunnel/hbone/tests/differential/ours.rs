//! The end that is ours: the codec, a socket, and nothing but choices in between.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hbone::h2::{
    ConnectRequest, ConnectResponse, Connection, ErrorCode, Event, FRAME_HEADER, OpenError, StreamId,
};
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf};

use crate::journal::{Head, content};
use crate::random::Random;
use crate::scenario::{Part, When};
use crate::{Case, End};

/// Runs it until the connection is over.
pub(crate) async fn run(case: Rc<Case>, mut socket: DuplexStream) {
    let mut ours = Ours::new(case);
    loop {
        let busy = ours.act();
        let out = std::mem::take(&mut ours.out);
        // The other end may close as soon as it has all it wants.
        let _gone = socket.write_all(&out).await;
        if busy {
            tokio::task::yield_now().await;
        }
        match receive(&mut socket, busy, ours.lacks_only_quiet()).await {
            Received::Bytes(bytes) => ours.take_in(&bytes),
            Received::Nothing => {}
            Received::Quiet if ours.codec.is_drained() => break,
            Received::Quiet => ours.quiet = true,
            Received::End => break,
        }
    }
    // What has arrived is read, whether the other end is still there or not.
    while ours.act() {}
    let _gone = socket.write_all(&ours.out).await;
    ours.check_end();
}

enum Received {
    Bytes(Vec<u8>),
    Nothing,
    /// Nothing, and nothing is on its way.
    Quiet,
    End,
}

async fn receive(socket: &mut DuplexStream, busy: bool, lacks_only_quiet: bool) -> Received {
    let mut bytes = [0; 4096];
    let receiving = poll_fn(|cx| {
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut *socket).poll_read(cx, &mut buffer) {
            Poll::Ready(result) => {
                result.unwrap();
                Poll::Ready(match buffer.filled() {
                    [] => Received::End,
                    filled => Received::Bytes(filled.to_vec()),
                })
            }
            Poll::Pending if busy => Poll::Ready(Received::Nothing),
            Poll::Pending => Poll::Pending,
        }
    });
    if !lacks_only_quiet {
        return receiving.await;
    }
    // The clock of the test stands still as long as anybody has anything to do.
    tokio::time::timeout(Duration::from_secs(1), receiving).await.unwrap_or(Received::Quiet)
}

struct Ours {
    case: Rc<Case>,
    end: End,
    codec: Connection,
    random: Random,
    live: Vec<Live>,
    out: Vec<u8>,
    /// Streams that were opened, by us or by the client.
    opened: usize,
    pings: usize,
    greeted: bool,
    left: bool,
    quiet: bool,
}

/// A stream that is not over.
struct Live {
    stream: StreamId,
    /// We may send payload.
    answered: bool,
    sent: usize,
    ended: bool,
    received: usize,
    unreleased: usize,
    peer_ended: bool,
    gone: bool,
}

/// What can be done on a stream at once.
#[derive(Clone, Copy)]
enum Step {
    Answer,
    Cut(u32),
    Payload(usize),
    End,
}

impl Ours {
    fn new(case: Rc<Case>) -> Self {
        let end = case.ours;
        let limits = case.scenario.limits;
        Self {
            end,
            codec: match end {
                End::Client => Connection::client(limits),
                End::Server => Connection::server(limits),
            },
            random: case.random(),
            live: Vec::new(),
            out: Vec::new(),
            opened: 0,
            pings: case.scenario.pings[end.index()],
            greeted: false,
            left: false,
            quiet: false,
            case,
        }
    }

    /// Does some of what can be done; whether there was anything.
    fn act(&mut self) -> bool {
        let mut busy = false;
        for index in 0..self.live.len() {
            busy |= self.act_on(index);
        }
        self.live.retain(|live| !(live.gone || live.ended && live.peer_ended && live.unreleased == 0));
        if self.may_open() {
            busy = true;
            if self.random.chance(50) {
                self.open();
            }
        }
        if self.pings > 0 && self.random.chance(20) {
            self.pings -= 1;
            self.codec.ping([7; 8]);
        }
        self.leave();
        self.out.append(self.codec.control());
        busy
    }

    fn act_on(&mut self, index: usize) -> bool {
        let step = self.step(&self.live[index]);
        let unreleased = self.live[index].unreleased;
        if step.is_none() && unreleased == 0 {
            return false;
        }
        if unreleased > 0 && self.random.chance(50) {
            let count = if self.random.chance(50) { unreleased } else { 1 + self.random.below(unreleased) };
            self.codec.release(self.live[index].stream, count);
            self.live[index].unreleased -= count;
        }
        if let Some(step) = step
            && self.random.chance(50)
        {
            self.take_step(index, step);
        }
        true
    }

    fn part(&self, stream: StreamId) -> &Part {
        self.case.scenario.script(stream.number()).part(self.end)
    }

    fn step(&self, live: &Live) -> Option<Step> {
        let script = self.case.scenario.script(live.stream.number());
        let part = script.part(self.end);
        if live.ended || live.gone {
            return None;
        }
        if let Some(cut) = part.cut {
            let is_due = match cut.when {
                When::Asked => !live.answered,
                When::Sent(count) => live.answered && live.sent >= count,
                When::Received(count) => live.received >= count,
            };
            if is_due {
                return Some(Step::Cut(cut.code));
            }
        }
        if script.waits == Some(self.end) && !live.peer_ended {
            return None;
        }
        if !live.answered {
            return Some(Step::Answer);
        }
        let most = match part.cut.map(|cut| cut.when) {
            Some(When::Sent(count)) => count,
            _ => part.body,
        };
        let left = most - live.sent;
        if left == 0 {
            return Some(Step::End);
        }
        let length =
            left.min(part.piece).min(self.codec.send_capacity(live.stream)).min(self.codec.max_frame_size());
        (length > 0).then_some(Step::Payload(length))
    }

    fn take_step(&mut self, index: usize, step: Step) {
        let stream = self.live[index].stream;
        let part = self.part(stream);
        let (body, ends_with_last) = (part.body, part.ends_with_last && part.cut.is_none());
        let live = &mut self.live[index];
        match step {
            Step::Answer => {
                live.answered = true;
                live.ended = body == 0 && ends_with_last;
                let ends = live.ended;
                self.answer(stream, ends);
            }
            Step::Cut(code) => {
                live.gone = true;
                self.codec.reset(stream, ErrorCode(code));
                self.codec.release(stream, live.unreleased);
            }
            Step::Payload(length) => {
                let from = live.sent;
                live.sent += length;
                live.ended = live.sent == body && ends_with_last;
                let header = self.codec.data_header(stream, length, live.ended);
                self.payload(header, stream, from, length);
            }
            Step::End => {
                live.ended = true;
                let header = self.codec.data_header(stream, 0, true);
                self.payload(header, stream, 0, 0);
            }
        }
    }

    fn payload(&mut self, header: [u8; FRAME_HEADER], stream: StreamId, from: usize, length: usize) {
        self.out.append(self.codec.control());
        self.out.extend_from_slice(&header);
        self.out.extend((from..from + length).map(|at| content(self.end, stream.number(), at)));
    }

    fn answer(&mut self, stream: StreamId, ends: bool) {
        let script = self.case.scenario.script(stream.number());
        let mut response = ConnectResponse::new(script.status);
        response.baggage = script.server.fields.baggage.first().map(|baggage| baggage.as_str().into());
        self.codec.respond(stream, &response, ends);
        if self.is_last(stream) {
            self.check_capacity(stream, ends);
        }
    }

    /// Whether there is nothing left to do but to open the last stream, or to close the connection.
    fn lacks_only_quiet(&self) -> bool {
        let last_is_due = !self.quiet && self.opened + 1 == self.case.scenario.streams.len();
        self.end == End::Client && self.live.is_empty() && (last_is_due || self.codec.is_drained())
    }

    fn may_open(&self) -> bool {
        let scenario = &self.case.scenario;
        let theirs = &scenario.theirs;
        // Before it has heard of the server's limits, a client can only be modest.
        let knows = self.greeted || theirs.max_header_list >= 16_384 && theirs.initial_window >= 65_535;
        let count = scenario.streams.len();
        let is_due = self.opened + 1 < count || self.opened < count && self.quiet;
        self.end == End::Client && knows && is_due && self.codec.can_open()
    }

    fn open(&mut self) {
        let number = u32::try_from(2 * self.opened + 1).unwrap();
        let fields = &self.case.scenario.script(number).client.fields;
        let text = |value: Option<&String>| value.map(|value| value.as_str().into());
        let mut request = ConnectRequest::new(crate::Scenario::authority(number));
        request.baggage = text(fields.baggage.first());
        request.forwarded = text(fields.forwarded.first());
        request.traceparent = text(fields.traceparent.as_ref());
        request.network = text(fields.network.as_ref());
        let stream = match self.codec.open(&request) {
            Ok(stream) => stream,
            Err(OpenError::HeadersTooLarge { .. }) => {
                self.codec.open(&ConnectRequest::new(request.authority)).unwrap()
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(stream.number(), number);
        self.opened += 1;
        self.add(stream);
        if self.is_last(stream) {
            self.check_capacity(stream, false);
        }
    }

    fn add(&mut self, stream: StreamId) {
        self.codec.set_token(stream, stream.number() as usize);
        self.live.push(Live {
            stream,
            answered: self.end == End::Client,
            sent: 0,
            ended: false,
            received: 0,
            unreleased: 0,
            peer_ended: false,
            gone: false,
        });
    }

    fn is_last(&self, stream: StreamId) -> bool {
        self.opened == self.case.scenario.streams.len() && self.opened == stream.number().div_ceil(2) as usize
    }

    /// Nothing is on its way: what we think that we may send must be what the other end has left.
    fn check_capacity(&self, stream: StreamId, ended: bool) {
        let tap = self.case.tap.borrow();
        let stream_window = tap.from[self.end.other().index()].initial_window;
        let want = tap.connection_window(self.end).min(stream_window);
        let capacity = i64::try_from(self.codec.send_capacity(stream)).unwrap();
        assert_eq!(capacity, if ended { 0 } else { want }, "window of the last stream");
    }

    fn leave(&mut self) {
        let all_opened = self.opened == self.case.scenario.streams.len() || self.codec.is_going_away();
        let is_due = match (self.end, self.case.scenario.leaves_after) {
            (End::Client, _) => all_opened && (self.live.is_empty() || self.random.chance(5)),
            (End::Server, leave) => leave.is_some_and(|leave| self.opened >= leave.after),
        };
        if self.left || !is_due {
            return;
        }
        self.left = true;
        match self.case.scenario.leaves_after {
            Some(leave) if leave.at_once => self.codec.close(ErrorCode::NO_ERROR),
            _ => self.codec.go_away(),
        }
    }

    /// Gives the codec what came, in pieces.
    fn take_in(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = 1 + self.random.below(rest.len());
            let (mut piece, behind) = rest.split_at(length);
            rest = behind;
            loop {
                let event = self.codec.next_event(&mut piece).expect("the h2 crate keeps the rules");
                let Some(event) = event else { break };
                self.event(event);
            }
            assert_eq!(piece, b"", "all input is taken");
        }
    }

    fn event(&mut self, event: Event<'_>) {
        let case = self.case.clone();
        let mut journal = case.journal.borrow_mut();
        match event {
            Event::Request { stream, request, .. } => {
                assert!(request.is_connect());
                self.add(stream);
                self.opened = self.opened.max(stream.number().div_ceil(2) as usize);
                let text = |text: Option<Box<str>>| text.map(String::from);
                journal.seen(self.end, stream.number()).head = Some(Head {
                    first: request.authority.into(),
                    baggage: text(request.baggage),
                    forwarded: text(request.forwarded),
                    traceparent: text(request.traceparent),
                    network: text(request.network),
                });
            }
            Event::Response { stream, response, .. } => {
                journal.seen(self.end, stream.number()).head = Some(Head {
                    first: response.status.to_string(),
                    baggage: response.baggage.map(String::from),
                    forwarded: None,
                    traceparent: None,
                    network: None,
                });
            }
            Event::Data { stream, token, payload } => {
                assert_eq!(token, stream.number() as usize);
                journal.bytes(self.end, stream.number(), payload);
                let live = self.find(stream);
                live.received += payload.len();
                live.unreleased += payload.len();
            }
            Event::EndStream { stream, .. } => {
                journal.seen(self.end, stream.number()).ended = true;
                self.find(stream).peer_ended = true;
            }
            Event::Reset { stream, code, .. } => {
                journal.seen(self.end, stream.number()).reset = Some(code.0);
                let live = self.find(stream);
                live.gone = true;
                let unreleased = live.unreleased;
                self.codec.release(stream, unreleased);
            }
            Event::PingAck { payload } => {
                assert_eq!(payload, [7; 8]);
                journal.pongs[self.end.index()] += 1;
            }
            Event::Settings => self.greeted = true,
            Event::WindowOpened { .. } | Event::GoAway { .. } => {}
        }
    }

    fn find(&mut self, stream: StreamId) -> &mut Live {
        self.live.iter_mut().find(|live| live.stream == stream).expect("events are of streams that are open")
    }

    fn check_end(&self) {
        let open: Vec<u32> = self.live.iter().map(|live| live.stream.number()).collect();
        assert_eq!((self.codec.stream_count(), open), (0, vec![]), "streams are left");
        assert!(self.codec.is_drained());
    }
}
