use super::super::{MAX_RECEIVED, RecordError};
use super::*;
use rustls::AlertDescription;

/// An established pair, of which only the records are of interest.
async fn records() -> (Records, Records) {
    let (client, server) = both_ours(&Mesh::new()).await;
    let (mut client, mut server) = (Driver::from(client), Driver::from(server));
    // Takes the server's ticket off the wire.
    server.write(b"x").await;
    client.read(1).await;
    (client.records, server.records)
}

/// A record of any inner type and padding, sealed as the peer would.
fn forged(records: &mut Records, content: &[u8], inner_type: u8, padding: usize) -> Vec<u8> {
    let inner = content.len() + 1 + padding;
    let length = u16::try_from(inner + 16).unwrap().to_be_bytes();
    let header = [23, 3, 3, length[0], length[1]];
    let mut record = header.to_vec();
    record.extend_from_slice(content);
    record.push(inner_type);
    record.resize(HEADER + inner, 0);
    let tag = records.tx.seal(header, &mut record[HEADER..]);
    record.extend(tag);
    record
}

fn alert_of(result: Result<Opened, RecordError>) -> Option<AlertDescription> {
    result.unwrap_err().alert()
}

#[tokio::test]
async fn a_record_in_pieces_is_awaited_and_padding_stripped() {
    let (mut client, mut server) = records().await;
    let mut record = forged(&mut client, b"hello", 23, 100);
    for length in 0..record.len() {
        let needed = if length < HEADER { HEADER } else { record.len() };
        assert_eq!(server.open(&mut record[..length]).unwrap(), Opened::Incomplete { needed });
    }
    record.extend(b"next");
    let consumed = record.len() - 4;
    assert_eq!(server.open(&mut record).unwrap(), Opened::Data { consumed, plaintext: 5..10 });
    assert_eq!(&record[5..10], b"hello");
    assert_eq!(&record[consumed..], b"next");
}

#[tokio::test]
async fn any_flipped_bit_is_refused() {
    let (mut client, mut server) = records().await;
    let mut record = sealed(&mut client, b"hello");
    let counted = server.rx.count();
    for bit in 0..record.len() * 8 {
        let mut flipped = record.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match server.open(&mut flipped) {
            // A longer record than was sent.
            Ok(Opened::Incomplete { needed }) => assert!(needed > flipped.len() && bit / 8 < HEADER),
            Ok(other) => panic!("{other:?} with bit {bit} flipped"),
            Err(_) => {}
        }
        server.rx.set_count(counted);
    }
    assert!(server.open(&mut record).is_ok());
}

#[tokio::test]
async fn a_record_repeated_or_left_out_is_refused() {
    let (mut client, mut server) = records().await;
    let first = sealed(&mut client, b"first");
    assert!(server.open(&mut first.clone()).is_ok());
    assert_eq!(alert_of(server.open(&mut first.clone())), Some(AlertDescription::BadRecordMac));
    let (mut client, mut server) = records().await;
    let _lost = sealed(&mut client, b"first");
    let mut second = sealed(&mut client, b"second");
    assert_eq!(alert_of(server.open(&mut second)), Some(AlertDescription::BadRecordMac));
}

#[tokio::test]
async fn oversized_and_undersized_records_are_refused() {
    let (mut client, mut server) = records().await;
    let length = u16::try_from(MAX_RECEIVED - HEADER + 1).unwrap().to_be_bytes();
    let header = [23, 3, 3, length[0], length[1]];
    assert_eq!(alert_of(server.open(&mut header.clone())), Some(AlertDescription::RecordOverflow));
    assert!(server.open(&mut [23, 3, 3, 0, 16, 0, 0, 0]).is_err());
    // As long as ciphertext may be, but with more content than a record may have.
    let mut record = forged(&mut client, &[7; 16384], 23, 1);
    assert_eq!(alert_of(server.open(&mut record)), Some(AlertDescription::RecordOverflow));
}

#[tokio::test]
async fn plaintext_records_after_the_handshake_are_refused() {
    for outer_type in [20, 21, 22, 0, 24, 255] {
        let (_, mut server) = records().await;
        let mut record = [outer_type, 3, 3, 0, 1, 1];
        assert_eq!(alert_of(server.open(&mut record)), Some(AlertDescription::UnexpectedMessage));
    }
}

#[tokio::test]
async fn a_record_of_zeros_or_of_an_unknown_type_is_refused() {
    for inner_type in [0, 20, 24, 99] {
        let (mut client, mut server) = records().await;
        let mut record = forged(&mut client, &[], inner_type, 10);
        assert_eq!(alert_of(server.open(&mut record)), Some(AlertDescription::UnexpectedMessage));
    }
}

