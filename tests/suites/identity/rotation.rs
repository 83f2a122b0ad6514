//! Leaves, intermediates and roots follow one another while applications go on.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use e2e::pki::{Pki, Signing};
use harness::{Daemon, LabError, Mesh, MeshOptions, Pod};
use serde_json::json;

use crate::load::{Load, Tally};
use crate::scene::{LONG, echo, lasting, serials, shop, trusted, wait_renewed, wait_trusted};

#[test]
fn leaves_are_renewed_under_load_and_no_connection_fails() -> Result<(), LabError> {
    under_load(&Mesh::with(&shop(), &restless(10))?, |busy| (0..3).try_for_each(|_| busy.renewed()))
}

#[test]
fn an_intermediate_follows_another_under_load_and_no_connection_fails() -> Result<(), LabError> {
    let pki = Pki::rsa();
    let first = pki.intermediate_until("first", 2090);
    let second = pki.rsa_intermediate_until("second", 2100);
    let mut options = restless(10);
    options.root = first.files(&pki.certificate());
    under_load(&Mesh::with(&shop(), &options)?, |busy| {
        for (next, ends) in [(&second, 4_102_444_800), (&first, 3_786_912_000)] {
            bring(busy.mesh, next, &pki.certificate())?;
            signed_by(busy.mesh, next)?;
            wait_chain_ends(busy.mesh, ends)?;
            busy.tunnelled()?;
            busy.renewed()?;
        }
        Ok(())
    })
}

#[test]
fn a_root_follows_another_under_load_and_no_connection_fails() -> Result<(), LabError> {
    let (old, new) = (Pki::p384(), Pki::p384());
    let (first, second) = (old.intermediate("old"), new.intermediate("new"));
    let both = [old.certificate(), new.certificate()].concat();
    let mut options = restless(20);
    options.root = first.files(&old.certificate());
    under_load(&Mesh::with(&shop(), &options)?, |busy| {
        let mesh = busy.mesh;
        // Both are trusted everywhere before the new one signs anything.
        write(&mesh.ca().root_folder().join("root-cert.pem"), &both)?;
        wait_trusted(mesh, 2)?;
        busy.tunnelled()?;
        bring(mesh, &second, &both)?;
        signed_by(mesh, &second)?;
        busy.tunnelled()?;
        busy.renewed()?;
        // Nobody has a leaf of the old one any more: it goes.
        write(&mesh.ca().root_folder().join("root-cert.pem"), &new.certificate())?;
        wait_trusted(mesh, 1)?;
        busy.tunnelled()?;
        busy.renewed()
    })
}

#[test]
fn a_root_is_rotated_by_the_command_in_steps_that_come_when_they_may() -> Result<(), LabError> {
    let mut options = restless(20);
    options.ca = json!({ "leaf": { "ttl": "20s", "maxTtl": "20s" } });
    under_load(&Mesh::with(&shop(), &options)?, |busy| {
        let mesh = busy.mesh;
        assert!(refused(mesh, &["switch"])?.contains("add comes first"));
        let added = mesh.ca().rotate(&["add"])?;
        assert!(added.contains("next: `ztunnel ca rotate switch`, in 10m at the earliest"), "{added}");
        assert!(refused(mesh, &["switch"])?.contains("it is too early: come again in "));

        let sockets: Vec<_> =
            mesh.daemons().iter().map(|it| it.admin_socket().display().to_string()).collect();
        let of_daemons = sockets.iter().flat_map(|socket| ["--daemon", socket]);
        let switch: Vec<_> = ["switch", "--settle", "0s"].into_iter().chain(of_daemons).collect();
        rotated_once_all_follow(mesh, &switch)?;
        for daemon in mesh.daemons() {
            assert_eq!(trusted(daemon)?.len(), 2, "it signs before all trust it");
        }
        busy.tunnelled()?;
        let retire = ["retire", "--settle", "0s"];
        let early = refused(mesh, &retire)?;
        assert!(early.contains("it is too early: come again in "), "leaves of the old root live: {early}");
        busy.renewed()?;
        rotated_once_all_follow(mesh, &retire)?;
        wait_trusted(mesh, 1)?;
        busy.tunnelled()?;
        busy.renewed()
    })
}

/// Waits until the CA's metrics say that its chain ends then.
fn wait_chain_ends(mesh: &Mesh, seconds: u64) -> Result<(), LabError> {
    let line = format!("citadel_server_root_cert_expiry_timestamp {seconds}");
    harness::eventually("metrics do not say when the chain ends", || {
        let metrics = mesh.ca().get("/metrics")?.body;
        Ok(metrics.lines().any(|it| it == line).then_some(()))
    })
}

/// Why a step is refused.
fn refused(mesh: &Mesh, words: &[&str]) -> Result<String, LabError> {
    match mesh.ca().rotate(words) {
        Err(LabError::Program { output, .. }) => Ok(output),
        Err(error) => Err(error),
        Ok(said) => panic!("{words:?} was done: {said}"),
    }
}

/// Does a step as soon as it is not refused any more.
fn rotated_once_all_follow(mesh: &Mesh, words: &[&str]) -> Result<(), LabError> {
    harness::wait_for("the step is not done", LONG, || match mesh.ca().rotate(words) {
        Ok(_) => Ok(Some(())),
        Err(LabError::Program { output, .. })
            if output.contains("not yet everywhere") || output.contains("too early") =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    })
}

