//! Calls in both directions.

use std::io::{Read, Write};
use std::net::Shutdown;

use harness::{AccessRecord, LabError, Marker, Pod};

use crate::world::{APP, World, both};

#[test]
fn calls_arrive_under_the_callers_identity_and_unreadable_on_the_way() -> Result<(), LabError> {
    let world = World::up()?;
    let (ours, theirs) = (world.pod("ours"), world.pod("theirs"));
    let (marker, capture) = (Marker::random()?, world.mesh.capture()?);
    let payload = marker.payload(10_000);
    let length = u64::try_from(payload.len()).expect("a short payload");
    for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
        for address in both(to, APP) {
            let mut stream = from.connect(address)?;
            stream.write_all(&payload)?;
            stream.shutdown(Shutdown::Write)?;
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard)?;
            assert!(heard == payload, "{} of {} bytes came back from {address}", heard.len(), payload.len());
        }
        assert_eq!(world.callers_of(to.name()), from.ips(), "the caller's address is kept");
    }
    let records = |direction: &str| recorded(&world, direction, 2);
    for record in records("outbound")? {
        assert_eq!(record.path, "hbone");
        assert_eq!(record.source_identity, Some(ours.identity()));
        assert_eq!(record.destination_identity, Some(theirs.identity()));
        assert_eq!((record.bytes_sent, record.bytes_received, record.error), (length, length, None));
    }
    for record in records("inbound")? {
        assert_eq!(record.path, "hbone");
        assert_eq!(record.source_identity, Some(theirs.identity()));
        assert_eq!((record.bytes_sent, record.bytes_received, record.error), (length, length, None));
    }
    let packets = capture.stop(&world.mesh)?;
    assert_eq!(packets.holding(marker.as_bytes()), 0, "nothing of it can be read on the wire");
    Ok(())
}

#[test]
fn calls_by_a_services_address_arrive_on_both_sides() -> Result<(), LabError> {
    let world = World::up()?;
    for (from, service) in [("ours", "10.96.0.2"), ("theirs", "10.96.0.1")] {
        let from: Pod = world.pod(from);
        let mut stream =
            from.connect((service.parse::<std::net::IpAddr>().expect("an address"), 80).into())?;
        crate::world::beat(&mut stream)?;
    }
    let outbound = recorded(&world, "outbound", 1)?;
    assert_eq!(outbound[0].service.as_deref(), Some("theirs.shop.svc.cluster.local"));
    Ok(())
}

#[test]
fn the_peer_has_its_certificates_from_our_ca() -> Result<(), LabError> {
    let world = World::up()?;
    crate::world::beat(&mut world.pod("ours").connect(world.pod("theirs").at(APP))?)?;
    assert_eq!(recorded(&world, "outbound", 1)?[0].path, "hbone");
    let identity = world.pod("theirs").identity();
    // The CA answers without waiting for its log.
    harness::eventually("the CA says that it signed the certificate", || {
        let log = world.mesh.ca().log()?;
        let mut signed = log.lines().filter(|it| it.contains("certificate signed") && it.contains("node2"));
        Ok(signed.any(|line| line.contains(&identity)).then_some(()))
    })
}

/// The records of so many connections.
fn recorded(world: &World, direction: &str, count: usize) -> Result<Vec<AccessRecord>, LabError> {
    harness::eventually("not all connections were recorded", || {
        let mut records = world.mesh.daemon("node1").records()?;
        records.retain(|record| record.direction == direction);
        Ok((records.len() >= count).then_some(records))
    })
}
