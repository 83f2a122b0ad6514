//! Our end of a conversation: the codec, and an account of what the peer did.

use std::collections::VecDeque;

use harness::LabError;
use hbone::h2::{ConnectRequest, ConnectResponse, Connection, ErrorCode, Event, Limits, StreamId};

/// Where the peer's bytes come from, and ours go to.
pub(crate) trait Source {
    /// What the peer says next; none when it says nothing more.
    fn read(&mut self) -> Result<Option<Vec<u8>>, LabError>;

    /// Takes what we say.
    fn write(&mut self, bytes: &[u8]) -> Result<(), LabError>;

    /// Has the applications at the peer's side do something; nothing where there are none.
    fn act(&mut self, act: Act) -> Result<(), LabError>;
}

/// What applications behind the peer do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// The client sends.
    Send(&'static [u8]),
    /// The client hears exactly this.
    Hear(&'static [u8]),
    /// The client has nothing more to send.
    Finish,
    /// The client hears the end, or an error.
    HearEnd,
    /// The client resets its connection.
    Reset,
    /// Another client connects, and does not come by this connection.
    ConnectElsewhere,
    /// The peer's daemon is replaced.
    Upgrade,
}

/// What the peer did, apart from windows and settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Request(StreamId, ConnectRequest),
    Response(StreamId, ConnectResponse),
    Data(StreamId, Vec<u8>),
    End(StreamId),
    Reset(StreamId, ErrorCode),
    GoAway(u32, ErrorCode),
    Pong,
    /// It says nothing more.
    Closed,
}

/// Our end.
pub(crate) struct End<'s> {
    h2: Connection,
    source: &'s mut dyn Source,
    seen: VecDeque<Seen>,
    account: Vec<String>,
}

impl<'s> End<'s> {
    pub(crate) fn client(source: &'s mut dyn Source) -> Self {
        Self::new(Connection::client(Limits::default()), source)
    }

    pub(crate) fn server(source: &'s mut dyn Source) -> Self {
        Self::new(Connection::server(Limits::default()), source)
    }

    fn new(h2: Connection, source: &'s mut dyn Source) -> Self {
        Self { h2, source, seen: VecDeque::new(), account: Vec::new() }
    }

    /// What the peer did, a line each.
    pub(crate) fn into_account(self) -> Vec<String> {
        self.account
    }

    /// What the peer does next.
    pub(crate) fn next(&mut self) -> Result<Seen, LabError> {
        loop {
            self.flush()?;
            if let Some(seen) = self.seen.pop_front() {
                self.note(&seen);
                return Ok(seen);
            }
            let Some(bytes) = self.source.read()? else {
                self.note(&Seen::Closed);
                return Ok(Seen::Closed);
            };
            self.take_in(&bytes)?;
        }
    }

    /// Payload of a stream, which comes in pieces of any size.
    pub(crate) fn payload(&mut self, stream: StreamId, length: usize) -> Result<Vec<u8>, LabError> {
        let mut all = Vec::new();
        while all.len() < length {
            match self.next()? {
                Seen::Data(from, bytes) if from == stream => all.extend(bytes),
                other => return Err(unexpected("payload", &other)),
            }
        }
        self.account.push(format!("{}: {:?}", stream.number(), String::from_utf8_lossy(&all)));
        Ok(all)
    }

    pub(crate) fn request(&mut self) -> Result<(StreamId, ConnectRequest), LabError> {
        match self.next()? {
            Seen::Request(stream, request) => Ok((stream, request)),
            other => Err(unexpected("a request", &other)),
        }
    }

    pub(crate) fn response(&mut self, to: StreamId) -> Result<ConnectResponse, LabError> {
        match self.next()? {
            Seen::Response(stream, response) if stream == to => Ok(response),
            other => Err(unexpected("a response", &other)),
        }
    }

    /// The peer closes its half, without anything before.
    pub(crate) fn end(&mut self, of: StreamId) -> Result<(), LabError> {
        match self.next()? {
            Seen::End(stream) if stream == of => Ok(()),
            other => Err(unexpected("the end of a stream", &other)),
        }
    }

    pub(crate) fn open(&mut self, request: &ConnectRequest) -> Result<StreamId, LabError> {
        let stream = self.h2.open(request).map_err(|error| broken("open", error))?;
        self.flush()?;
        Ok(stream)
    }

