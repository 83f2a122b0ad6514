//! Preface, SETTINGS, PING, GOAWAY, and what may not come at all.

use super::*;
use crate::h2::OpenError;

#[test]
fn both_ends_begin_with_what_they_allow() {
    let mut client = Connection::client(Limits::default());
    assert!(client.control().starts_with(PREFACE));
    let frames = sent(&mut client);
    assert_eq!(frames.len(), 2);
    assert_eq!((frames[0].0, frames[0].2), (frame::SETTINGS, 0));
    assert_eq!(frames[0].3[..6], [0, 2, 0, 0, 0, 0], "push is off");
    let increment = (32 << 20) - 65_535_u32;
    assert_eq!(frames[1], (frame::WINDOW_UPDATE, 0, 0, increment.to_be_bytes().to_vec()));
    let mut server = Connection::server(Limits::default());
    assert_eq!(sent(&mut server)[0].3[..6], [0, 3, 0, 0, 1, 0], "256 streams");
}

#[test]
fn anything_but_the_preface_ends_the_connection() {
    for hello in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSX", b"\x16\x03\x01"] {
        let mut server = Connection::server(Limits::default());
        assert_eq!(feed(&mut server, hello), Err(ConnectionError::Preface));
    }
    for first in [data(1, b"x"), raw(frame::PING, 0, 0, &[0; 8]), raw(frame::SETTINGS, frame::ACK, 0, &[])] {
        let mut client = Connection::client(Limits::default());
        assert_eq!(feed(&mut client, &first), Err(ConnectionError::Preface), "{first:?}");
    }
}

#[test]
fn a_failed_connection_says_goodbye_once_and_stays_failed() {
    let mut server = server();
    assert_eq!(
        feed(&mut server, &data(0, b"x")),
        Err(ConnectionError::StreamId { kind: frame::DATA, stream: 0 })
    );
    assert_eq!(sent(&mut server), [(frame::GOAWAY, 0, 0, vec![0, 0, 0, 0, 0, 0, 0, 1])]);
    let mut input = &b""[..];
    assert!(server.next_event(&mut input).is_err());
    assert_eq!(sent(&mut server), []);
}

#[test]
fn settings_are_acknowledged() {
    let mut server = server();
    assert_eq!(feed(&mut server, &setting(0x4, 1)), Ok(vec![Seen::Settings]));
    assert_eq!(sent(&mut server), [(frame::SETTINGS, frame::ACK, 0, vec![])]);
    assert_eq!(feed(&mut server, &raw(frame::SETTINGS, frame::ACK, 0, &[])), Ok(vec![]));
    assert_eq!(sent(&mut server), []);
}

#[test]
fn pings_are_answered_and_answers_reported() {
    let mut server = server();
    assert_eq!(feed(&mut server, &raw(frame::PING, 0, 0, b"12345678")), Ok(vec![]));
    assert_eq!(sent(&mut server), [(frame::PING, frame::ACK, 0, b"12345678".to_vec())]);
    let answer = raw(frame::PING, frame::ACK, 0, b"12345678");
    assert_eq!(feed(&mut server, &answer), Ok(vec![Seen::Pong(*b"12345678")]));
    assert_eq!(sent(&mut server), []);
}

#[test]
fn frames_that_cannot_be_end_the_connection() {
    let kinds = |kind, stream| ConnectionError::StreamId { kind, stream };
    let lengths = |kind, length| ConnectionError::FrameLength { kind, length };
    let cases = [
        (raw(frame::HEADERS, frame::END_HEADERS, 0, &connect()), kinds(frame::HEADERS, 0)),
        (raw(frame::HEADERS, frame::END_HEADERS, 2, &connect()), kinds(frame::HEADERS, 2)),
        (raw(frame::SETTINGS, 0, 1, &[]), kinds(frame::SETTINGS, 1)),
        (raw(frame::PING, 0, 1, &[0; 8]), kinds(frame::PING, 1)),
        (raw(frame::GOAWAY, 0, 1, &[0; 8]), kinds(frame::GOAWAY, 1)),
        (rst(0, ErrorCode::CANCEL), kinds(frame::RST_STREAM, 0)),
        (raw(frame::PRIORITY, 0, 0, &[0; 5]), kinds(frame::PRIORITY, 0)),
        (raw(frame::PRIORITY, 0, 1, &[0; 4]), lengths(frame::PRIORITY, 4)),
        (raw(frame::SETTINGS, 0, 0, &[0; 5]), lengths(frame::SETTINGS, 5)),
        (raw(frame::SETTINGS, frame::ACK, 0, &[0; 6]), lengths(frame::SETTINGS, 6)),
        (raw(frame::PING, 0, 0, &[0; 7]), lengths(frame::PING, 7)),
        (raw(frame::GOAWAY, 0, 0, &[0; 7]), lengths(frame::GOAWAY, 7)),
        (raw(frame::RST_STREAM, 0, 1, &[0; 5]), lengths(frame::RST_STREAM, 5)),
        (raw(frame::WINDOW_UPDATE, 0, 0, &[0; 3]), lengths(frame::WINDOW_UPDATE, 3)),
        (raw(frame::HEADERS, frame::PRIORITY_FLAG, 1, &[0; 4]), lengths(frame::HEADERS, 4)),
        (raw(frame::PUSH_PROMISE, 0, 1, &[0; 8]), ConnectionError::Push),
        (data(1, b"x"), ConnectionError::IdleStream(1)),
        (data(2, b"x"), ConnectionError::IdleStream(2)),
        (rst(1, ErrorCode::CANCEL), ConnectionError::IdleStream(1)),
        (window_update(1, 1), ConnectionError::IdleStream(1)),
        (window_update(0, 0), ConnectionError::ZeroIncrement),
        (setting(0x2, 2), ConnectionError::Setting { id: 2, value: 2 }),
        (setting(0x4, 1 << 31), ConnectionError::Setting { id: 4, value: 1 << 31 }),
        (setting(0x5, 16_383), ConnectionError::Setting { id: 5, value: 16_383 }),
        (setting(0x5, 1 << 24), ConnectionError::Setting { id: 5, value: 1 << 24 }),
        (raw(frame::CONTINUATION, frame::END_HEADERS, 1, &[]), ConnectionError::Continuation),
    ];
    for (bytes, want) in cases {
        assert_eq!(feed(&mut server(), &bytes), Err(want), "{bytes:?}");
    }
}

