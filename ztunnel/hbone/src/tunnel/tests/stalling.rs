//! Peers that hold a tunnel and get nowhere.

use crate::record::tests::{self, Driver};

use super::*;

/// How a server's tunnel ends whose peer says `first`, and then one byte of `rest` after the other without an end, and
/// what the peer was told.
fn ended(timing: Timing, first: &[u8], rest: &[u8]) -> (Ended, Vec<u8>) {
    ended_with(timing, |_| {}, first, rest)
}

/// [`ended`], with something done to the tunnel first.
fn ended_with(timing: Timing, begin: impl Fn(&Tunnel), first: &[u8], rest: &[u8]) -> (Ended, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (client, server) = both_ours(&tests::Mesh::new()).await;
        let server = Tunnel::server(server, Limits::default(), timing, Buffers::new());
        begin(&server);
        let mut peer = Driver::from(client);
        peer.write(first).await;
        let trickle = async {
            for byte in rest.iter().cycle() {
                peer.write(&[*byte]).await;
                tokio::time::sleep(timing.ping_every / 5).await;
            }
        };
        let ended = tokio::select! {
            ended = tokio::time::timeout(Duration::from_secs(10), drive(server, |_| {})) => ended.unwrap(),
            () = trickle => unreachable!("it goes on without an end"),
        };
        (ended, peer.read_to_end().await)
    })
}

/// Short silences, so that the tests are.
const TIMING: Timing = Timing {
    ping_every: Duration::from_millis(50),
    ping_timeout: Duration::from_millis(200),
    idle: Some(Duration::from_secs(60)),
};

/// What a client says first (RFC 9113 §3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) fn frame(kind: u8, flags: u8, stream: u8, length: u8) -> [u8; 9] {
    [0, 0, length, kind, flags, 0, 0, 0, stream]
}

/// A preface and empty settings.
pub(super) fn greeting() -> Vec<u8> {
    [&PREFACE[..], &frame(4, 0, 0, 0)].concat()
}

#[test]
fn a_peer_whose_preface_has_no_end_is_given_up() {
    // Slow enough for it to be far from whole by then.
    let slow = Timing { ping_every: Duration::from_millis(100), ..TIMING };
    let (ended, _) = ended(slow, &PREFACE[..1], &PREFACE[1..]);
    assert!(matches!(ended, Ended::Unresponsive(_)), "{ended:?}");
}

#[test]
fn a_peer_whose_headers_have_no_end_is_given_up() {
    let first = [greeting(), frame(1, 4, 1, 200).to_vec()].concat();
    let (ended, _) = ended(TIMING, &first, &[0]);
    assert!(matches!(ended, Ended::Unresponsive(_)), "{ended:?}");
}

#[test]
fn an_idle_tunnel_is_left_and_closed_whatever_the_peer_says() {
    let idle = Timing { idle: Some(Duration::from_millis(300)), ..TIMING };
    // Frames of an unknown kind, which mean nothing; the ping behind the farewell is never answered.
    let (ended, told) = ended(idle, &greeting(), &frame(0x77, 0, 0, 0));
    assert!(matches!(ended, Ended::Closed), "{ended:?}");
    let go_away = [0, 0, 8, 7];
    assert!(told.windows(go_away.len()).any(|it| it == go_away), "{told:?}");
}

#[test]
fn a_peer_that_does_not_confirm_a_leave_is_left_all_the_same() {
    let (ended, _) = ended_with(TIMING, Tunnel::leave, &greeting(), &frame(0x77, 0, 0, 0));
    assert!(matches!(ended, Ended::Closed), "{ended:?}");
}

#[test]
fn a_silent_peer_is_pinged_and_given_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        for opens in [true, false] {
            let (client, server) = both_ours(&tests::Mesh::new()).await;
            let (ours, theirs) = if opens { (client, server) } else { (server, client) };
            let end = if opens { Tunnel::client } else { Tunnel::server };
            let tunnel = end(ours, Limits::default(), TIMING, Buffers::new());
            let mut peer = Driver::from(theirs);
            peer.write(&if opens { frame(4, 0, 0, 0).to_vec() } else { greeting() }).await;
            let ended = tokio::time::timeout(Duration::from_secs(10), drive(tunnel, |_| {})).await;
            let Ok(Ended::Unresponsive(waited)) = ended else { panic!("{ended:?}") };
            assert_eq!(waited, TIMING.ping_timeout);
            let told = peer.read_to_end().await;
            let pings = told.windows(PING.len()).filter(|it| *it == PING).count();
            assert_eq!(pings, 1, "{told:?}");
        }
    });
}

#[test]
fn a_peer_that_says_nothing_but_answers_pings_is_kept() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        for client_asks in [true, false] {
            let (client, server) = both_ours(&tests::Mesh::new()).await;
            // Only one of them asks: the questions of the other would be signs of life.
            let [theirs, ours] = if client_asks { [TIMING, QUIET] } else { [QUIET, TIMING] };
            let client = Tunnel::client(client, Limits::default(), theirs, Buffers::new());
            let server = Tunnel::server(server, Limits::default(), ours, Buffers::new());
            let asking = if client_asks { &client } else { &server }.clone();
            spawn_local(drive(client.clone(), |_| {}));
            // A request that is never answered: the tunnel is in use.
            let mut requests = Vec::new();
            spawn_local(drive(server, move |request| requests.push(request)));
            let _stream = client.open(&ConnectRequest::new("app:1")).unwrap();
            tokio::time::sleep(TIMING.ping_timeout * 5).await;
            assert!(!asking.is_leaving() && asking.stream_count() == 1);
        }
    });
}

/// A ping that is no answer (RFC 9113 §6.7).
const PING: [u8; 9] = [0, 0, 8, 6, 0, 0, 0, 0, 0];

/// Asks nobody for a sign of life within any test's time.
const QUIET: Timing = Timing { ping_every: Duration::from_secs(600), ..TIMING };
