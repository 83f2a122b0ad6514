//! Pods that somebody hands over at the enrolment socket, by the command line.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;

use e2e::calls::{cut_soon, exchange, inbound, opened, outbound, shop};
use harness::{Lab, LabError, Mesh, MeshOptions, Pod, PodSpec, Stack, eventually, serve};
use nix::mount::{MntFlags, umount2};

use crate::enrolment::traces;
use crate::state_folder::dataplane_mode;

/// Where servers serve.
const PORT: u16 = 8080;

#[test]
fn a_pod_that_nobody_finds_is_captured_when_it_is_handed_over_and_let_go_of_on_request()
-> Result<(), LabError> {
    [Stack::Dual, Stack::V6].into_iter().try_for_each(handed_over)
}

fn handed_over(stack: Stack) -> Result<(), LabError> {
    let mesh = with_one_out_of_sight(stack)?;
    let (late, server, daemon) = (mesh.pod("shop/late"), mesh.pod("shop/server"), mesh.daemon("node1"));
    let _servers = [&late, &server].map(|pod| pod.serve(PORT, serve::echo()));
    let before = traces(&late)?;
    let told = eventually("it is wanted, and not found", || {
        Ok(daemon.phase(&late)?.filter(|it| it.phase == "failed").and_then(|it| it.problem))
    })?;
    assert!(told.contains("no namespace with the pod's addresses is mounted"), "{told}");

    assert_eq!(add(&mesh, &late)?, "captured\n");
    assert_ne!(traces(&late)?, before, "it is captured when the answer comes");
    let live = tunnelled_both_ways(&mesh, &late, &server)?;
    // Who waits is told when the last connection has ended, and not before; who does not, that there are some.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| daemon.enrol(&["remove", late.uid(), "--wait"]));
        eventually("it drains", || Ok(daemon.phase(&late)?.filter(|it| it.phase == "draining").map(drop)))?;
        let live = goes_on_past_the_mesh(&mesh, &late, &server, live)?;
        assert_eq!(daemon.enrol(&["remove", late.uid()])?, "draining\n");
        assert!(!waiting.is_finished(), "connections are open");
        drop(live);
        assert_eq!(waiting.join().expect("the caller does not panic")?, "released\n");
        Ok::<_, LabError>(())
    })?;
    assert!(daemon.phase(&late)?.is_none(), "although the mesh wants it");
    assert_eq!(traces(&late)?, before);

    assert_eq!(add(&mesh, &late)?, "captured\n");
    let mut live = tunnelled_both_ways(&mesh, &late, &server)?;
    assert_eq!(daemon.enrol(&["remove", late.uid(), "--now"])?, "released\n");
    assert_eq!(traces(&late)?, before);
    let (own, others) = live.split_at_mut(server.ips().len());
    others.iter_mut().try_for_each(cut_soon)?;
    // Nothing is left in the pod that could tell its own side, which hears of it when it says something.
    for stream in own {
        assert_eq!(exchange(stream).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    }
    let gone = daemon.enrol(&["remove", late.uid()]).expect_err("it is gone").to_string();
    assert!(gone.contains(&format!("pod {} is not enrolled", late.uid())), "{gone}");
    Ok(())
}

/// A mesh that wants a pod, whose namespace is mounted where the daemon does not look.
fn with_one_out_of_sight(stack: Stack) -> Result<Mesh, LabError> {
    let mut cluster = shop(stack);
    cluster.pod(PodSpec::new("shop", "late").node("node1").label("istio.io/dataplane-mode", "none"));
    let lab = Lab::up(&cluster)?;
    let late = lab.pod("shop/late");
    umount2(late.mounted(), MntFlags::MNT_DETACH).map_err(std::io::Error::from)?;
    fs::remove_file(late.mounted())?;
    let mesh = Mesh::on(lab, &MeshOptions::default())?;
    mesh.patch("Pod", "shop", "late", &dataplane_mode("ambient"))?;
    Ok(mesh)
}

/// As a CNI plugin's call would be made by hand.
fn add(mesh: &Mesh, pod: &Pod) -> Result<String, LabError> {
    let (path, ips) = (pod.netns().path().display().to_string(), pod.ips().iter().map(ToString::to_string));
    let mut words = ["add", pod.uid(), "--name", pod.name(), "--namespace", pod.namespace()].to_vec();
    words.extend(["--service-account", pod.account(), "--netns", &path]);
    let ips: Vec<_> = ips.collect();
    words.extend(ips.iter().flat_map(|ip| ["--address", ip.as_str()]));
    mesh.daemon(pod.node().name()).enrol(&words)
}

/// Connections between two captured pods on two nodes, by tunnel in both directions and under their identities; open.
fn tunnelled_both_ways(mesh: &Mesh, one: &Pod, other: &Pod) -> Result<Vec<TcpStream>, LabError> {
    mesh.wait_settled()?;
    let mut live = Vec::new();
    for (from, to) in [(one, other), (other, one)] {
        for ip in to.ips() {
            let local = opened(from, (*ip, PORT).into())?.local_addr()?;
            let record = outbound(mesh.daemon(from.node().name()), local)?;
            assert_eq!((record.path.as_str(), record.error), ("hbone", None));
            assert_eq!(record.destination_identity, Some(to.identity()));
            live.push(opened(from, (*ip, PORT).into())?);
        }
        let record = inbound(mesh.daemon(to.node().name()), from, to)?;
        assert_eq!((record.path.as_str(), record.source_identity), ("hbone", Some(from.identity())));
    }
    Ok(live)
}

/// That the connections of a pod that drains go on, and that its new ones are none of the mesh's; hands out those that are
/// open.
fn goes_on_past_the_mesh(
    mesh: &Mesh,
    pod: &Pod,
    other: &Pod,
    mut live: Vec<TcpStream>,
) -> Result<Vec<TcpStream>, LabError> {
    live.iter_mut().try_for_each(exchange)?;
    let local = opened(pod, other.at(PORT))?.local_addr()?;
    inbound_in_plaintext(mesh, other, local)?;
    let own = mesh.daemon(pod.node().name()).records()?;
    assert!(own.iter().all(|it| it.source != local), "what is new is captured");
    eventually("who calls it knows", || {
        let local = opened(other, pod.at(PORT))?.local_addr()?;
        Ok((outbound(mesh.daemon(other.node().name()), local)?.path == "direct").then_some(()))
    })?;
    live.iter_mut().try_for_each(exchange)?;
    Ok(live)
}

fn inbound_in_plaintext(mesh: &Mesh, to: &Pod, client: std::net::SocketAddr) -> Result<(), LabError> {
    let daemon = mesh.daemon(to.node().name());
    let record = daemon.wait_record(|it| it.direction == "inbound" && it.source == client)?;
    assert_eq!((record.path.as_str(), record.source_identity), ("passthrough", None));
    Ok(())
}