#[tokio::test]
async fn empty_records_are_bounded() {
    let (mut client, mut server) = records().await;
    for round in 0..3 {
        for _ in 0..32 {
            let mut record = forged(&mut client, &[], 23, round);
            assert!(matches!(server.open(&mut record), Ok(Opened::Control { .. })));
        }
        let mut record = sealed(&mut client, b"x");
        assert!(matches!(server.open(&mut record), Ok(Opened::Data { .. })));
    }
    for _ in 0..32 {
        server.open(&mut forged(&mut client, &[], 23, 0)).unwrap();
    }
    let result = server.open(&mut forged(&mut client, &[], 23, 0));
    assert_eq!(alert_of(result), Some(AlertDescription::UnexpectedMessage));
}

#[tokio::test]
async fn a_ticket_in_fragments_is_joined() {
    let (mut client, mut server) = records().await;
    let mut ticket = vec![4, 0, 0, 0];
    ticket.extend([0, 0, 14, 16, 1, 2, 3, 4, 1, 9, 0, 20]);
    ticket.extend([7; 20]);
    ticket.extend([0, 0]);
    ticket[3] = u8::try_from(ticket.len() - 4).unwrap();
    for size in [1, 3, 5, 36] {
        for part in ticket.chunks(size) {
            let mut record = forged(&mut server, part, 22, 0);
            assert!(matches!(client.open(&mut record), Ok(Opened::Control { .. })), "{size}");
            if size == 1 {
                client.fruitless = 0;
            }
        }
        assert!(client.handshakes.is_empty());
        client.fruitless = 0;
    }
    // In the middle of a message nothing else may come.
    client.open(&mut forged(&mut server, &ticket[..9], 22, 0)).unwrap();
    let result = client.open(&mut sealed(&mut server, b"data"));
    assert_eq!(alert_of(result), Some(AlertDescription::UnexpectedMessage));
}

#[tokio::test]
async fn messages_that_have_no_place_are_refused() {
    let unexpected = Some(AlertDescription::UnexpectedMessage);
    let malformed = Some(AlertDescription::DecodeError);
    for (content, inner_type, alert) in [
        // A ticket from a client; a ClientHello; an empty fragment.
        (&[4, 0, 0, 0][..], 22, unexpected),
        (&[1, 0, 0, 0], 22, unexpected),
        (&[], 22, unexpected),
        // A message longer than any.
        (&[4, 2, 0, 0], 22, malformed),
        // Key updates: a value that doesn't exist, two bytes, one with a message behind it.
        (&[24, 0, 0, 1, 2], 22, malformed),
        (&[24, 0, 0, 2, 0, 0], 22, malformed),
        (&[24, 0, 0, 1, 0, 24], 22, unexpected),
        // Alerts: half, empty, two at once.
        (&[2], 21, malformed),
        (&[], 21, malformed),
        (&[1, 0, 1, 0], 21, malformed),
    ] {
        let (mut client, mut server) = records().await;
        let mut record = forged(&mut client, content, inner_type, 0);
        assert_eq!(alert_of(server.open(&mut record)), alert, "{content:?}");
    }
}

#[tokio::test]
async fn a_malformed_ticket_is_refused() {
    let (mut client, mut server) = records().await;
    let mut record = forged(&mut server, &[4, 0, 0, 3, 1, 2, 3], 22, 0);
    assert_eq!(alert_of(client.open(&mut record)), Some(AlertDescription::DecodeError));
}

#[tokio::test]
async fn key_updates_without_data_are_bounded() {
    let (mut client, mut server) = records().await;
    let mut refused = None;
    for count in 0..100 {
        let mut wire = Vec::new();
        client.key_update(&mut wire).unwrap();
        if let Err(error) = server.open(&mut wire) {
            refused = Some((count, error.alert()));
            break;
        }
    }
    assert_eq!(refused, Some((32, Some(AlertDescription::UnexpectedMessage))));
}

#[tokio::test]
async fn nothing_counts_after_close_notify() {
    let (mut client, mut server) = records().await;
    let mut wire = client.close_notify().to_vec();
    wire.extend(b"GET / HTTP/1.1");
    let all = wire.len();
    assert_eq!(server.open(&mut wire).unwrap(), Opened::CloseNotify { consumed: all });
    assert_eq!(server.open(&mut [1, 2, 3]).unwrap(), Opened::CloseNotify { consumed: 3 });
}

#[tokio::test]
async fn a_fatal_alert_is_reported_and_not_answered() {
    let (mut client, mut server) = records().await;
    let mut wire = client.alert(AlertDescription::BadCertificate);
    let error = server.open(&mut wire).unwrap_err();
    assert!(matches!(error, RecordError::Alert(AlertDescription::BadCertificate)));
    assert_eq!(error.alert(), None);
}

#[tokio::test]
async fn random_bytes_never_panic() {
    let mut random = Random::new(9);
    for _ in 0..20 {
        let (mut client, mut server) = records().await;
        for _ in 0..50 {
            let length = random.below(40);
            let content = random.bytes(length);
            let inner_type = [21, 22, 23][random.below(3)];
            let mut record = forged(&mut client, &content, inner_type, random.below(3));
            if server.open(&mut record).is_err() {
                break;
            }
        }
    }
}
