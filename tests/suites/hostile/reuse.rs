//! An address that passes from one identity to the next.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use harness::{LabError, PATIENCE, Pod, PodSpec, Stack, serve};
use serde_json::json;

use crate::scene::{ECHO, Scene, cluster};

#[test]
fn an_address_that_is_used_again_never_gets_a_connection_that_was_for_another() -> Result<(), LabError> {
    let mut cluster = cluster(Stack::V4);
    // What comes is let in under an identity that was proved, or not at all.
    cluster.yaml(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {name: strict, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n",
    )?;
    // A dial that is lost while the address changes hands holds up those who wait for it.
    let scene = Scene::with(&cluster, json!({ "timeouts": { "connect": "300ms" } }))?;
    let client = scene.client();
    let (round, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let address = "10.244.2.200".parse().expect("an address");
    let to = SocketAddr::new(address, ECHO);
    let rounds = rounds();
    let mut slowest = Duration::ZERO;
    let heard = Mutex::new(Vec::new());
    let call = || {
        while !over.load(Ordering::SeqCst) {
            let answered = asked(&client, to, &round);
            lock(&heard).extend(answered);
        }
    };
    std::thread::scope(|scope| {
        let callers = [scope.spawn(call), scope.spawn(call)];
        let changed: Result<(), LabError> = (1..=rounds).try_for_each(|number| {
            let name = name(number);
            cluster.remove("Pod", "shop", &self::name(number - 1));
            cluster.pod(
                PodSpec::new("shop", &name)
                    .node("node2")
                    .addresses(&[address])
                    .uid(&format!("00000000-0000-4000-9000-{number:012}")),
            );
            round.store(number, Ordering::SeqCst);
            scene.mesh.update(&cluster)?;
            let began = Instant::now();
            let _served =
                scene.mesh.pod(&format!("shop/{name}")).serve(ECHO, serve::banner(format!("{name}\n")))?;
            loop {
                let answered = asked(&client, to, &round);
                let is_reached = answered.as_ref().is_some_and(|it| it.name == name);
                lock(&heard).extend(answered);
                if is_reached {
                    break;
                }
                if began.elapsed() > PATIENCE {
                    return Err(LabError::Timeout {
                        what: format!("{name} is not reached"),
                        waited: PATIENCE,
                    });
                }
            }
            slowest = slowest.max(began.elapsed());
            Ok(())
        });
        over.store(true, Ordering::SeqCst);
        callers.into_iter().for_each(|it| it.join().expect("a caller does not panic"));
        changed
    })?;
    let heard = heard.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{} answers of {rounds} pods; the slowest was reached after {slowest:?}", heard.len());
    for Heard { name, from, to } in &heard {
        assert!((*from..=*to).any(|number| *name == self::name(number)), "{name} in rounds {from} to {to}");
    }
    let served: BTreeSet<_> = heard.iter().map(|heard| &heard.name).collect();
    assert_eq!(served.len(), rounds, "each of them answered");
    assert!(heard.len() > rounds, "there was little traffic: {} answers", heard.len());
    check_records(&scene, &client)
}

/// That each connection reached the very identity that its record says it was for.
fn check_records(scene: &Scene, client: &Pod) -> Result<(), LabError> {
    let records = scene.mesh.daemon("node1").records()?;
    let reached = records.iter().filter(|it| it.source.ip() == client.ip() && it.bytes_received > 0);
    for record in reached {
        let identity = record
            .destination_workload
            .as_ref()
            .map(|name| format!("spiffe://cluster.local/ns/shop/sa/{name}"));
        assert_eq!(record.destination_identity, identity, "{record:?}");
    }
    Ok(())
}

/// Who answered, and between which rounds.
struct Heard {
    name: String,
    from: usize,
    to: usize,
}

/// Asks once, and notes between which rounds that was.
fn asked(client: &Pod, to: SocketAddr, round: &AtomicUsize) -> Option<Heard> {
    // The pod of the round before may still be there when its successor is announced.
    let from = round.load(Ordering::SeqCst).saturating_sub(1);
    let name = ask(client, to)?;
    Some(Heard { name, from, to: round.load(Ordering::SeqCst) })
}

fn lock(heard: &Mutex<Vec<Heard>>) -> MutexGuard<'_, Vec<Heard>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who answers at an address, if anybody.
fn ask(client: &Pod, to: SocketAddr) -> Option<String> {
    let mut stream = client.connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(300))).ok()?;
    stream.write_all(b"?").ok()?;
    let mut name = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() {
        match byte[0] {
            b'\n' => return String::from_utf8(name).ok(),
            other => name.push(other),
        }
    }
    None
}

fn name(number: usize) -> String {
    format!("tenant-{number}")
}

/// How many pods have the address one after the other. `HOSTILE_ROUNDS` asks for more than a run of every day has time for.
fn rounds() -> usize {
    std::env::var("HOSTILE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}
