//! Header blocks and what they may say (RFC 9113 §8).

use super::*;
use crate::h2::{Method, OpenError};

fn only_request(fields: &[(&str, &str)]) -> Result<ConnectRequest, Vec<Sent>> {
    let mut server = server();
    let bytes = raw(frame::HEADERS, frame::END_HEADERS, 1, &block(fields));
    let mut input = &bytes[..];
    match server.next_event(&mut input).unwrap() {
        Some(Event::Request { request, .. }) => Ok(request),
        Some(other) => panic!("{other:?}"),
        None => Err(sent(&mut server)),
    }
}

#[test]
fn known_headers_are_kept_and_others_skipped() {
    let request = only_request(&[
        (":method", "CONNECT"),
        (":authority", "10.0.0.1:80"),
        ("baggage", "a=1"),
        ("cookie", "x"),
        ("forwarded", "for=\"10.0.0.2:4\""),
        ("baggage", "b=2"),
        ("traceparent", "00-1-2-00"),
        ("traceparent", "00-3-4-00"),
        ("x-forwarded-network", "net"),
    ])
    .unwrap();
    let want = ConnectRequest {
        baggage: Some("a=1,b=2".into()),
        forwarded: Some("for=\"10.0.0.2:4\"".into()),
        traceparent: Some("00-1-2-00".into()),
        network: Some("net".into()),
        ..ConnectRequest::new("10.0.0.1:80")
    };
    assert_eq!(request, want);
}

#[test]
fn other_methods_surface_to_be_refused() {
    let fields = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a")];
    let request = only_request(&fields).unwrap();
    assert_eq!(request.method, Method::Other("GET".into()));
    assert!(!request.is_connect());
}

#[test]
fn malformed_requests_reset_their_stream_only() {
    let connect = (":method", "CONNECT");
    let target = (":authority", "a:80");
    let cases: [&[(&str, &str)]; 16] = [
        &[],
        &[connect],
        &[target],
        &[connect, target, (":scheme", "https")],
        &[connect, target, (":path", "/")],
        &[connect, target, (":protocol", "websocket")],
        &[connect, target, (":status", "200")],
        &[connect, connect, target],
        &[connect, ("a", "b"), target],
        &[connect, target, ("Upper", "x")],
        &[connect, target, ("", "x")],
        &[connect, target, ("connection", "close")],
        &[connect, target, ("te", "gzip")],
        &[connect, target, ("a", "b\r\nc: d")],
        &[connect, (":authority", "a\u{e4}:80")],
        &[(":method", "GET"), target],
    ];
    for fields in cases {
        let want = vec![(frame::RST_STREAM, 0, 1, vec![0, 0, 0, 1])];
        assert_eq!(only_request(fields).unwrap_err(), want, "{fields:?}");
    }
}

#[test]
fn a_header_that_is_not_text_is_skipped() {
    let request =
        only_request(&[(":method", "CONNECT"), (":authority", "a:80"), ("baggage", "\u{e4}")]).unwrap();
    assert_eq!(request.baggage, None);
}

#[test]
fn interim_responses_are_skipped() {
    let mut client = client();
    client.open(&ConnectRequest::new("a:80")).unwrap();
    let early = raw(frame::HEADERS, frame::END_HEADERS, 1, &block(&[(":status", "103")]));
    assert_eq!(feed(&mut client, &[early, ok(1)].concat()), Ok(vec![Seen::Response(1, 200)]));
}

#[test]
fn malformed_responses_reset_their_stream_only() {
    let cases: [&[(&str, &str)]; 7] = [
        &[],
        &[(":status", "20")],
        &[(":status", "2000")],
        &[(":status", "+20")],
        &[(":status", "101")],
        &[(":status", "200"), (":method", "CONNECT")],
        &[(":status", "200"), (":status", "200")],
    ];
    for fields in cases {
        let mut client = client();
        client.open(&ConnectRequest::new("a:80")).unwrap();
        let bytes = raw(frame::HEADERS, frame::END_HEADERS, 1, &block(fields));
        let want = vec![Seen::Reset(1, ErrorCode::PROTOCOL_ERROR)];
        assert_eq!(feed(&mut client, &bytes), Ok(want), "{fields:?}");
    }
}

