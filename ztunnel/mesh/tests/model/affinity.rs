//! The table of clients' endpoints.

use std::time::{Duration, Instant};

use mesh::{Affinities, AffinityKey, EndpointTarget, Remembered};

use crate::samples::{at, key};

#[test]
fn an_endpoint_is_recalled_until_its_client_was_idle_for_the_timeout() {
    let (mut table, start) = (Affinities::new(10), Instant::now());
    table.remember(client("10.0.0.1"), endpoint("10.0.1.1"), HOUR, start);
    let later = start + HOUR / 2;
    assert_eq!(table.recall(&client("10.0.0.1"), later), Some(&endpoint("10.0.1.1")));
    table.remember(client("10.0.0.1"), endpoint("10.0.1.1"), HOUR, later);
    assert!(table.recall(&client("10.0.0.1"), later + HOUR - SECOND).is_some());
    assert!(table.recall(&client("10.0.0.1"), later + HOUR).is_none());
}

#[test]
fn clients_services_and_ports_are_told_apart() {
    let (mut table, start) = (Affinities::new(10), Instant::now());
    table.remember(client("10.0.0.1"), endpoint("10.0.1.1"), HOUR, start);
    assert!(table.recall(&client("10.0.0.2"), start).is_none());
    assert!(table.recall(&AffinityKey { port: 81, ..client("10.0.0.1") }, start).is_none());
    assert!(
        table.recall(&AffinityKey { service: key("shop", "pay"), ..client("10.0.0.1") }, start).is_none()
    );
}

#[test]
fn a_full_table_drops_what_is_outdated_before_anything_else() {
    let (mut table, start) = (Affinities::new(2), Instant::now());
    table.remember(client("10.0.0.1"), endpoint("10.0.1.1"), SECOND, start);
    table.remember(client("10.0.0.2"), endpoint("10.0.1.1"), HOUR, start);
    table.remember(client("10.0.0.3"), endpoint("10.0.1.1"), HOUR, start + SECOND);
    assert!(table.recall(&client("10.0.0.2"), start + SECOND).is_some());
    assert!(table.recall(&client("10.0.0.3"), start + SECOND).is_some());
}

#[test]
fn a_full_table_drops_those_that_would_end_soonest() {
    let (mut table, start) = (Affinities::new(4), Instant::now());
    for (turn, ip) in (1..).zip(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]) {
        table.remember(client(ip), endpoint("10.0.1.1"), HOUR * turn, start);
    }
    assert!(table.len() <= 4);
    assert!(table.recall(&client("10.0.0.1"), start).is_none());
    assert!(table.recall(&client("10.0.0.4"), start).is_some());
    assert!(table.recall(&client("10.0.0.5"), start).is_some());
}

#[test]
fn a_table_without_room_remembers_nothing() {
    let (mut table, start) = (Affinities::new(0), Instant::now());
    table.remember(client("10.0.0.1"), endpoint("10.0.1.1"), HOUR, start);
    assert!(table.is_empty());
}

fn client(ip: &str) -> AffinityKey {
    AffinityKey { client: ip.parse().unwrap(), service: key("shop", "cart"), port: 80 }
}

fn endpoint(ip: &str) -> Remembered {
    Remembered { target: EndpointTarget::Address(at(ip)), index: 0 }
}

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);
