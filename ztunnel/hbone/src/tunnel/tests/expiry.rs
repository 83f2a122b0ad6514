//! Tunnels that live longer than the certificate by which they were opened.

use crate::record::tests::Mesh;

use super::*;

#[test]
fn a_peer_whose_certificate_has_ended_keeps_its_streams_and_gets_no_more() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (client, server) = both_ours(&Mesh::new()).await;
        let timing = Timing { ping_every: Duration::from_millis(50), ..Timing::default() };
        let client = Tunnel::client(client, Limits::default(), Timing::default(), Buffers::new());
        let server = Tunnel::server(server, Limits::default(), timing, Buffers::new());
        spawn_local(drive(client.clone(), |_| {}));
        spawn_local(drive(server.clone(), move |Request { mut stream, .. }| {
            stream.respond(&ConnectResponse::new(200));
            let (theirs, ours) = app();
            std::thread::spawn(move || echo(theirs));
            spawn_local(async move { stream.relay(ours, Rc::new(Count::default())).await });
        }));
        let (stream, status) = open(&client, "app:1").await;
        assert_eq!(status, 200);
        tokio::time::sleep(timing.ping_every * 3).await;
        assert!(client.can_open(), "it has not ended yet");

        server.0.peer_until.set(0);
        let told = async {
            while client.can_open() {
                tokio::time::sleep(timing.ping_every).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("it is told");
        serves_to_its_end(stream).await;
    });
}
