//! Input in pieces of any size means the same.

use proptest::prelude::*;

use super::*;

/// Feeds pieces that end at `cuts`; neighbouring payload of one stream is joined.
fn feed_pieces(
    connection: &mut Connection,
    bytes: &[u8],
    cuts: &[usize],
) -> Result<Vec<Seen>, ConnectionError> {
    let mut events = Vec::new();
    let mut from = 0;
    for to in cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]) {
        if to < from {
            continue;
        }
        for event in feed(connection, &bytes[from..to])? {
            match (events.last_mut(), event) {
                (Some(Seen::Data(last, joined)), Seen::Data(stream, payload)) if *last == stream => {
                    joined.extend(payload);
                }
                (_, event) => events.push(event),
            }
        }
        from = to;
    }
    Ok(events)
}

/// One frame or a few, mostly allowed.
fn some_frames() -> impl Strategy<Value = Vec<u8>> {
    let stream = (0_u32..8).prop_map(|n| 2 * n + 1);
    let payload = proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        4 => stream.clone().prop_map(request),
        8 => (stream.clone(), payload.clone()).prop_map(|(stream, payload)| data(stream, &payload)),
        2 => (stream.clone(), payload.clone())
            .prop_map(|(stream, payload)| raw(frame::DATA, frame::END_STREAM, stream, &payload)),
        2 => (stream.clone(), 0_u8..30, payload.clone()).prop_map(|(stream, padding, payload)| {
            let padded = [&[padding][..], &payload, &vec![0; padding.into()]].concat();
            raw(frame::DATA, frame::PADDED, stream, &padded)
        }),
        1 => stream.clone().prop_map(|stream| rst(stream, ErrorCode::CANCEL)),
        2 => (stream.clone(), 0_u32..100_000).prop_map(|(stream, by)| window_update(stream, by)),
        1 => any::<[u8; 8]>().prop_map(|payload| raw(frame::PING, 0, 0, &payload)),
        1 => any::<[u8; 8]>().prop_map(|payload| raw(frame::PING, frame::ACK, 0, &payload)),
        1 => (1_u16..8, 0_u32..70_000).prop_map(|(id, value)| setting(id, value)),
        1 => stream.clone().prop_map(|stream| {
            let block = connect();
            let (first, rest) = block.split_at(4);
            [raw(frame::HEADERS, 0, stream, first), raw(frame::CONTINUATION, frame::END_HEADERS, stream, rest)].concat()
        }),
        1 => (any::<u8>(), any::<u8>(), stream, payload).prop_map(|(kind, flags, stream, payload)| {
            raw(kind, flags, stream, &payload)
        }),
    ]
}

proptest! {
    #[test]
    fn however_the_input_is_cut_it_means_the_same(
        frames in proptest::collection::vec(some_frames(), 0..40),
        cuts in proptest::collection::vec(any::<usize>(), 0..60),
        is_server: bool,
    ) {
        let bytes = frames.concat();
        let make = || {
            if is_server { server() } else {
                let mut client = client();
                for _ in 0..4 {
                    client.open(&ConnectRequest::new("a:80")).unwrap();
                }
                client
            }
        };
        let (mut whole, mut cut, mut single) = (make(), make(), make());
        let mut cuts = cuts;
        cuts.iter_mut().for_each(|cut| *cut %= bytes.len() + 1);
        cuts.sort_unstable();
        let want = feed_pieces(&mut whole, &bytes, &[]);
        prop_assert_eq!(&feed_pieces(&mut cut, &bytes, &cuts), &want);
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&feed_pieces(&mut single, &bytes, &every), &want);
        prop_assert_eq!(sent(&mut cut), sent(&mut whole));
        prop_assert_eq!(cut.stream_count(), whole.stream_count());
    }
}
