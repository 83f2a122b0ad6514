//! Frames that break HTTP/2, or keep its rules and mean harm.

use std::io;
use std::time::Duration;

use harness::LabError;
use serde_json::json;

use crate::peer::Peer;
use crate::scene::{ECHO, Scene};

/// What a peer does after its preface.
type Attack = fn(&mut Peer, &str) -> io::Result<()>;

#[test]
fn a_peer_that_breaks_the_protocol_loses_its_tunnel_and_nobody_else_anything() -> Result<(), LabError> {
    let scene = Scene::up(json!({}))?;
    let authority = scene.server().at(ECHO).to_string();
    // Of an application that never reads, for what does not fit into a window.
    let _deaf = scene.server().serve(DEAF, harness::serve::hold())?;
    let attacks: [(&str, Attack, &[u32]); 15] = [
        ("no preface", |peer, _| peer.write(b"GET / HTTP/1.1\r\n\r\n"), &[PROTOCOL_ERROR]),
        ("rapid reset", rapid_reset, &[ENHANCE_YOUR_CALM]),
        ("streams that break rules", invalid_streams, &[PROTOCOL_ERROR, ENHANCE_YOUR_CALM]),
        ("endless CONTINUATION", continuations, &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR]),
        (
            "huge headers",
            huge_headers,
            &[ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR, COMPRESSION_ERROR, PROTOCOL_ERROR],
        ),
        (
            "headers that unpack to a lot",
            header_bomb,
            &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR, COMPRESSION_ERROR],
        ),
        ("flood of PING", |peer, _| flood(peer, &frame(PING, 0, 0, &[0; 8])), &[ENHANCE_YOUR_CALM]),
        ("flood of SETTINGS", |peer, _| flood(peer, &frame(SETTINGS, 0, 0, &[])), &[ENHANCE_YOUR_CALM]),
        (
            "flood of frames without effect",
            |peer, _| flood(peer, &frame(0x77, 0, 0, &[])),
            &[ENHANCE_YOUR_CALM],
        ),
        ("flood of empty DATA", empty_data, &[ENHANCE_YOUR_CALM]),
        (OVERRUN, overrun, &[FLOW_CONTROL_ERROR]),
        ("a window beyond all bounds", window_overflow, &[FLOW_CONTROL_ERROR]),
        (
            "a frame too long",
            |peer, _| peer.write(&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]),
            &[FRAME_SIZE_ERROR],
        ),
        ("DATA on no stream", |peer, _| peer.write(&frame(DATA, 0, 0, b"x")), &[PROTOCOL_ERROR]),
        (
            "a stream of the server's",
            |peer, to| peer.write(&headers(2, END_HEADERS, &connect(to))),
            &[PROTOCOL_ERROR],
        ),
    ];
    for (what, attack, codes) in attacks {
        let mut peer = scene.peer("shop/attacker")?;
        if what != "no preface" {
            peer.write(PREFACE)?;
            peer.write(&frame(SETTINGS, 0, 0, &[]))?;
        }
        // The server may close before it has heard all of it.
        let _closed = attack(&mut peer, &authority);
        let ending = peer.ending(Duration::from_secs(5));
        // Flow control of one stream is that stream's; all else is the end of the tunnel.
        let ended = ending.closed || (what == OVERRUN && !ending.resets.is_empty());
        assert!(ended, "{what}: {ending:?}");
        let told = ending.go_away.iter().chain(&ending.resets);
        // What the server says is lost where its socket was closed with something unread in it.
        let wrong = told.copied().find(|code| *code != NO_ERROR && *code != CANCEL && !codes.contains(code));
        assert_eq!(wrong, None, "{what}: {ending:?}");
        scene.check_served()?;
    }
    Ok(())
}

fn rapid_reset(peer: &mut Peer, to: &str) -> io::Result<()> {
    for number in 0..5000 {
        let stream = number * 2 + 1;
        let pair = [headers(stream, END_HEADERS, &connect(to)), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])];
        peer.write(&pair.concat())?;
    }
    Ok(())
}

/// The server resets them itself (CVE-2025-8671).
fn invalid_streams(peer: &mut Peer, to: &str) -> io::Result<()> {
    for number in 0..5000 {
        let stream = number * 2 + 1;
        let pair = [headers(stream, END_HEADERS, &connect(to)), frame(WINDOW_UPDATE, 0, stream, &[0; 4])];
        peer.write(&pair.concat())?;
    }
    Ok(())
}

fn continuations(peer: &mut Peer, to: &str) -> io::Result<()> {
    peer.write(&headers(1, 0, &connect(to)))?;
    flood(peer, &frame(CONTINUATION, 0, 1, &[]))
}

fn huge_headers(peer: &mut Peer, to: &str) -> io::Result<()> {
    let mut block = connect(to);
    for _ in 0..1000 {
        block.extend(field(0, b"x-padding", &[b'x'; 100]));
    }
    peer.write(&headers(1, END_HEADERS, &block))
}

/// One long field in the dynamic table, named again and again by a byte each.
fn header_bomb(peer: &mut Peer, to: &str) -> io::Result<()> {
    let mut block = connect(to);
    block.extend([0x40, 1, b'x', 0x7f, 0x80 + 1, 0x1e]);
    block.extend([b'a'; 3968]);
    block.extend([0xbe; 12_000]);
    peer.write(&headers(1, END_HEADERS, &block))
}

fn empty_data(peer: &mut Peer, to: &str) -> io::Result<()> {
    peer.write(&headers(1, END_HEADERS, &connect(to)))?;
    flood(peer, &frame(DATA, 0, 1, &[]))
}

fn overrun(peer: &mut Peer, to: &str) -> io::Result<()> {
    let (ip, _) = to.rsplit_once(':').unwrap_or((to, ""));
    peer.write(&headers(1, END_HEADERS, &connect(&format!("{ip}:{DEAF}"))))?;
    let data = frame(DATA, 0, 1, &[0; 16 * 1024]);
    (0..4096).try_for_each(|_| peer.write(&data))
}

fn window_overflow(peer: &mut Peer, _: &str) -> io::Result<()> {
    (0..3).try_for_each(|_| peer.write(&frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])))
}

/// Many of one frame, far beyond what any bound allows.
fn flood(peer: &mut Peer, frame: &[u8]) -> io::Result<()> {
    let many = frame.repeat(1000);
    (0..50).try_for_each(|_| peer.write(&many))
}

/// A frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, block)
}

/// The header block of a CONNECT, of literal fields (RFC 7541 §6.2.2): `:authority` and `:method` are names 1 and 2 of the
/// static table.
fn connect(authority: &str) -> Vec<u8> {
    [field(2, b"", b"CONNECT"), field(1, b"", authority.as_bytes())].concat()
}

fn field(index: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let length =
        |text: &[u8]| vec![u8::try_from(text.len()).ok().filter(|it| *it < 127).expect("a short text")];
    let name = if index == 0 { [length(name), name.to_vec()].concat() } else { Vec::new() };
    [vec![index], name, length(value), value.to_vec()].concat()
}

/// What a client says first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const CANCEL: u32 = 8;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What is sent though the window is used up.
const OVERRUN: &str = "more than the window";

/// A port of the server where nobody reads.
const DEAF: u16 = 8081;
