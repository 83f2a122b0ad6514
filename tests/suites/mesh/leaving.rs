//! Pods that leave the mesh and come back, and pods that end, while they are talked to.

use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::calls::{exchange, opened, outbound, shop, until_served};
use harness::{LabError, Mesh, MeshOptions, PodSpec, Stack, eventually, serve};
use serde_json::json;

use crate::state_folder::dataplane_mode;

/// Where servers serve.
const PORT: u16 = 8080;

#[test]
fn leaving_and_joining_over_and_over_breaks_no_connection() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(toggled)
}

fn toggled(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, server, near) = (mesh.pod("shop/client"), mesh.pod("shop/server"), mesh.pod("shop/near"));
    let _servers = [&client, &server, &near].map(|pod| pod.serve(PORT, serve::echo()));
    let over = AtomicBool::new(false);
    let stable = std::thread::scope(|scope| {
        // Opened in turns while the pod is captured and while it is not, and kept.
        let talking = scope.spawn(|| {
            let mut live = Vec::new();
            while !over.load(Ordering::Relaxed) {
                for (from, to) in [(&client, &server), (&client, &near), (&server, &client)] {
                    live.push(opened(from, to.at(PORT))?);
                }
                for stream in &mut live {
                    exchange(stream)?;
                }
                std::thread::sleep(Duration::from_millis(30));
            }
            live.iter_mut().try_for_each(exchange)?;
            Ok::<_, std::io::Error>(live.len())
        });
        let toggled = (0..6).try_for_each(|round| {
            let mode = if round % 2 == 0 { "none" } else { "ambient" };
            mesh.patch("Pod", "shop", "client", &dataplane_mode(mode))?;
            let phase = if round % 2 == 0 { "draining" } else { "captured" };
            eventually(phase, || {
                Ok(mesh.daemon("node1").phase(&client)?.filter(|it| it.phase == phase).map(drop))
            })?;
            std::thread::sleep(Duration::from_millis(200));
            Ok::<_, LabError>(())
        });
        over.store(true, Ordering::Relaxed);
        toggled.map(|()| talking.join().expect("the callers do not panic"))
    })?;
    assert!(stable? > 20);
    let local = opened(&client, server.at(PORT))?.local_addr()?;
    assert_eq!(outbound(mesh.daemon("node1"), local)?.path, "hbone");
    Ok(())
}

#[test]
fn a_pod_that_is_gone_is_not_waited_for() -> Result<(), LabError> {
    for (node, stack) in [("node2", Stack::V4), ("node1", Stack::V6)] {
        let mut cluster = shop(stack);
        cluster.pod(PodSpec::new("shop", "brief").node(node));
        let mesh = Mesh::up(&cluster)?;
        let (client, brief) = (mesh.pod("shop/client"), mesh.pod("shop/brief"));
        let _held = brief.serve(PORT, serve::echo())?;
        let mut live = opened(&client, brief.at(PORT))?;
        cluster.remove("Pod", "shop", "brief");
        mesh.update(&cluster)?;
        let gone = Instant::now();
        let end = live.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?} from {node}");
        // Nothing is left of the pod that could say good-bye: direct TCP would wait for a quarter of an hour.
        assert!(gone.elapsed() < Duration::from_secs(5), "it took {:?} on {node}", gone.elapsed());
    }
    Ok(())
}

#[test]
fn a_pod_that_terminates_keeps_its_connections_and_what_is_new_goes_in_new_tunnels() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(terminates)
}

fn terminates(stack: Stack) -> Result<(), LabError> {
    let config = json!({ "workers": 1 });
    let mesh = Mesh::with(&shop(stack), &MeshOptions { config, ..MeshOptions::default() })?;
    let (client, server, near) = (mesh.pod("shop/client"), mesh.pod("shop/server"), mesh.pod("shop/near"));
    let _servers = [&server, &near].map(|pod| pod.serve(PORT, serve::echo()));
    let mut live = vec![opened(&client, server.at(PORT))?, opened(&client, near.at(PORT))?];
    live.push(opened(&client, server.at(PORT))?);
    let tunnels = |wanted: f64| {
        mesh.daemons().iter().try_for_each(|daemon| {
            daemon.wait_metric("ambient_tunnels_open", &[], |count| count == wanted).map(drop)
        })
    };
    tunnels(1.0)?;
    let ending = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    for name in ["server", "near"] {
        mesh.patch("Pod", "shop", name, &ending)?;
    }
    let known = |daemon: &harness::Daemon| {
        let dump = daemon.get("/config_dump/workloads")?.json()?;
        let all = dump.as_array().into_iter().flatten();
        Ok::<_, LabError>(all.filter(|it| it["terminating"] == true).count() == 2)
    };
    for daemon in mesh.daemons() {
        eventually("the pods are known to end", || Ok(known(daemon)?.then_some(())))?;
    }
    live.iter_mut().try_for_each(exchange)?;
    // Who still has its address is served: what ends has not ended yet.
    for target in [&server, &near] {
        until_served("it is called by its address", &client, target.at(PORT))?;
        live.push(opened(&client, target.at(PORT))?);
    }
    tunnels(2.0)?;
    live.iter_mut().try_for_each(exchange)?;
    live.truncate(2);
    live.iter_mut().try_for_each(exchange)?;
    drop(live);
    // The one that was left ends with its last connection; the other waits for more.
    tunnels(1.0)
}