    pub(crate) fn respond(
        &mut self,
        to: StreamId,
        response: &ConnectResponse,
        end: bool,
    ) -> Result<(), LabError> {
        self.h2.respond(to, response, end);
        self.flush()
    }

    /// Sends payload, and closes our half if it is the last.
    pub(crate) fn send(&mut self, stream: StreamId, payload: &[u8], last: bool) -> Result<(), LabError> {
        self.flush()?;
        let header = self.h2.data_header(stream, payload.len(), last);
        self.source.write(&[&header, payload].concat())
    }

    pub(crate) fn reset(&mut self, stream: StreamId) -> Result<(), LabError> {
        self.h2.reset(stream, ErrorCode::CANCEL);
        self.flush()
    }

    pub(crate) fn ping(&mut self) -> Result<(), LabError> {
        self.h2.ping(*b"interop!");
        self.flush()
    }

    pub(crate) fn go_away(&mut self) -> Result<(), LabError> {
        self.h2.go_away();
        self.flush()
    }

    pub(crate) fn act(&mut self, act: Act) -> Result<(), LabError> {
        self.flush()?;
        self.source.act(act)
    }

    fn take_in(&mut self, mut bytes: &[u8]) -> Result<(), LabError> {
        loop {
            let event =
                self.h2.next_event(&mut bytes).map_err(|error| broken("what the peer said", error))?;
            let Some(event) = event else { return Ok(()) };
            let seen = match event {
                Event::Request { stream, request, .. } => Seen::Request(stream, request),
                Event::Response { stream, response, .. } => Seen::Response(stream, response),
                Event::Data { stream, payload, .. } => {
                    let (payload, length) = (payload.to_vec(), payload.len());
                    self.h2.release(stream, length);
                    Seen::Data(stream, payload)
                }
                Event::EndStream { stream, .. } => Seen::End(stream),
                Event::Reset { stream, code, .. } => Seen::Reset(stream, code),
                Event::GoAway { last_stream, code } => Seen::GoAway(last_stream, code),
                Event::PingAck { .. } => Seen::Pong,
                Event::Settings | Event::WindowOpened { .. } => continue,
            };
            self.seen.push_back(seen);
        }
    }

    fn flush(&mut self) -> Result<(), LabError> {
        let control = std::mem::take(self.h2.control());
        if control.is_empty() { Ok(()) } else { self.source.write(&control) }
    }

    /// Payload is noted as a whole, by who wants it.
    fn note(&mut self, seen: &Seen) {
        let lines = match seen {
            Seen::Request(stream, request) => requested(stream.number(), request),
            Seen::Response(stream, response) => {
                let baggage = response.baggage.as_deref().map(|it| format!(", baggage {it}"));
                vec![format!(
                    "{}: answers {}{}",
                    stream.number(),
                    response.status,
                    baggage.unwrap_or_default()
                )]
            }
            Seen::Data(..) => Vec::new(),
            Seen::End(stream) => vec![format!("{}: ends its half", stream.number())],
            Seen::Reset(stream, code) => vec![format!("{}: resets, {code:?}", stream.number())],
            Seen::GoAway(last, code) => vec![format!("goes away, last stream {last}, {code:?}")],
            Seen::Pong => vec!["answers a ping".to_owned()],
            Seen::Closed => vec!["closes".to_owned()],
        };
        self.account.extend(lines);
    }
}

fn requested(stream: u32, request: &ConnectRequest) -> Vec<String> {
    let headers = [
        ("baggage", &request.baggage),
        ("forwarded", &request.forwarded),
        ("traceparent", &request.traceparent),
        ("x-forwarded-network", &request.network),
    ];
    let first = format!("{stream}: {:?} {}", request.method, request.authority);
    let rest =
        headers.iter().filter_map(|(name, value)| Some(format!("{stream}: {name} {}", value.as_deref()?)));
    std::iter::once(first).chain(rest).collect()
}

pub(crate) fn unexpected(wanted: &str, got: &Seen) -> LabError {
    LabError::Unreadable { what: format!("the peer, instead of {wanted}"), problem: format!("{got:?}") }
}

fn broken(what: &str, error: impl std::fmt::Display) -> LabError {
    LabError::Unreadable { what: what.to_owned(), problem: error.to_string() }
}
