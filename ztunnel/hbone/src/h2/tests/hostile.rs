//! Peers that mean harm.

use super::*;
use crate::h2::error::Excess;
use crate::h2::hpack::HpackError;

/// Feeds `bytes` until the connection fails; how often it took them, and why it failed.
fn feed_for_ever(
    connection: &mut Connection,
    mut bytes: impl FnMut(u32) -> Vec<u8>,
) -> (u32, ConnectionError) {
    for round in 0..100_000 {
        if let Err(error) = feed(connection, &bytes(round)) {
            return (round, error);
        }
        connection.control().clear();
    }
    panic!("no end to it");
}

#[test]
fn rapid_resets_end_the_connection() {
    let mut server = server();
    let flood = |round| {
        let stream = 2 * round + 1;
        [request(stream), rst(stream, ErrorCode::CANCEL)].concat()
    };
    assert_eq!(feed_for_ever(&mut server, flood), (200, ConnectionError::TooMany(Excess::Resets)));
}

#[test]
fn streams_that_are_broken_on_purpose_end_the_connection() {
    let mut server = server();
    let flood = |round| {
        let stream = 2 * round + 1;
        [request(stream), window_update(stream, 0)].concat()
    };
    assert_eq!(feed_for_ever(&mut server, flood), (200, ConnectionError::TooMany(Excess::Resets)));
    let mut server = server_with(Limits::default());
    let flood = |round| raw(frame::HEADERS, frame::END_HEADERS, 2 * round + 1, &[]);
    assert_eq!(feed_for_ever(&mut server, flood), (200, ConnectionError::TooMany(Excess::Resets)));
}

#[test]
fn streams_beyond_the_limit_end_the_connection_in_the_end() {
    let mut server = server_with(Limits { max_concurrent_streams: 10, ..Limits::default() });
    let flood = |round| request(2 * round + 1);
    assert_eq!(feed_for_ever(&mut server, flood), (210, ConnectionError::TooMany(Excess::Resets)));
}

#[test]
fn connections_that_are_answered_before_they_are_reset_are_welcome() {
    let mut server = server();
    for round in 0..10_000 {
        let headers = request(2 * round + 1);
        let mut input = &headers[..];
        let Ok(Some(Event::Request { stream, .. })) = server.next_event(&mut input) else {
            panic!("no request")
        };
        server.respond(stream, &ConnectResponse::new(200), false);
        assert_eq!(feed(&mut server, &rst(2 * round + 1, ErrorCode::CANCEL)).unwrap().len(), 1);
        server.control().clear();
    }
}

#[test]
fn frames_that_want_answers_are_bounded() {
    let too_many = ConnectionError::TooMany(Excess::Answers);
    assert_eq!(feed_for_ever(&mut client(), |_| raw(frame::PING, 0, 0, &[0; 8])), (1000, too_many));
    // The peer's first SETTINGS count as well.
    assert_eq!(feed_for_ever(&mut client(), |_| setting(0x4, 1)), (999, too_many));
}

#[test]
fn payload_restores_no_settings() {
    let (mut server, _) = server_with_stream(Limits::default());
    let flood = |_| [data(1, b"x"), setting(0x4, 1)].concat();
    assert_eq!(feed_for_ever(&mut server, flood), (999, ConnectionError::TooMany(Excess::Answers)));
}

#[test]
fn a_window_that_is_opened_by_hardly_anything_over_and_over_ends_the_connection() {
    for (increment, want) in [(255, Err(ConnectionError::TooMany(Excess::IdleFrames))), (256, Ok(()))] {
        let (mut server, stream) = server_with_stream(Limits::default());
        feed(&mut server, &window_update(1, 1 << 30)).unwrap();
        server.data_header(stream, 65_535, false);
        let ended = (0..=10_000).try_for_each(|_| {
            assert_eq!(feed(&mut server, &window_update(0, increment))?, [Seen::Window(None)]);
            server.data_header(stream, increment as usize, false);
            Ok(())
        });
        assert_eq!(ended, want);
    }
}

#[test]
fn an_interval_or_payload_restores_what_may_be_asked() {
    let (mut server, _) = server_with_stream(Limits::default());
    let ping = raw(frame::PING, 0, 0, &[0; 8]);
    for _ in 0..5 {
        for _ in 0..900 {
            feed(&mut server, &ping).unwrap();
        }
        server.replenish();
    }
    for _ in 0..5000 {
        feed(&mut server, &[ping.clone(), data(1, b"x")].concat()).unwrap();
    }
}

