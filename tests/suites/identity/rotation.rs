//! Leaves, intermediates and roots follow one another while applications go on.

use std::fs;
use std::path::Path;

use harness::{LabError, Mesh, Pod};
use serde_json::json;

use crate::load::{Load, Tally};
use crate::pki::{Pki, Signing};
use crate::scene::{LONG, echo, lasting, serials, shop, trusted, wait_renewed, wait_trusted};

#[test]
fn leaves_are_renewed_under_load_and_no_connection_fails() -> Result<(), LabError> {
    under_load(&Mesh::with(&shop(), &lasting(10))?, |mesh, pods| {
        for _ in 0..3 {
            let before = serials(mesh, pods)?;
            wait_renewed(mesh, &before)?;
        }
        Ok(())
    })
}

#[test]
fn an_intermediate_follows_another_under_load_and_no_connection_fails() -> Result<(), LabError> {
    let pki = Pki::rsa();
    let first = pki.intermediate_until("first", 2090);
    let second = pki.intermediate_until("second", 2100);
    let mut options = lasting(10);
    options.root = first.files(&pki.certificate());
    under_load(&Mesh::with(&shop(), &options)?, |mesh, pods| {
        for (next, ends) in [(&second, 4_102_444_800), (&first, 3_786_912_000)] {
            bring(mesh, next, &pki.certificate())?;
            let log = signed_by(mesh, next)?;
            wait_chain_ends(mesh, ends)?;
            let before = serials(mesh, pods)?;
            wait_renewed(mesh, &before)?;
            assert!(log, "the CA signs with the other intermediate");
        }
        Ok(())
    })
}

#[test]
fn a_root_follows_another_under_load_and_no_connection_fails() -> Result<(), LabError> {
    let (old, new) = (Pki::p384(), Pki::p384());
    let (first, second) = (old.intermediate("old"), new.intermediate("new"));
    let both = [old.certificate(), new.certificate()].concat();
    let mut options = lasting(20);
    options.root = first.files(&old.certificate());
    under_load(&Mesh::with(&shop(), &options)?, |mesh, pods| {
        // Both are trusted everywhere before the new one signs anything.
        write(&mesh.ca().root_folder().join("root-cert.pem"), &both)?;
        wait_trusted(mesh, 2)?;
        bring(mesh, &second, &both)?;
        signed_by(mesh, &second)?;
        wait_renewed(mesh, &serials(mesh, pods)?)?;
        // Nobody has a leaf of the old one any more: it goes.
        write(&mesh.ca().root_folder().join("root-cert.pem"), &new.certificate())?;
        wait_trusted(mesh, 1)?;
        wait_renewed(mesh, &serials(mesh, pods)?)
    })
}

#[test]
fn a_root_is_rotated_by_the_command_in_steps_that_come_when_they_may() -> Result<(), LabError> {
    let mut options = lasting(20);
    options.ca = json!({ "leaf": { "ttl": "20s", "maxTtl": "20s" } });
    under_load(&Mesh::with(&shop(), &options)?, |mesh, pods| {
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
        let retire = ["retire", "--settle", "0s"];
        let early = refused(mesh, &retire)?;
        assert!(early.contains("it is too early: come again in "), "leaves of the old root live: {early}");
        wait_renewed(mesh, &serials(mesh, pods)?)?;
        rotated_once_all_follow(mesh, &retire)?;
        wait_trusted(mesh, 1)?;
        wait_renewed(mesh, &serials(mesh, pods)?)
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

/// Keeps applications busy from the client to the server and back, meanwhile.
fn under_load(
    mesh: &Mesh,
    meanwhile: impl FnOnce(&Mesh, &[&Pod]) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let ((_there, there), (_back, back)) = (echo(&server)?, echo(&client)?);
    let load = Load::start(&[(&client, there), (&server, back)]);
    let happened = meanwhile(mesh, &[&client, &server]);
    let Tally { opened, streamed } = load.finish();
    happened?;
    println!("{opened} connections, {streamed} bytes");
    assert!(opened > 200 && streamed > 1 << 20, "{opened} connections and {streamed} bytes are no load");
    Ok(())
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
