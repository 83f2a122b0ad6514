//! What becomes of a pod when the proxy that runs inside of it ends, or when the mesh is to have it no longer.

use std::io::ErrorKind;

use e2e::calls::{exchange, opened, until_refused, until_served};
use harness::{Lab, LabError, Marker, Mesh, PATIENCE, Pod, Stack, eventually, serve};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::dedicated::{PORT, cluster, daemon_of, options, spoken, with_own_proxies};
use crate::enrolment::traces;
use crate::state_folder::dataplane_mode;

#[test]
fn a_pods_own_proxy_that_is_told_to_end_drains_and_leaves_the_pod_shut() -> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(told_to_end)
}

fn told_to_end(stack: Stack) -> Result<(), LabError> {
    let mesh = with_own_proxies(stack, &["shop/client"], json!({}))?;
    let (client, server, printer) =
        (mesh.pod("shop/client"), mesh.pod("shop/server"), mesh.pod("legacy/printer"));
    let _servers = [&server, &printer].map(|pod| pod.serve(PORT, serve::echo()));
    let serving = client.serve(PORT, serve::echo())?;
    let daemon = daemon_of(&mesh, &client);
    let rules = client.sh("nft list ruleset")?;
    let mut live = vec![opened(&client, server.at(PORT))?, opened(&server, client.at(PORT))?];
    let (marker, capture) = (Marker::random()?, mesh.capture()?);
    let shut = || {
        [&server, &printer].into_iter().for_each(|to| assert!(spoken(&client, to, &marker).is_err()));
        assert!(spoken(&server, &client, &marker).is_err());
        assert!(opened(&printer, client.at(PORT)).is_err());
    };

    daemon.signal(Signal::SIGTERM)?;
    until_refused("what is new is refused", &client, server.at(PORT))?;
    shut();
    live.iter_mut().try_for_each(exchange)?;
    drop(live);
    assert!(daemon.wait_end(PATIENCE)?.is_some_and(|status| status.success()));
    drop(serving);
    let instead = client.listen(PORT)?;
    instead.set_nonblocking(true)?;
    shut();
    assert_eq!(
        client.sh("nft list ruleset")?,
        rules,
        "the application may run on: the kubelet ends proxies alone"
    );
    let heard = instead.accept().map_err(|error| error.kind());
    assert!(matches!(heard, Err(ErrorKind::WouldBlock)), "the application heard {heard:?}");
    drop(instead);
    assert_eq!(capture.stop(&mesh)?.holding(marker.as_bytes()), 0);
    assert!(known_as(&mesh, &client, "Enabled")?, "others go on to speak to it by tunnel only");

    let _serving = client.serve(PORT, serve::echo())?;
    daemon.run()?;
    mesh.wait_settled()?;
    until_served("the next proxy takes it up", &client, server.at(PORT))?;
    until_served("in both directions", &server, client.at(PORT))
}

#[test]
fn a_pod_that_is_deleted_or_leaves_the_mesh_is_drained_and_left_as_it_was() -> Result<(), LabError> {
    let deleted = json!({ "metadata": { "deletionTimestamp": "2030-01-01T00:00:00Z" } });
    let leaves = dataplane_mode("none");
    for (stack, patch, first) in [
        (Stack::Dual, &deleted, Ending::Told),
        (Stack::V6, &deleted, Ending::Signal),
        (Stack::V6, &leaves, Ending::Told),
        (Stack::Dual, &leaves, Ending::Signal),
    ] {
        drained(stack, patch, first)?;
    }
    Ok(())
}

/// What comes first: the mesh's word, or SIGTERM.
#[derive(Clone, Copy, PartialEq)]
enum Ending {
    Signal,
    Told,
}

