//! A certificate is taken back while it is in use.

use std::io::Read;

use e2e::calls::{exchange, opened};
use e2e::pki::Pki;
use e2e::revocation::revocation_list;
use harness::{LabError, Mesh, MeshOptions, eventually, wait_for};
use serde_json::json;

use crate::scene::{LONG, echo, lasting, serial, shop};

#[test]
fn a_client_whose_certificate_is_revoked_is_cut_and_refused_and_others_are_not() -> Result<(), LabError> {
    let lists = tempfile::tempdir()?;
    let mesh = Mesh::with(&shop(), &reading(lists.path(), "node2"))?;
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let (_server, there) = echo(&server)?;
    let (mut live, mut others) = (opened(&client, there)?, opened(&near, there)?);
    std::fs::write(
        lists.path().join("crl.pem"),
        revocation_list(&mesh.ca().root_folder(), &[serial(&mesh, &client)?]),
    )?;

    assert!(!matches!(live.read(&mut [0]), Ok(1..)), "the connection of a revoked client ends");
    let node = mesh.daemon("node2");
    let cut = node.wait_record(|it| it.joins("client", "server") && it.error.is_some())?;
    assert!(cut.error.as_ref().is_some_and(|it| it.contains("revoked")), "{cut:?}");
    assert!(opened(&client, there).is_err(), "it gets no other one");
    exchange(&mut others)?;
    opened(&near, there)?;
    let rejected = [("reporter", "destination")];
    node.wait_metric("istio_crl_policy_rejections_total", &rejected, |count| count >= 2.0)?;
    node.wait_metric("ambient_connections_cut_total", &[("reason", "revoked")], |cut| cut >= 1.0)?;
    let revoked = [("reporter", "destination"), ("response_flags", "CERT_REVOKED")];
    node.wait_metric("istio_tcp_connections_failed_total", &revoked, |count| count >= 1.0)?;
    Ok(())
}

#[test]
fn a_server_whose_certificate_is_revoked_is_left_and_not_called_again() -> Result<(), LabError> {
    let lists = tempfile::tempdir()?;
    let mesh = Mesh::with(&shop(), &reading(lists.path(), "node1"))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let (_server, there) = echo(&server)?;
    let mut live = opened(&client, there)?;
    std::fs::write(
        lists.path().join("crl.pem"),
        revocation_list(&mesh.ca().root_folder(), &[serial(&mesh, &server)?]),
    )?;

    assert!(!matches!(live.read(&mut [0]), Ok(1..)), "the connection to a revoked server ends");
    assert!(opened(&client, there).is_err(), "it is not called again");
    let node = mesh.daemon("node1");
    let revoked = [("reporter", "source"), ("response_flags", "CERT_REVOKED")];
    node.wait_metric("istio_tcp_connections_failed_total", &revoked, |count| count >= 2.0)?;
    node.wait_metric("istio_crl_policy_rejections_total", &[("reporter", "source")], |count| count >= 2.0)?;

    // The list is taken back.
    std::fs::write(lists.path().join("crl.pem"), revocation_list(&mesh.ca().root_folder(), &[]))?;
    eventually("the server is called again", || Ok(opened(&client, there).ok()))?;
    Ok(())
}

#[test]
fn an_intermediate_takes_back_what_it_signed_and_when_it_is_revoked_all_of_it_goes() -> Result<(), LabError> {
    let (lists, pki) = (tempfile::tempdir()?, Pki::rsa());
    let (first, second) = (pki.intermediate("first"), pki.intermediate("second"));
    let mut options = reading(lists.path(), "node2");
    options.config = lasting(40).config;
    options.root = first.files(&pki.certificate());
    let mesh = Mesh::with(&shop(), &options)?;
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let (_server, there) = echo(&server)?;
    let file = lists.path().join("crl.pem");
    let node = mesh.daemon("node2");

    // The client's certificate, as long as it has that one.
    let (mut live, mut others) = (opened(&client, there)?, opened(&near, there)?);
    std::fs::write(&file, first.revocation_list(&[serial(&mesh, &client)?]))?;
    assert!(!matches!(live.read(&mut [0]), Ok(1..)), "the connection of a revoked client ends");
    exchange(&mut others)?;

    // Both lists are the file: the intermediate itself is named by the root.
    let all = [pki.revocation_list(&[first.serial()]), first.revocation_list(&[])].concat();
    std::fs::write(&file, all)?;
    assert!(!matches!(others.read(&mut [0]), Ok(1..)), "all that it signed is cut");
    let cut = node.wait_record(|it| it.joins("near", "server") && it.error.is_some())?;
    assert!(cut.error.as_ref().is_some_and(|it| it.contains("revoked")), "{cut:?}");
    for pod in [&client, &near] {
        assert!(opened(pod, there).is_err(), "none of it is accepted");
    }
    node.wait_metric("ambient_connections_cut_total", &[("reason", "revoked")], |cut| cut >= 2.0)?;

    for (name, text) in second.files(&pki.certificate()) {
        std::fs::write(mesh.ca().root_folder().join(name), text)?;
    }
    for pod in [&client, &near] {
        wait_for("what another intermediate signs is not accepted", LONG, || Ok(opened(pod, there).ok()))?;
    }
    Ok(())
}

/// Daemons of which one reads a revocation list.
fn reading(folder: &std::path::Path, node: &str) -> MeshOptions {
    let patch = json!({ "trust": { "crl": folder.join("crl.pem") } });
    MeshOptions { nodes: [(node.to_owned(), patch)].into(), ..MeshOptions::default() }
}