#[test]
fn trailers_end_the_stream_and_other_late_headers_reset_it() {
    let trailers = |flags, fields| raw(frame::HEADERS, frame::END_HEADERS | flags, 1, &block(fields));
    let (mut client, _) = client_with_stream();
    assert_eq!(
        feed(&mut client, &trailers(frame::END_STREAM, &[("grpc-status", "0")])),
        Ok(vec![Seen::End(1)])
    );
    let broken = vec![Seen::Reset(1, ErrorCode::PROTOCOL_ERROR)];
    let (mut client, _) = client_with_stream();
    assert_eq!(feed(&mut client, &trailers(0, &[("a", "b")])), Ok(broken.clone()));
    let (mut client, _) = client_with_stream();
    assert_eq!(feed(&mut client, &trailers(frame::END_STREAM, &[(":status", "200")])), Ok(broken));
}

#[test]
fn a_block_can_come_in_fragments_padded_and_with_a_priority() {
    let block = connect();
    let (first, rest) = block.split_at(3);
    let (second, third) = rest.split_at(2);
    let padded = [&[2][..], &[0; 5], first, &[0; 2]].concat();
    let bytes = [
        raw(frame::HEADERS, frame::PADDED | frame::PRIORITY_FLAG, 1, &padded),
        raw(frame::CONTINUATION, 0, 1, second),
        raw(frame::CONTINUATION, 0, 1, &[]),
    ]
    .concat();
    let mut server = server();
    assert_eq!(feed(&mut server, &bytes), Ok(vec![]));
    assert_eq!(server.unfinished(), Some(1));
    let last = raw(frame::CONTINUATION, frame::END_HEADERS, 1, third);
    assert_eq!(feed(&mut server, &last), Ok(vec![Seen::Request(1, "a:80".into())]));
    assert_eq!(server.unfinished(), None);
}

#[test]
fn nothing_may_come_between_the_fragments_of_a_block() {
    let open = raw(frame::HEADERS, 0, 1, &connect());
    for intruder in [
        raw(frame::PING, 0, 0, &[0; 8]),
        raw(0x20, 0, 1, &[]),
        request(3),
        raw(frame::CONTINUATION, frame::END_HEADERS, 3, &[]),
    ] {
        let bytes = [open.clone(), intruder].concat();
        assert_eq!(feed(&mut server(), &bytes), Err(ConnectionError::Continuation));
    }
}

#[test]
fn long_header_blocks_are_cut_to_the_peers_frame_size() {
    let mut client = client();
    let request = ConnectRequest { baggage: Some("b".repeat(40_000).into()), ..ConnectRequest::new("a:80") };
    client.open(&request).unwrap();
    let bytes = std::mem::take(client.control());
    let mut server = server_with(Limits { max_header_list: 65_536, ..Limits::default() });
    let mut input = &bytes[..];
    let Ok(Some(Event::Request { request: got, .. })) = server.next_event(&mut input) else {
        panic!("no request")
    };
    assert_eq!(got, request);
    *client.control() = bytes;
    let kinds: Vec<_> = sent(&mut client).into_iter().map(|(kind, flags, ..)| (kind, flags)).collect();
    assert_eq!(
        kinds,
        [(frame::HEADERS, 0), (frame::CONTINUATION, 0), (frame::CONTINUATION, frame::END_HEADERS)]
    );
}

