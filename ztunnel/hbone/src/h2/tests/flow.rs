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
    let half = 32_767_u32.to_be_bytes().to_vec();
    // The connection's window is given back sooner: it is four times as large, and in eighths.
    let updates = [(frame::WINDOW_UPDATE, 0, 0, half.clone()), (frame::WINDOW_UPDATE, 0, 1, half)];
    assert_eq!(sent(&mut server), updates);
}

#[test]
fn the_connection_gets_back_what_went_to_streams_that_are_gone() {
    let (mut server, stream) = server_with_stream(tight());
    feed(&mut server, &data(1, &KIB_16[..16_383])).unwrap();
    server.reset(stream, ErrorCode::CANCEL);
    sent(&mut server);
    server.release(stream, 16_383);
    feed(&mut server, &data(1, &KIB_16[..16_383])).unwrap();
    assert_eq!(sent(&mut server), [], "a byte less than an eighth");
    feed(&mut server, &data(1, b"x")).unwrap();
    assert_eq!(sent(&mut server), [(frame::WINDOW_UPDATE, 0, 0, 32_767_u32.to_be_bytes().to_vec())]);
}

/// Has the peer send as much as the stream's window takes.
fn fill(server: &mut Connection, stream: u32, mut window: usize) {
    while window > 0 {
        let size = window.min(KIB_16.len());
        feed(server, &data(stream, &KIB_16[..size])).unwrap();
        window -= size;
    }
}

#[test]
fn the_window_of_a_reader_that_keeps_up_grows_to_its_limit() {
    let (mut server, stream) = server_with_stream(Limits { stream_window: 200_000, ..Limits::default() });
    let mut window = 65_535;
    for _ in 0..4 {
        fill(&mut server, 1, window);
        server.release(stream, window);
        window = sent(&mut server)
            .into_iter()
            .filter(|(_, _, stream, _)| *stream == 1)
            .map(|(_, _, _, payload)| u32::from_be_bytes(payload.try_into().unwrap()) as usize)
            .sum();
    }
    assert_eq!(window, 200_000);
}

#[test]
fn stuck_streams_leave_others_their_share_however_large_they_grew() {
    let limits = Limits::default();
    let mut server = server_with(limits);
    for stream in (0..limits.max_concurrent_streams - 1).map(|at| 2 * at + 1) {
        feed(&mut server, &request(stream)).unwrap();
        let opened = server.streams.find(stream).unwrap();
        let mut window = 65_535;
        for _ in 0..5 {
            fill(&mut server, stream, window);
            server.release(opened, window);
            let updates = sent(&mut server).into_iter().filter(|(_, _, of, _)| *of == stream);
            window = updates.map(|(_, _, _, by)| u32::from_be_bytes(by.try_into().unwrap()) as usize).sum();
        }
        // And from here on its application reads nothing.
        fill(&mut server, stream, window);
    }
    let last = 2 * limits.max_concurrent_streams - 1;
    feed(&mut server, &request(last)).unwrap();
    fill(&mut server, last, 65_535);
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
