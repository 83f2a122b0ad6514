//! Peers that begin and never finish.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::{LabError, PATIENCE};
use serde_json::json;

use crate::frames::{HEADERS, PREFACE, SETTINGS, frame};
use crate::scene::{HBONE, Scene};

#[test]
fn handshakes_that_never_end_take_no_more_than_the_share_of_their_source() -> Result<(), LabError> {
    let scene = Scene::up(json!({
        "workers": 2,
        "timeouts": { "handshake": "4s" },
        "limits": { "handshakesPerSource": 50 },
    }))?;
    let (batch, to) = (scene.mesh.pod("legacy/batch"), scene.server().at(HBONE));
    let daemon = scene.mesh.daemon("node2");
    // Some are reset before they are told that they are connected.
    let silent: Vec<_> = (0..200).filter_map(|_| batch.connect(to).ok()).collect();
    let labels = [("limit", "handshakes_per_source")];
    let turned_away = "ambient_connections_turned_away_total";
    // Of the source as a whole, however many workers there are.
    assert_eq!(daemon.wait_metric(turned_away, &labels, |count| count >= 150.0)?, 150.0);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        scene.check_served()?;
    }
    check_closed(silent)?;
    let failed = [("direction", "inbound"), ("cause", "timeout")];
    daemon.wait_metric("ambient_tunnel_handshake_failures_total", &failed, |count| count >= 50.0)?;
    assert_eq!(daemon.log()?.matches("connections are turned away").count(), 1, "a flood is one line");
    scene.check_served()
}

#[test]
fn a_handshake_that_trickles_ends_with_its_time() -> Result<(), LabError> {
    let scene = Scene::up(json!({ "timeouts": { "handshake": "2s" } }))?;
    let (batch, to) = (scene.mesh.pod("legacy/batch"), scene.server().at(HBONE));
    let mut slow = (0..20).map(|_| batch.connect(to)).collect::<Result<Vec<_>, _>>()?;
    // The head of a long ClientHello, and then a byte now and then.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0; 501]].concat();
    let since = Instant::now();
    let mut at = 0;
    while !slow.is_empty() {
        slow.retain_mut(|stream| stream.write_all(&hello[at..=at]).is_ok());
        at += 1;
        scene.check_served()?;
        std::thread::sleep(Duration::from_millis(50));
        assert!(since.elapsed() < Duration::from_secs(8), "{} are still heard", slow.len());
    }
    assert!(since.elapsed() >= Duration::from_millis(1900), "their time was cut short");
    Ok(())
}

#[test]
fn a_tunnel_whose_peer_never_finishes_what_it_says_is_closed() -> Result<(), LabError> {
    let scene = Scene::up(json!({}))?;
    let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let endless = [0, 0x3f, 0xff, HEADERS, 0, 0, 0, 0, 1];
    let mut slow = Vec::new();
    for (first, rest) in [
        (PREFACE[..1].to_vec(), PREFACE[1..].iter().copied().cycle()),
        ([&greeting[..], &endless].concat(), b"\0\x01a\x01b".iter().copied().cycle()),
    ] {
        let mut peer = scene.peer("shop/attacker")?;
        peer.write(&first)?;
        slow.push((peer, rest));
    }
    // Twice as long as a silence may last, and the time between two looks at it.
    ended_within(Duration::from_secs(50), &scene, &mut slow, |(peer, rest)| peer.write(&[rest.next()?]).ok())
}

#[test]
fn a_tunnel_whose_record_never_ends_is_closed_as_idle() -> Result<(), LabError> {
    let scene = Scene::up(json!({ "timeouts": { "idleTunnel": "1s", "idleInbound": "2s" } }))?;
    let mut peer = scene.peer("shop/attacker")?;
    peer.write(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())?;
    // The head of the longest record there is.
    peer.write_below_tls(&[0x17, 3, 3, 0x41, 0])?;
    ended_within(Duration::from_secs(40), &scene, &mut vec![peer], |peer| peer.write_below_tls(&[0]).ok())
}

/// That each of them cannot go on after a while, and that others are served meanwhile.
fn ended_within<T>(
    most: Duration,
    scene: &Scene,
    slow: &mut Vec<T>,
    mut go_on: impl FnMut(&mut T) -> Option<()>,
) -> Result<(), LabError> {
    let since = Instant::now();
    while !slow.is_empty() {
        slow.retain_mut(|it| go_on(it).is_some());
        scene.check_served()?;
        std::thread::sleep(Duration::from_millis(200));
        assert!(since.elapsed() < most, "{} are still heard", slow.len());
    }
    Ok(())
}

/// That each connection is closed without an answer.
fn check_closed(streams: Vec<TcpStream>) -> Result<(), LabError> {
    for mut stream in streams {
        stream.set_read_timeout(Some(PATIENCE))?;
        match stream.read(&mut [0]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    Ok(())
}