fn drained(stack: Stack, patch: &Value, first: Ending) -> Result<(), LabError> {
    let lab = Lab::up(&cluster(stack, &["shop/client"]))?;
    let (client, server) = (lab.pod("shop/client"), lab.pod("shop/server"));
    let _servers = [&client, &server].map(|pod| pod.serve(PORT, serve::echo()));
    let before = traces(&client)?;
    let mesh = Mesh::on(lab, &options(&["shop/client"], json!({})))?;
    let daemon = daemon_of(&mesh, &client);
    assert!(traces(&client)?.iter().zip(&before).all(|(now, then)| now != then), "all of it is looked at");
    let mut live = vec![opened(&client, server.at(PORT))?, opened(&server, client.at(PORT))?];
    let tell = || mesh.patch("Pod", "shop", "client", patch).map(drop);
    match first {
        Ending::Told => tell().and_then(|()| daemon.signal(Signal::SIGTERM))?,
        Ending::Signal => {
            daemon.signal(Signal::SIGTERM)?;
            until_refused("it is shut while it is to be captured", &client, server.at(PORT))?;
            tell()?;
        }
    }
    until_served("what is new passes by", &client, server.at(PORT))?;
    live.iter_mut().try_for_each(exchange)?;
    assert!(client.sh("nft list ruleset")?.contains("ambient_mesh"), "proxied connections need their rules");
    drop(live);
    assert!(daemon.wait_end(PATIENCE)?.is_some_and(|status| status.success()));
    assert_eq!(traces(&client)?, before);
    let reports = std::fs::read_dir(mesh.folder().join("status"))?;
    let names: Vec<_> = reports.map(|it| Ok(it?.file_name())).collect::<Result<_, LabError>>()?;
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("pod_")), "{names:?}");
    until_served("it is a pod like any other", &server, client.at(PORT))
}

#[test]
fn a_pod_that_left_the_mesh_while_its_proxy_was_dead_is_opened_by_the_next_one() -> Result<(), LabError> {
    for stack in [Stack::V4, Stack::V6] {
        let mesh = with_own_proxies(stack, &["shop/client"], json!({}))?;
        let (client, printer) = (mesh.pod("shop/client"), mesh.pod("legacy/printer"));
        let _echo = printer.serve(PORT, serve::echo())?;
        let daemon = daemon_of(&mesh, &client);
        daemon.kill()?;
        until_refused("it is shut", &client, printer.at(PORT))?;
        mesh.patch("Pod", "shop", "client", &dataplane_mode("none"))?;
        daemon.run()?;
        until_served("nobody captures it", &client, printer.at(PORT))?;
        eventually("nothing is left in it", || {
            Ok((!client.sh("nft list ruleset")?.contains("ambient_mesh")).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn a_pods_own_proxy_lets_go_of_it_by_no_word_about_another() -> Result<(), LabError> {
    for stack in [Stack::V4, Stack::V6] {
        let mesh = with_own_proxies(stack, &["shop/client"], json!({}))?;
        let client = mesh.pod("shop/client");
        let daemon = daemon_of(&mesh, &client);
        let rules = client.sh("nft list ruleset")?;
        // A namesake in its place, which is not in the mesh.
        let namesake = json!({ "metadata": {
            "uid": "another-one", "labels": { "istio.io/dataplane-mode": "none" },
        } });
        mesh.patch("Pod", "shop", "client", &namesake)?;
        let heard_of = |what: &str| {
            eventually("the daemon has heard of it", || {
                Ok(daemon.get("/config_dump/workloads")?.body.contains(what).then_some(()))
            })
        };
        heard_of("another-one")?;
        // What comes after it was read after it had been acted on.
        mesh.patch("Pod", "shop", "client", &json!({ "metadata": { "uid": "a-third-one" } }))?;
        heard_of("a-third-one")?;
        assert_eq!(daemon.phase(&client)?.map(|it| it.phase).as_deref(), Some("captured"));
        assert_eq!(client.sh("nft list ruleset")?, rules);
    }
    Ok(())
}

/// Whether the other node knows of a pod's capture what it says.
fn known_as(mesh: &Mesh, pod: &Pod, capture: &str) -> Result<bool, LabError> {
    let known = mesh.daemon("node2").get("/config_dump/workloads")?.json()?;
    let is_it = |it: &Value| it["pod_uid"] == pod.uid() && it["capture"] == capture;
    Ok(known.as_array().into_iter().flatten().any(is_it))
}
