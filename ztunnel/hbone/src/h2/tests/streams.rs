//! The states of a stream (RFC 9113 §5.1).

use super::*;

#[test]
fn a_stream_runs_from_its_request_to_both_ends() {
    let mut server = server();
    let bytes = request(1);
    let mut input = &bytes[..];
    let Ok(Some(Event::Request { stream, request, end_stream: false })) = server.next_event(&mut input)
    else {
        panic!("no request");
    };
    assert_eq!(request, ConnectRequest::new("a:80"));
    server.set_token(stream, 7);
    assert_eq!(server.send_capacity(stream), 0, "not answered yet");
    server.respond(stream, &ConnectResponse::new(200), false);
    server.respond(stream, &ConnectResponse::new(503), true);
    assert_eq!(sent(&mut server).len(), 1, "answered once");
    assert_eq!(server.send_capacity(stream), 65_535);
    assert_eq!(server.data_header(stream, 5, true), [0, 0, 5, 0, 1, 0, 0, 0, 1]);
    assert_eq!(server.send_capacity(stream), 0, "our half has ended");
    let bytes = raw(frame::DATA, frame::END_STREAM, 1, b"hello");
    assert_eq!(feed(&mut server, &bytes), Ok(vec![Seen::Data(1, b"hello".to_vec()), Seen::End(1)]));
    assert_eq!(server.stream_count(), 0);
}

#[test]
fn a_stream_can_end_with_its_headers() {
    let mut server = server();
    let bytes = raw(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 1, &connect());
    assert_eq!(feed(&mut server, &bytes), Ok(vec![Seen::Request(1, "a:80".into()), Seen::End(1)]));
    let mut client = client();
    client.open(&ConnectRequest::new("a:80")).unwrap();
    let refusal = block(&[(":status", "503")]);
    let bytes = raw(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 1, &refusal);
    assert_eq!(feed(&mut client, &bytes), Ok(vec![Seen::Response(1, 503), Seen::End(1)]));
    assert_eq!(client.stream_count(), 1, "our half is open");
}

#[test]
fn a_refusal_ends_our_half() {
    let mut server = server();
    let bytes = raw(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 1, &connect());
    let mut input = &bytes[..];
    let Ok(Some(Event::Request { stream, .. })) = server.next_event(&mut input) else { panic!("no request") };
    assert!(server.next_event(&mut input).unwrap().is_some());
    server.respond(stream, &ConnectResponse::new(401), true);
    let frames = sent(&mut server);
    assert_eq!(frames[0].1, frame::END_HEADERS | frame::END_STREAM);
    assert_eq!(server.stream_count(), 0);
}

#[test]
fn frames_for_a_closed_stream_are_skipped() {
    let (mut server, stream) = server_with_stream(Limits::default());
    server.reset(stream, ErrorCode::CANCEL);
    server.reset(stream, ErrorCode::CANCEL);
    assert_eq!(sent(&mut server), [(frame::RST_STREAM, 0, 1, vec![0, 0, 0, 8])]);
    let trailers = raw(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 1, &[]);
    let late =
        [data(1, b"late"), window_update(1, 1), rst(1, ErrorCode::CANCEL), trailers, request(3)].concat();
    assert_eq!(feed(&mut server, &late), Ok(vec![Seen::Request(3, "a:80".into())]));
    assert_eq!(server.send_capacity(stream), 0);
    assert_eq!(server.data_header(stream, 3, false)[3], 0xfa, "a frame that the peer ignores");
}

#[test]
fn a_stream_that_is_skipped_by_a_later_one_is_closed() {
    let mut server = server();
    feed(&mut server, &request(5)).unwrap();
    assert_eq!(feed(&mut server, &request(3)), Ok(vec![]));
    assert_eq!(server.stream_count(), 1);
}

#[test]
fn a_handle_does_not_find_the_stream_that_took_its_place() {
    let mut client = client();
    let first = client.open(&ConnectRequest::new("a:80")).unwrap();
    client.reset(first, ErrorCode::CANCEL);
    let second = client.open(&ConnectRequest::new("a:80")).unwrap();
    assert_eq!((client.send_capacity(first), client.send_capacity(second)), (0, 65_535));
}

#[test]
fn data_behind_the_end_resets_the_stream() {
    let (mut server, _) = server_with_stream(Limits::default());
    feed(&mut server, &raw(frame::DATA, frame::END_STREAM, 1, b"")).unwrap();
    assert_eq!(feed(&mut server, &data(1, b"more")), Ok(vec![Seen::Reset(1, ErrorCode::STREAM_CLOSED)]));
    assert_eq!(sent(&mut server), [(frame::RST_STREAM, 0, 1, vec![0, 0, 0, 5])]);
}

#[test]
fn data_before_the_response_resets_the_stream() {
    let mut client = client();
    client.open(&ConnectRequest::new("a:80")).unwrap();
    assert_eq!(feed(&mut client, &data(1, b"early")), Ok(vec![Seen::Reset(1, ErrorCode::PROTOCOL_ERROR)]));
}

#[test]
fn a_reset_in_the_middle_of_a_frame_skips_the_rest_of_it() {
    let (mut server, stream) = server_with_stream(Limits::default());
    let frames = [data(1, b"hello world"), request(3)].concat();
    assert_eq!(feed(&mut server, &frames[..14]), Ok(vec![Seen::Data(1, b"hello".to_vec())]));
    server.reset(stream, ErrorCode::CANCEL);
    assert_eq!(feed(&mut server, &frames[14..]), Ok(vec![Seen::Request(3, "a:80".into())]));
}

#[test]
fn padding_is_taken_off() {
    let (mut server, _) = server_with_stream(Limits::default());
    let payload = [&[3][..], b"hello", &[0; 3]].concat();
    let bytes = raw(frame::DATA, frame::PADDED | frame::END_STREAM, 1, &payload);
    assert_eq!(feed(&mut server, &bytes), Ok(vec![Seen::Data(1, b"hello".to_vec()), Seen::End(1)]));
    let (mut server, _) = server_with_stream(Limits::default());
    let bytes = raw(frame::DATA, frame::PADDED, 1, &[2, 0, 0]);
    assert_eq!(feed(&mut server, &bytes), Ok(vec![]), "nothing but padding");
    assert_eq!(
        feed(&mut server, &raw(frame::DATA, frame::PADDED, 1, &[3, 0, 0])),
        Err(ConnectionError::Padding)
    );
}

#[test]
fn a_padded_frame_without_a_byte_is_refused() {
    let (mut server, _) = server_with_stream(Limits::default());
    let want = ConnectionError::FrameLength { kind: frame::DATA, length: 0 };
    assert_eq!(feed(&mut server, &raw(frame::DATA, frame::PADDED, 1, &[])), Err(want));
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let mut server = server_with(Limits { max_concurrent_streams: 2, ..Limits::default() });
    let events = feed(&mut server, &[request(1), request(3), request(5)].concat()).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(sent(&mut server), [(frame::RST_STREAM, 0, 5, vec![0, 0, 0, 7])]);
}
