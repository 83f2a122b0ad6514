//! The rules of RFC 9113, one by one: raw frames in, events and raw frames out.

mod connection;
mod flow;
mod headers;
mod hostile;
mod pieces;
mod streams;

use super::frame::{self, FRAME_HEADER, FrameHeader, PREFACE};
use super::hpack::{Encoder, Indexing};
use super::{
    ConnectRequest, ConnectResponse, Connection, ConnectionError, ErrorCode, Event, Limits, StreamId,
};

/// An event without its borrow, its stream as a number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Request(u32, String),
    Response(u32, u16),
    Data(u32, Vec<u8>),
    End(u32),
    Reset(u32, ErrorCode),
    Window(Option<usize>),
    Pong([u8; 8]),
    GoAway(u32, ErrorCode),
    Settings,
}

/// What we have sent: type, flags, stream, payload.
type Sent = (u8, u8, u32, Vec<u8>);

fn seen(event: Event<'_>) -> Seen {
    match event {
        Event::Request { stream, request, .. } => Seen::Request(stream.number(), request.authority.into()),
        Event::Response { stream, response, .. } => Seen::Response(stream.number(), response.status),
        Event::Data { stream, payload, .. } => Seen::Data(stream.number(), payload.to_vec()),
        Event::EndStream { stream, .. } => Seen::End(stream.number()),
        Event::Reset { stream, code, .. } => Seen::Reset(stream.number(), code),
        Event::WindowOpened { token } => Seen::Window(token),
        Event::PingAck { payload } => Seen::Pong(payload),
        Event::GoAway { last_stream, code } => Seen::GoAway(last_stream, code),
        Event::Settings => Seen::Settings,
    }
}

/// Gives `bytes` to a connection as one piece.
fn feed(connection: &mut Connection, bytes: &[u8]) -> Result<Vec<Seen>, ConnectionError> {
    let mut input = bytes;
    let mut events = Vec::new();
    while let Some(event) = connection.next_event(&mut input)? {
        events.push(seen(event));
    }
    assert_eq!(input, b"", "all input is taken");
    Ok(events)
}

/// Takes what is to be sent apart.
fn sent(connection: &mut Connection) -> Vec<Sent> {
    let bytes = std::mem::take(connection.control());
    let mut rest = bytes.strip_prefix(PREFACE).unwrap_or(&bytes);
    let mut frames = Vec::new();
    while let Some((header, behind)) = rest.split_first_chunk::<FRAME_HEADER>() {
        let FrameHeader { length, kind, flags, stream } = FrameHeader::parse(*header);
        let (payload, next) = behind.split_at(length as usize);
        frames.push((kind, flags, stream, payload.to_vec()));
        rest = next;
    }
    assert_eq!(rest, b"", "frames are whole");
    frames
}

fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, kind, flags, stream, payload);
    out
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let mut encoder = Encoder::default();
    for (name, value) in fields {
        encoder.field(&mut block, name, value, Indexing::Unique);
    }
    block
}

fn connect() -> Vec<u8> {
    block(&[(":method", "CONNECT"), (":authority", "a:80")])
}

/// HEADERS of a CONNECT.
fn request(stream: u32) -> Vec<u8> {
    raw(frame::HEADERS, frame::END_HEADERS, stream, &connect())
}

fn ok(stream: u32) -> Vec<u8> {
    raw(frame::HEADERS, frame::END_HEADERS, stream, &block(&[(":status", "200")]))
}

fn data(stream: u32, payload: &[u8]) -> Vec<u8> {
    raw(frame::DATA, 0, stream, payload)
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let entry = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    raw(frame::SETTINGS, 0, 0, &entry)
}

fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    raw(frame::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

fn rst(stream: u32, code: ErrorCode) -> Vec<u8> {
    raw(frame::RST_STREAM, 0, stream, &code.0.to_be_bytes())
}

/// A server that has seen its client's preface and settings, and said its own.
fn server_with(limits: Limits) -> Connection {
    let mut server = Connection::server(limits);
    let hello = [&PREFACE[..], &raw(frame::SETTINGS, 0, 0, &[])].concat();
    assert_eq!(feed(&mut server, &hello), Ok(vec![Seen::Settings]));
    server.control().clear();
    server
}

fn server() -> Connection {
    server_with(Limits::default())
}

/// A client that has seen its server's settings, and said its own.
fn client() -> Connection {
    let mut client = Connection::client(Limits::default());
    assert_eq!(feed(&mut client, &raw(frame::SETTINGS, 0, 0, &[])), Ok(vec![Seen::Settings]));
    client.control().clear();
    client
}

/// A client with stream 1 open and answered.
fn client_with_stream() -> (Connection, StreamId) {
    let mut client = client();
    let stream = client.open(&ConnectRequest::new("a:80")).unwrap();
    assert_eq!(feed(&mut client, &ok(1)), Ok(vec![Seen::Response(1, 200)]));
    client.control().clear();
    (client, stream)
}

/// A server with stream 1 open and answered.
fn server_with_stream(limits: Limits) -> (Connection, StreamId) {
    let mut server = server_with(limits);
    let headers = request(1);
    let mut input = &headers[..];
    let Ok(Some(Event::Request { stream, .. })) = server.next_event(&mut input) else { panic!("no request") };
    server.respond(stream, &ConnectResponse::new(200), false);
    server.control().clear();
    (server, stream)
}