#[test]
fn a_list_within_the_limit_may_be_longer_in_huffman_code() {
    // 16,000 backslashes of 19 bits each, eight of which are 19 bytes, behind their length as an integer.
    let eight = b"\xff\xfe\x1f\xff\xc3\xff\xf8\x7f\xff\x0f\xff\xe1\xff\xfc\x3f\xff\x87\xff\xf0";
    let block = [&connect()[..], b"\x00\x07baggage\xff\xf1\xa7\x02", &eight.repeat(2000)].concat();
    let headers = raw(frame::HEADERS, frame::END_HEADERS, 1, &block);
    let mut server = server();
    let mut input = &headers[..];
    let Ok(Some(Event::Request { request, .. })) = server.next_event(&mut input) else {
        panic!("no request")
    };
    assert_eq!(request.baggage, Some("\\".repeat(16_000).into()));
}

#[test]
fn a_request_goes_without_the_baggage_that_the_peer_does_not_take() {
    // A byte less than 300: :method CONNECT, :authority a:80 and baggage, each with 32 bytes more.
    let most = 299 - (7 + 7 + 32) - (10 + 4 + 32) - (7 + 32);
    for (baggage, arrives) in [(most, true), (most + 1, false)] {
        let mut client = client();
        feed(&mut client, &setting(0x6, 300)).unwrap();
        client.control().clear();
        let baggage = Some("b".repeat(baggage).into());
        client.open(&ConnectRequest { baggage, ..ConnectRequest::new("a:80") }).unwrap();
        let bytes = std::mem::take(client.control());
        let mut server = server();
        let mut input = &bytes[..];
        let Ok(Some(Event::Request { request, .. })) = server.next_event(&mut input) else {
            panic!("no request")
        };
        assert_eq!(request.baggage.is_some(), arrives);
    }
}

#[test]
fn a_request_that_the_peer_does_not_take_at_all_is_not_sent_to_it() {
    let mut client = client();
    feed(&mut client, &setting(0x6, 92)).unwrap();
    client.control().clear();
    let refused = client.open(&ConnectRequest::new("a:80"));
    assert_eq!(refused, Err(OpenError::HeadersTooLarge { size: 92, most: 91 }));
    assert_eq!((sent(&mut client), client.stream_count()), (vec![], 0));
}

#[test]
fn an_answer_goes_without_the_baggage_that_the_peer_does_not_take() {
    for (baggage, arrives) in [(99 - (7 + 3 + 32) - (7 + 32), true), (100 - (7 + 3 + 32) - (7 + 32), false)] {
        let mut server = server();
        let bytes = [setting(0x6, 100), request(1)].concat();
        let mut input = &bytes[..];
        assert_eq!(server.next_event(&mut input), Ok(Some(Event::Settings)));
        let Ok(Some(Event::Request { stream, .. })) = server.next_event(&mut input) else {
            panic!("no request")
        };
        server.control().clear();
        let response = ConnectResponse { status: 200, baggage: Some("b".repeat(baggage).into()) };
        server.respond(stream, &response, false);
        let bytes = std::mem::take(server.control());
        let mut client = client();
        client.open(&ConnectRequest::new("a:80")).unwrap();
        let mut input = &bytes[..];
        let Ok(Some(Event::Response { response, .. })) = client.next_event(&mut input) else {
            panic!("no answer")
        };
        assert_eq!(response.baggage.is_some(), arrives);
    }
}

#[test]
fn header_tables_stay_in_step_over_streams_that_are_refused() {
    let mut client = client();
    let mut server = server_with(Limits { max_concurrent_streams: 1, ..Limits::default() });
    let request =
        ConnectRequest { baggage: Some("k8s.namespace.name=a".into()), ..ConnectRequest::new("a:80") };
    for _ in 0..3 {
        client.open(&request).unwrap();
    }
    let bytes = std::mem::take(client.control());
    assert_eq!(feed(&mut server, &bytes).unwrap().len(), 1);
    assert_eq!(sent(&mut server).len(), 2, "two are refused");
    feed(&mut server, &rst(1, ErrorCode::CANCEL)).unwrap();
    client.open(&ConnectRequest::new("a:80")).unwrap();
    let bytes = std::mem::take(client.control());
    assert_eq!(feed(&mut server, &bytes), Ok(vec![Seen::Request(7, "a:80".into())]));
}
