//! The CA is away.

use std::thread;
use std::time::Duration;

use harness::{LabError, Mesh, MeshOptions, eventually};
use serde_json::{Value, json};

use crate::load::{Load, Tally};
use crate::scene::{certificate, echo, lasting, serial, serials, shop, wait_renewed};

#[test]
fn a_ca_that_is_away_for_longer_than_half_the_life_of_leaves_is_not_missed() -> Result<(), LabError> {
    let mut mesh = Mesh::with(&shop(), &lasting(40))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let ((_there, there), (_back, back)) = (echo(&server)?, echo(&client)?);
    let before = serials(&mesh, &[&client, &server])?;
    let load = Load::start(&[(&client, there), (&server, back)]);
    mesh.kill_ca()?;
    // Renewal begins between 20 and 24 seconds.
    thread::sleep(Duration::from_secs(26));
    for (pod, serial) in &before {
        let found = certificate(mesh.daemon(pod.node().name()), &pod.identity())?.expect("still valid");
        assert_eq!(found["serial"], json!(serial), "nobody signs another one");
    }
    let fetched = [("outcome", "fetched")];
    let mut counts = Vec::new();
    for daemon in mesh.daemons() {
        let scrape = daemon.scrape()?;
        let count = |of: &[_]| scrape.sum("ambient_certificate_fetches_total", of).unwrap_or_default();
        let failed = count(&[]) - count(&fetched);
        assert!(failed >= 1.0, "{failed} fetches are told to have failed");
        counts.push(count(&fetched));
    }
    mesh.restart_ca()?;
    wait_renewed(&mesh, &before)?;
    for (daemon, before) in mesh.daemons().iter().zip(counts) {
        daemon.wait_metric("ambient_certificate_fetches_total", &fetched, |count| count > before)?;
    }
    let Tally { opened, streamed } = load.finish();
    println!("{opened} connections, {streamed} bytes");
    assert!(opened > 200 && streamed > 1 << 20, "{opened} connections and {streamed} bytes are no load");
    Ok(())
}

#[test]
fn a_daemon_that_restarts_while_the_ca_is_away_serves_from_its_cache() -> Result<(), LabError> {
    let kept = tempfile::tempdir_in("/dev/shm")?;
    let mut mesh = Mesh::with(&shop(), &cached(kept.path()))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let (_server, there) = echo(&server)?;
    let before = serial(&mesh, &client)?;
    eventually("both nodes keep what they have", || {
        let files = ["node1", "node2"].map(|node| files(&kept.path().join(node)));
        Ok((files == [2, 1]).then_some(()))
    })?;
    mesh.kill_ca()?;
    for node in ["node1", "node2"] {
        mesh.daemon(node).kill()?;
        mesh.daemon(node).run()?;
    }
    mesh.wait_settled()?;
    assert_eq!(serial(&mesh, &client)?, before, "nobody signed another one");
    let load = Load::start(&[(&client, there)]);
    thread::sleep(Duration::from_secs(2));
    assert!(load.finish().opened > 20);
    Ok(())
}

#[test]
fn without_a_cache_such_a_daemon_has_nothing_to_serve_with() -> Result<(), LabError> {
    let mut mesh = Mesh::up(&shop())?;
    let client = mesh.pod("shop/client");
    serial(&mesh, &client)?;
    mesh.kill_ca()?;
    mesh.daemon("node1").kill()?;
    mesh.daemon("node1").run()?;
    mesh.wait_settled()?;
    let here = mesh.daemon("node1");
    assert!(certificate(here, &client.identity())?.is_none());
    here.wait_metric("ambient_certificate_fetches_total", &[("outcome", "unreachable")], |it| it >= 1.0)?;
    here.wait_metric("ambient_identities", &[("state", "failed")], |count| count >= 1.0)?;
    Ok(())
}

#[test]
fn a_certificate_is_there_before_anyone_asks_and_goes_with_the_last_pod_that_has_it() -> Result<(), LabError>
{
    let kept = tempfile::tempdir_in("/dev/shm")?;
    let mesh = Mesh::with(&shop(), &cached(kept.path()))?;
    let (client, near) = (mesh.pod("shop/client"), mesh.pod("shop/near"));
    for pod in [&client, &near] {
        serial(&mesh, pod)?;
    }
    let here = mesh.daemon("node1");
    mesh.delete("Pod", "shop", "near")?;
    eventually("the certificate of a pod that is gone is forgotten", || {
        let gone = certificate(here, &near.identity())?.is_none() && files(&kept.path().join("node1")) == 1;
        Ok(gone.then_some(()))
    })?;
    assert!(certificate(here, &client.identity())?.is_some());
    Ok(())
}

/// Daemons that keep their certificates, each in a folder of its node's name.
fn cached(folder: &std::path::Path) -> MeshOptions {
    let cache = |node: &str| -> (String, Value) {
        (node.to_owned(), json!({ "ca": { "cache": folder.join(node) } }))
    };
    MeshOptions { nodes: ["node1", "node2"].map(cache).into(), ..MeshOptions::default() }
}

fn files(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}