#[test]
fn a_frame_longer_than_announced_ends_the_connection_at_its_header() {
    let header = FrameHeader { length: (1 << 20) + 1, kind: frame::DATA, flags: 0, stream: 1 }.to_bytes();
    assert_eq!(feed(&mut server(), &header), Err(ConnectionError::FrameTooLong((1 << 20) + 1)));
}

#[test]
fn a_server_opens_no_streams_at_a_client() {
    let mut client = client();
    assert_eq!(feed(&mut client, &ok(2)), Err(ConnectionError::StreamId { kind: frame::HEADERS, stream: 2 }));
}

#[test]
fn unknown_frames_settings_and_priorities_are_skipped() {
    let mut server = server();
    let bytes =
        [raw(0x20, 0xff, 7, b"whatever"), raw(frame::PRIORITY, 0, 9, &[0; 5]), setting(0x99, 1), request(1)]
            .concat();
    assert_eq!(feed(&mut server, &bytes), Ok(vec![Seen::Settings, Seen::Request(1, "a:80".into())]));
}

#[test]
fn a_server_leaves_in_two_steps() {
    let mut server = server();
    feed(&mut server, &request(1)).unwrap();
    server.go_away();
    server.go_away();
    let frames = sent(&mut server);
    assert_eq!(frames[0], (frame::GOAWAY, 0, 0, vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
    assert_eq!(frames.len(), 2, "said once, with a PING behind");
    assert!(!server.is_going_away(), "streams may be on their way");
    assert_eq!(feed(&mut server, &request(3)), Ok(vec![Seen::Request(3, "a:80".into())]));
    assert_eq!(feed(&mut server, &raw(frame::PING, frame::ACK, 0, &frames[1].3)), Ok(vec![]));
    assert_eq!(sent(&mut server), [(frame::GOAWAY, 0, 0, vec![0, 0, 0, 3, 0, 0, 0, 0])]);
    assert!(server.is_going_away() && !server.is_drained());
    assert_eq!(feed(&mut server, &request(5)), Ok(vec![]), "ignored");
    assert_eq!(feed(&mut server, &data(5, b"x")), Ok(vec![]), "ignored");
    let ends = [rst(1, ErrorCode::CANCEL), rst(3, ErrorCode::CANCEL)].concat();
    assert_eq!(feed(&mut server, &ends).unwrap().len(), 2);
    assert!(server.is_drained());
}

#[test]
fn a_failure_behind_the_leave_does_not_take_back_which_streams_were_ignored() {
    let mut server = server();
    feed(&mut server, &request(1)).unwrap();
    server.close(ErrorCode::NO_ERROR);
    assert_eq!(feed(&mut server, &request(3)), Ok(vec![]), "ignored");
    sent(&mut server);
    assert!(feed(&mut server, &data(0, b"x")).is_err());
    assert_eq!(sent(&mut server), [(frame::GOAWAY, 0, 0, vec![0, 0, 0, 1, 0, 0, 0, 1])]);
}

#[test]
fn streams_that_a_goaway_excludes_are_refused_and_the_others_go_on() {
    let mut client = client();
    for token in 0..4 {
        let stream = client.open(&ConnectRequest::new("a:80")).unwrap();
        client.set_token(stream, token);
    }
    let bytes = raw(frame::GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0, b'd', b'b', b'g']);
    let mut events = feed(&mut client, &bytes).unwrap();
    assert_eq!(events.remove(0), Seen::GoAway(3, ErrorCode::NO_ERROR));
    assert_eq!(
        events,
        [Seen::Reset(5, ErrorCode::REFUSED_STREAM), Seen::Reset(7, ErrorCode::REFUSED_STREAM)]
    );
    assert_eq!(client.open(&ConnectRequest::new("a:80")), Err(OpenError::GoingAway));
    assert!(client.is_going_away() && !client.is_drained());
    assert_eq!(feed(&mut client, &ok(3)), Ok(vec![Seen::Response(3, 200)]));
}

#[test]
fn a_client_opens_as_many_streams_as_the_peer_allows() {
    let mut client = Connection::client(Limits { initial_send_streams: 1, ..Limits::default() });
    let request = ConnectRequest::new("a:80");
    assert!(client.open(&request).is_ok());
    assert_eq!(client.open(&request), Err(OpenError::TooManyStreams(1)));
    feed(&mut client, &setting(0x3, 2)).unwrap();
    assert!(client.can_open() && client.open(&request).is_ok());
    assert_eq!(client.open(&request), Err(OpenError::TooManyStreams(2)));
    feed(&mut client, &rst(1, ErrorCode::CANCEL)).unwrap();
    assert!(client.can_open());
    feed(&mut client, &setting(0x3, 0)).unwrap();
    assert_eq!(client.open(&request), Err(OpenError::TooManyStreams(0)));
}