/// What the test of two roots would look like if it could not fail: the same load, without the overlap.
#[test]
fn a_root_that_replaces_another_without_an_overlap_fails_connections() -> Result<(), LabError> {
    let roots = [Pki::p384(), Pki::p384()];
    let signing = [roots[0].intermediate("old"), roots[1].intermediate("new")];
    let mut options = lasting(20);
    options.root = signing[0].files(&roots[0].certificate());
    let mesh = Mesh::with(&shop(), &options)?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let ((_there, there), (_back, back)) = (echo(&server)?, echo(&client)?);
    let load = Load::start(&[(&client, there), (&server, back)]);
    // Two nodes may happen to follow at the same moment, but not time and again.
    for at in [1, 0, 1, 0] {
        let before = serials(&mesh, &[&client, &server])?;
        bring(&mesh, &signing[at], &roots[at].certificate())?;
        signed_by(&mesh, &signing[at])?;
        wait_renewed(&mesh, &before)?;
        if load.has_failed() {
            println!("a connection failed");
            load.abandon();
            return Ok(());
        }
    }
    load.abandon();
    panic!("no connection failed, though no root was trusted on both nodes")
}

/// A mesh in which applications are busy between client and server, both ways, and others rest.
struct Busy<'m> {
    mesh: &'m Mesh,
    pods: [Pod; 2],
    /// Who may call whom, and has not done so lately.
    resting: [(Pod, SocketAddr); 2],
}

/// What a daemon says of its tunnels and certificates.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Told {
    called: f64,
    taken: f64,
    failed: f64,
    unfetched: f64,
}

/// Keeps applications busy meanwhile: no connection of theirs fails, and no handshake.
fn under_load(
    mesh: &Mesh,
    meanwhile: impl FnOnce(&Busy<'_>) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let [client, near, server] = ["shop/client", "shop/near", "shop/server"].map(|pod| mesh.pod(pod));
    let ((_there, there), (_back, back), (_aside, aside)) = (echo(&server)?, echo(&client)?, echo(&near)?);
    let resting = [(near, there), (server.clone(), aside)];
    let busy = Busy { mesh, pods: [client.clone(), server.clone()], resting };
    // They have their certificates, so that nothing waits for one any more.
    busy.held()?;
    let before = busy.told()?;
    let load = Load::start(&[(&client, there), (&server, back)]);
    let happened = meanwhile(&busy);
    let Tally { opened, streamed } = load.finish();
    happened?;
    let after = busy.told()?;
    println!("{opened} connections, {streamed} bytes, {before:?} then {after:?}");
    assert!(opened > 200 && streamed > 1 << 20, "{opened} connections and {streamed} bytes are no load");
    for (before, after) in before.iter().zip(&after) {
        let sound = (after.failed, after.unfetched) == (before.failed, before.unfetched);
        assert!(sound, "a handshake failed, or a certificate was not fetched: {before:?}, {after:?}");
    }
    Ok(())
}

impl Busy<'_> {
    /// The certificates that client and server have.
    fn held(&self) -> Result<Vec<(Pod, String)>, LabError> {
        serials(self.mesh, &self.pods.each_ref())
    }

    /// Waits until client and server have other certificates, and tunnels under them.
    fn renewed(&self) -> Result<(), LabError> {
        wait_renewed(self.mesh, &self.held()?)?;
        self.tunnelled()
    }

    /// Waits until each node has called the other in a tunnel that is made now. Pods that rest have none, or one that is
    /// about to end, and with the next renewal all are made anew.
    fn tunnelled(&self) -> Result<(), LabError> {
        let before = self.told()?;
        harness::wait_for("no tunnel is made", LONG, || {
            for (pod, to) in &self.resting {
                e2e::calls::opened(pod, *to)?;
            }
            let after = self.told()?;
            let grew = before.iter().zip(&after).all(|(a, b)| a.called < b.called && a.taken < b.taken);
            Ok(grew.then_some(()))
        })
    }

    fn told(&self) -> Result<Vec<Told>, LabError> {
        self.mesh.daemons().iter().map(told).collect()
    }
}

fn told(daemon: &Daemon) -> Result<Told, LabError> {
    let scrape = daemon.scrape()?;
    let made = |direction| {
        let of = [("direction", direction)];
        scrape.sum("ambient_tunnel_handshake_duration_seconds_count", &of).unwrap_or_default()
    };
    let fetches = |outcome: &[_]| scrape.sum("ambient_certificate_fetches_total", outcome);
    let failed =
        scrape.sum("ambient_tunnel_handshake_failures_total", &[]).expect("it is told from the start");
    let (all, fetched) = (fetches(&[]), fetches(&[("outcome", "fetched")]));
    let unfetched =
        all.zip(fetched).map(|(all, fetched)| all - fetched).expect("they are told from the start");
    Ok(Told { called: made("outbound"), taken: made("inbound"), failed, unfetched })
}

/// Daemons whose certificates last for so many seconds, and tunnels without connections for one.
fn restless(seconds: u32) -> MeshOptions {
    let mut options = lasting(seconds);
    options.config["timeouts"] = json!({ "idleTunnel": "1s" });
    options
}

/// Puts another signing certificate into the CA's folder, file by file as an operator does.
fn bring(mesh: &Mesh, signing: &Signing, roots: &str) -> Result<(), LabError> {
    let folder = mesh.ca().root_folder();
    signing.files(roots).iter().try_for_each(|(name, text)| write(&folder.join(name), text))
}

/// Waits until the CA signs with that certificate.
fn signed_by(mesh: &Mesh, signing: &Signing) -> Result<bool, LabError> {
    let serial = json!(signing.serial());
    harness::eventually("the CA does not take its new certificate", || {
        let ca = mesh.ca().get("/config_dump/ca")?.json()?;
        Ok((ca["chain"][0]["serial"] == serial).then_some(true))
    })
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(LabError::from)
}
