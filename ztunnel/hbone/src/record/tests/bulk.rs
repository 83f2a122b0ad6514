use super::super::MAX_CONTENT;
use super::*;
use rustls::AlertDescription;

#[tokio::test]
async fn records_of_every_size_arrive_both_ways() {
    let mesh = Mesh::new();
    let (client, server) = both_ours(&mesh).await;
    let (mut client, mut server) = (Driver::from(client), Driver::from(server));
    let mut random = Random::new(1);
    for size in [1, 2, 15, 16, 17, 1000, MAX_CONTENT - 1, MAX_CONTENT] {
        let content = random.bytes(size);
        client.write(&content).await;
        assert_eq!(server.read(size).await, content);
        server.write(&content).await;
        assert_eq!(client.read(size).await, content);
    }
}

#[tokio::test]
async fn bulk_survives_key_updates_of_both_sides_against_rustls() {
    let mesh = Mesh::new();
    let (socket, theirs) = socket_pair();
    let sent = Random::new(2).bytes(2_000_000);
    let total = sent.len();
    let server = rustls_server(&mesh, theirs, move |stream| {
        let mut random = Random::new(3);
        let mut echoed = 0;
        while echoed < total {
            let mut part = vec![0; 1 + random.below(50_000)];
            let count = stream.read(&mut part).unwrap();
            if random.below(4) == 0 {
                stream.conn.refresh_traffic_keys().unwrap();
            }
            write_all(stream, &part[..count]);
            echoed += count;
        }
    });
    let established = super::super::connect(socket, &mesh.towards("server"), ADDRESS).await.unwrap();
    let mut driver = Driver::from(established);
    driver.records.update_keys_after(7);
    let mut random = Random::new(4);
    let mut rest = &sent[..];
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(rest.len().min(1 + random.below(MAX_CONTENT)));
        driver.write(part).await;
        assert!(driver.read(part.len()).await == part);
        rest = behind;
    }
    assert!(driver.records.tx.count() <= 7);
    server.join().unwrap();
}

#[tokio::test]
async fn a_requested_key_update_is_answered_with_one() {
    let mesh = Mesh::new();
    let (client, server) = both_ours(&mesh).await;
    let (mut client, mut server) = (Driver::from(client), Driver::from(server));
    server.write(b"a").await;
    client.read(1).await;
    // `update_requested`, sealed by hand.
    let mut record = vec![0; HEADER + 5 + TRAILER];
    record[HEADER..][..5].copy_from_slice(&[24, 0, 0, 1, 1]);
    client.records.seal_as(22, &mut record, 5);
    client.records.tx = client.records.schedule.next_tx().unwrap();
    client.write_raw(&record).await;
    client.write(b"b").await;
    assert_eq!(server.read(1).await, b"b");
    assert!(server.records.key_update_due());
    server.write(b"c").await;
    assert!(!server.records.key_update_due());
    assert_eq!(client.read(1).await, b"c");
    assert_eq!(client.records.rx.count(), 1);
}

#[tokio::test]
async fn close_notify_ends_the_stream_for_rustls_and_for_us() {
    let mesh = Mesh::new();
    let (socket, theirs) = socket_pair();
    let client = rustls_client(&mesh, theirs, |stream| {
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        rest
    });
    let mut driver = Driver::from(super::super::accept(socket, mesh.server.server()).await.unwrap());
    assert!(matches!(driver.next().await, Opened::CloseNotify { .. }));
    driver.write(b"last words").await;
    let end = driver.records.close_notify();
    driver.write_raw(&end).await;
    assert_eq!(client.join().unwrap(), b"last words");
}

#[tokio::test]
async fn rustls_understands_our_fatal_alert() {
    let mesh = Mesh::new();
    let (socket, theirs) = socket_pair();
    let client = rustls_client(&mesh, theirs, |stream| stream.read(&mut [0]).unwrap_err());
    let mut driver = Driver::from(super::super::accept(socket, mesh.server.server()).await.unwrap());
    let alert = driver.records.alert(AlertDescription::AccessDenied);
    driver.write_raw(&alert).await;
    let error = client.join().unwrap();
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    assert_eq!(error, Some(&rustls::Error::AlertReceived(AlertDescription::AccessDenied)));
}
