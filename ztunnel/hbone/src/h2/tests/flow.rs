//! Windows (RFC 9113 §5.2, §6.9).

use super::*;

/// The smallest windows there can be: 65,535 for a stream and four times as much for the connection.
fn tight() -> Limits {
    Limits { stream_window: 0, connection_window: 0, ..Limits::default() }
}

const KIB_16: [u8; 16_384] = [0; 16_384];

#[test]
fn capacity_is_the_smaller_of_both_windows() {
    let (mut client, stream) = client_with_stream();
    assert_eq!(client.send_capacity(stream), 65_535);
    client.data_header(stream, 65_000, false);
    assert_eq!(client.send_capacity(stream), 535);
    assert_eq!(feed(&mut client, &window_update(1, 1000)), Ok(vec![]), "it was not used up");
    assert_eq!(client.send_capacity(stream), 535, "the connection's window has not grown");
    assert_eq!(feed(&mut client, &window_update(0, 500)), Ok(vec![]));
    assert_eq!(client.send_capacity(stream), 1035);
}

#[test]
fn opening_a_used_up_window_is_reported() {
    let (mut client, stream) = client_with_stream();
    client.set_token(stream, 42);
    client.data_header(stream, 65_535, false);
    assert_eq!(feed(&mut client, &window_update(1, 10)), Ok(vec![Seen::Window(Some(42))]));
    assert_eq!(feed(&mut client, &window_update(0, 10)), Ok(vec![Seen::Window(None)]));
    assert_eq!(client.send_capacity(stream), 10);
}

#[test]
fn a_changed_initial_window_moves_open_streams_even_below_zero() {
    let (mut client, stream) = client_with_stream();
    client.data_header(stream, 1000, false);
    feed(&mut client, &setting(0x4, 100)).unwrap();
    assert_eq!(client.send_capacity(stream), 0);
    assert_eq!(feed(&mut client, &window_update(1, 900)), Ok(vec![]), "exactly 0");
    assert_eq!(feed(&mut client, &window_update(1, 1)).unwrap().len(), 1);
    feed(&mut client, &setting(0x4, 1000)).unwrap();
    assert_eq!(client.send_capacity(stream), 901);
    let later = client.open(&ConnectRequest::new("a:80")).unwrap();
    assert_eq!(client.send_capacity(later), 1000);
}

#[test]
fn a_window_beyond_its_maximum_is_an_error() {
    let (mut client, _) = client_with_stream();
    let most = (1 << 31) - 1 - 65_535;
    assert_eq!(feed(&mut client, &window_update(1, most)), Ok(vec![]));
    let overflow = window_update(1, 1);
    assert_eq!(feed(&mut client, &overflow), Ok(vec![Seen::Reset(1, ErrorCode::FLOW_CONTROL_ERROR)]));
    assert_eq!(feed(&mut client, &window_update(0, most)), Ok(vec![]));
    assert_eq!(feed(&mut client, &window_update(0, 1)), Err(ConnectionError::FlowControl));
    let (mut client, _) = client_with_stream();
    feed(&mut client, &window_update(1, most)).unwrap();
    assert_eq!(feed(&mut client, &setting(0x4, 65_536)), Err(ConnectionError::FlowControl));
}

#[test]
fn an_update_by_nothing_resets_the_stream() {
    let (mut client, _) = client_with_stream();
    assert_eq!(feed(&mut client, &window_update(1, 0)), Ok(vec![Seen::Reset(1, ErrorCode::PROTOCOL_ERROR)]));
}

#[test]
fn consumed_bytes_are_given_back_by_the_half() {
    let (mut server, stream) = server_with_stream(tight());
    feed(&mut server, &data(1, &KIB_16)).unwrap();
    feed(&mut server, &data(1, &KIB_16)).unwrap();
    server.release(stream, 32_766);
    assert_eq!(sent(&mut server), []);
    server.release(stream, 1);
    assert_eq!(sent(&mut server), [(frame::WINDOW_UPDATE, 0, 1, 32_767_u32.to_be_bytes().to_vec())]);
}

#[test]
fn the_connection_gets_back_what_went_to_streams_that_are_gone() {
    let (mut server, stream) = server_with_stream(tight());
    for _ in 0..4 {
        feed(&mut server, &data(1, &KIB_16[..16_383])).unwrap();
    }
    server.reset(stream, ErrorCode::CANCEL);
    sent(&mut server);
    server.release(stream, 65_532);
    for _ in 0..4 {
        feed(&mut server, &data(1, &KIB_16)).unwrap();
    }
    assert_eq!(sent(&mut server), [], "two bytes less than the half");
    feed(&mut server, &data(1, b"xx")).unwrap();
    let returned = 65_532 + 4 * 16_384 + 2_u32;
    assert_eq!(sent(&mut server), [(frame::WINDOW_UPDATE, 0, 0, returned.to_be_bytes().to_vec())]);
}

#[test]
fn more_than_the_streams_window_resets_it() {
    let (mut server, _) = server_with_stream(tight());
    for _ in 0..3 {
        feed(&mut server, &data(1, &KIB_16)).unwrap();
    }
    feed(&mut server, &data(1, &KIB_16[..16_383])).unwrap();
    assert_eq!(feed(&mut server, &data(1, b"x")), Ok(vec![Seen::Reset(1, ErrorCode::FLOW_CONTROL_ERROR)]));
}

#[test]
fn more_than_the_connections_window_ends_it() {
    let mut server = server_with(tight());
    for stream in [1, 3, 5, 7] {
        feed(&mut server, &request(stream)).unwrap();
        for size in [16_384, 16_384, 16_384, 16_383] {
            feed(&mut server, &data(stream, &KIB_16[..size])).unwrap();
        }
    }
    feed(&mut server, &request(9)).unwrap();
    assert_eq!(feed(&mut server, &data(9, b"x")), Err(ConnectionError::FlowControl));
}

#[test]
fn padding_counts_and_is_given_back_at_once() {
    let (mut server, stream) = server_with_stream(tight());
    let payload = [&[255][..], b"x", &[0; 255]].concat();
    let frame = raw(frame::DATA, frame::PADDED, 1, &payload);
    let mut returned = 0;
    for _ in 0..2000 {
        feed(&mut server, &frame).unwrap();
        server.release(stream, 1);
        for (kind, _, stream, payload) in sent(&mut server) {
            assert_eq!(kind, frame::WINDOW_UPDATE);
            if stream == 1 {
                returned += u32::from_be_bytes(payload.try_into().unwrap());
            }
        }
    }
    assert!(returned > 2000 * 257 - 32_768, "{returned}");
}

#[test]
fn releasing_too_much_gives_back_no_more_than_was_taken() {
    let (mut server, stream) = server_with_stream(tight());
    feed(&mut server, &data(1, b"x")).unwrap();
    server.release(stream, 1_000_000);
    server.release(stream, usize::MAX);
    assert_eq!(sent(&mut server), []);
}
