//! What TCP does between two applications.

use std::io::{Read, Write};
use std::net::Shutdown;

use harness::{LabError, exchange, serve};

use crate::world::{APP, RESETTER, World, beat};

/// A test of calls in both directions.
fn both_ways(test: impl Fn(&World, &str, &str) -> Result<(), LabError>) -> Result<(), LabError> {
    let world = World::up()?;
    test(&world, "ours", "theirs")?;
    test(&world, "theirs", "ours")
}

#[test]
fn bulk_arrives_unchanged_in_both_directions_at_once() -> Result<(), LabError> {
    both_ways(|world, from, to| exchange(&world.pod(from), world.pod(to).at(APP), 96 << 20))
}

#[test]
fn many_connections_at_once_arrive_unchanged() -> Result<(), LabError> {
    both_ways(|world, from, to| {
        let (client, to) = (world.pod(from), world.pod(to).at(APP));
        let calls: Vec<_> = (0..32)
            .map(|_| {
                let client = client.clone();
                std::thread::spawn(move || exchange(&client, to, 1 << 20))
            })
            .collect();
        calls.into_iter().try_for_each(|call| call.join().expect("a client does not panic"))
    })
}

#[test]
fn a_half_closed_connection_still_carries_the_answer() -> Result<(), LabError> {
    both_ways(|world, from, to| {
        let sink = world.pod(to).serve(0, serve::sink())?;
        let mut stream = world.pod(from).connect(world.pod(to).at(sink.port()))?;
        stream.write_all(&[7; 300_000])?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        assert_eq!(answer.trim(), "300000");
        Ok(())
    })
}

#[test]
fn a_server_that_ends_first_still_hears_the_rest() -> Result<(), LabError> {
    both_ways(|world, from, to| {
        let (heard, rest) = std::sync::mpsc::channel();
        let handler = serve::Handler::each(move |mut app| {
            app.write_all(b"bye")?;
            app.shutdown(Shutdown::Write)?;
            let mut all = Vec::new();
            app.read_to_end(&mut all)?;
            let _nobody_waits = heard.send(all.len());
            Ok(())
        });
        let server = world.pod(to).serve(0, handler)?;
        let mut stream = world.pod(from).connect(world.pod(to).at(server.port()))?;
        let mut bye = String::new();
        stream.read_to_string(&mut bye)?;
        assert_eq!(bye, "bye");
        stream.write_all(&[7; 300_000])?;
        drop(stream);
        assert_eq!(rest.recv_timeout(harness::PATIENCE), Ok(300_000));
        Ok(())
    })
}

#[test]
fn a_reset_ends_that_connection_and_no_other() -> Result<(), LabError> {
    both_ways(|world, from, to| {
        let (client, server) = (world.pod(from), world.pod(to));
        let mut other = client.connect(server.at(APP))?;
        beat(&mut other)?;
        // The peer may tell of a reset as of an end, as Istio's does.
        let mut reset = client.connect(server.at(RESETTER))?;
        reset.write_all(b"x")?;
        assert!(!matches!(reset.read(&mut [0]), Ok(1..)), "the client of {to} hears of its server's reset");
        let mut resets = client.connect(server.at(APP))?;
        beat(&mut resets)?;
        socket2::SockRef::from(&resets).set_linger(Some(std::time::Duration::ZERO))?;
        drop(resets);
        beat(&mut other)?;
        Ok(beat(&mut client.connect(server.at(APP))?)?)
    })
}