#[test]
fn frames_without_effect_are_bounded() {
    let want = (10_000, ConnectionError::TooMany(Excess::IdleFrames));
    let empty = raw(frame::DATA, 0, 1, &[]);
    let padding = raw(frame::DATA, frame::PADDED, 1, &[1, 0]);
    let unknown = raw(0x42, 0, 0, b"x");
    let priority = raw(frame::PRIORITY, 0, 1, &[0; 5]);
    let farewell = raw(frame::GOAWAY, 0, 0, &[0; 8]);
    let answer = raw(frame::PING, frame::ACK, 0, &[0; 8]);
    for frames in [empty, padding, unknown, priority, farewell, answer] {
        let (mut server, _) = server_with_stream(Limits::default());
        assert_eq!(feed_for_ever(&mut server, |_| frames.clone()), want, "{frames:?}");
    }
    let late = raw(frame::DATA, 0, 1, b"x");
    let (mut server, stream) = server_with_stream(Limits::default());
    server.reset(stream, ErrorCode::CANCEL);
    assert_eq!(feed_for_ever(&mut server, |_| late.clone()), want);
}

#[test]
fn continuation_floods_end_the_connection() {
    let open = raw(frame::HEADERS, 0, 1, &connect());
    let mut server = server();
    feed(&mut server, &open).unwrap();
    let flood = |_| raw(frame::CONTINUATION, 0, 1, &[]);
    assert_eq!(feed_for_ever(&mut server, flood), (8, ConnectionError::TooMany(Excess::Continuations)));
    let mut server = server_with(Limits::default());
    feed(&mut server, &open).unwrap();
    let flood = |_| raw(frame::CONTINUATION, 0, 1, &[0; 8192]);
    assert_eq!(feed_for_ever(&mut server, flood), (7, ConnectionError::HeadersTooLarge));
}

#[test]
fn a_header_block_that_is_too_long_is_refused_at_its_header() {
    let header = FrameHeader { length: 65_537, kind: frame::HEADERS, flags: 0, stream: 1 }.to_bytes();
    assert_eq!(feed(&mut server(), &header), Err(ConnectionError::HeadersTooLarge));
}

#[test]
fn a_list_that_is_too_large_resets_its_stream() {
    // 11 references to one field of 2 kB: over 16 KiB, under four times as much.
    let mut bytes = connect();
    bytes.extend_from_slice(b"\x40\x01a\x7f\xd1\x0e");
    bytes.extend_from_slice(&[b'x'; 2000]);
    bytes.extend_from_slice(&[0xbe; 10]);
    let mut server = server();
    assert_eq!(feed(&mut server, &raw(frame::HEADERS, frame::END_HEADERS, 1, &bytes)), Ok(vec![]));
    assert_eq!(sent(&mut server), [(frame::RST_STREAM, 0, 1, vec![0, 0, 0, 0xb])]);
    assert_eq!(feed(&mut server, &request(3)).unwrap().len(), 1);
}

#[test]
fn an_hpack_bomb_ends_the_connection() {
    let mut bytes = connect();
    bytes.extend_from_slice(b"\x40\x01a\x7f\xa1\x1e");
    bytes.extend_from_slice(&[b'x'; 4000]);
    bytes.extend_from_slice(&[0xbe; 12_000]);
    let bomb = raw(frame::HEADERS, frame::END_HEADERS, 1, &bytes);
    assert_eq!(feed(&mut server(), &bomb), Err(ConnectionError::HeadersTooLarge));
}

#[test]
fn a_block_that_is_not_hpack_ends_the_connection() {
    let broken = raw(frame::HEADERS, frame::END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff");
    let mut server = server();
    assert_eq!(feed(&mut server, &broken), Err(ConnectionError::Compression(HpackError::IntegerTooLarge)));
    assert_eq!(sent(&mut server)[0].3[4..], [0, 0, 0, 9]);
}

#[test]
fn settings_without_end_are_refused_at_their_header() {
    let header = FrameHeader { length: 198, kind: frame::SETTINGS, flags: 0, stream: 0 }.to_bytes();
    assert_eq!(feed(&mut server(), &header), Err(ConnectionError::TooMany(Excess::Answers)));
}
