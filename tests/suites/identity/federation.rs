//! Meshes with CAs of their own, which believe each other.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use e2e::calls::{cut_soon, opened};
use e2e::revocation::revocation_list;
use harness::{Lab, LabError, Mesh, MeshOptions, Pod, eventually};
use serde_json::{Value, json};

use crate::partner::{OURS, Partner, THEIRS, without_pods};
use crate::scene::{certificate, echo, shop};

#[test]
fn a_partner_is_spoken_to_under_its_names_and_policies_decide_by_them() -> Result<(), LabError> {
    let (pair, _partner) = Pair::up()?;
    let (client, near, server) = pair.pods();
    let ((_there, there), (_back, back)) = (echo(&server)?, echo(&client)?);
    let named = entry(&pair.ours, "named", "192.0.2.10", there, Some(&id(THEIRS, "server")))?;
    eventually("the partner's workload is called", || Ok(opened(&client, named).ok()))?;
    let node = pair.mesh.daemon("node1");
    let record = node.wait_record(|it| it.destination_identity == Some(id(THEIRS, "server")))?;
    assert_eq!((record.source_identity, &*record.path), (Some(id(OURS, "client")), "hbone"));
    let record = pair.mesh.daemon("node2").wait_record(|it| it.direction == "inbound")?;
    assert_eq!(record.source_identity, Some(id(OURS, "client")));

    // Being believed is not being who is expected.
    for (host, address, name) in
        [("unnamed", "192.0.2.11", None), ("other", "192.0.2.12", Some(id(THEIRS, "till")))]
    {
        let to = entry(&pair.ours, host, address, there, name.as_deref())?;
        let host = format!("{host}.test");
        eventually("the entry is read", || {
            Ok(node.get("/config_dump/services")?.body.contains(&host).then_some(()))
        })?;
        assert!(opened(&client, to).is_err(), "{host}: somebody else is believed");
        let record = node.wait_record(|it| it.service.as_ref() == Some(&host))?;
        let mismatch = format!("peer is {}, expected {}", id(THEIRS, "server"), id(OURS, "default"));
        assert!(record.error.as_ref().is_some_and(|it| it.contains(&mismatch)), "{record:?}");
    }

    let called = entry(&pair.theirs, "client", "192.0.2.20", back, Some(&id(OURS, "client")))?;
    eventually("the partner calls", || Ok(opened(&server, called).ok()))?;
    // Each lets in whom it names, of the other.
    only(&pair.theirs, "server", &format!("{OURS}/ns/shop/sa/client"))?;
    eventually("the policy keeps others out", || Ok(opened(&near, named).err()))?;
    opened(&client, named)?;
    for (principal, let_in) in [
        (format!("{OURS}/ns/shop/sa/server"), false),
        (format!("{THEIRS}/ns/shop/sa/server"), true),
        (format!("{THEIRS}/ns/shop/sa/till"), false),
    ] {
        only(&pair.ours, "client", &principal)?;
        let what = format!("{principal} lets the partner in: {let_in}");
        eventually(&what, || Ok((opened(&server, called).is_ok() == let_in).then_some(())))?;
    }
    only(&pair.ours, "client", &format!("{THEIRS}/ns/shop/sa/server"))?;
    let mut live = eventually("the partner is let in again", || Ok(opened(&server, called).ok()))?;
    entry(&pair.ours, "named", "192.0.2.10", there, Some(&id(THEIRS, "till")))?;
    cut_soon(&mut live)?;
    assert!(opened(&server, called).is_err(), "nobody names it any more");
    Ok(())
}

#[test]
fn whom_a_partner_takes_back_is_cut_and_refused() -> Result<(), LabError> {
    let (pair, partner) = Pair::up()?;
    let (client, _near, server) = pair.pods();
    let (_there, there) = echo(&server)?;
    let named = entry(&pair.ours, "named", "192.0.2.10", there, Some(&id(THEIRS, "server")))?;
    let mut live = eventually("the partner's workload is called", || Ok(opened(&client, named).ok()))?;
    let held = certificate(pair.mesh.daemon("node2"), &id(THEIRS, "server"))?.expect("it answered");
    let serials = [held["serial"].as_str().expect("a number").to_owned()];

    // A list of our own CA's says nothing of theirs.
    let ours = revocation_list(&pair.mesh.ca().root_folder(), &serials);
    fs::write(pair.lists(), ours)?;
    let node = pair.mesh.daemon("node1");
    eventually("the list is read", || {
        let trust = node.get("/config_dump/trust")?.json()?;
        let of = |it: &&Value| it["domain"] == THEIRS && it["revocation_lists"] == 1;
        Ok(trust.as_array().and_then(|all| all.iter().find(of)).map(drop))
    })?;
    opened(&client, named)?;
    e2e::calls::exchange(&mut live)?;

    fs::write(pair.lists(), revocation_list(&partner.root_folder(), &serials))?;
    assert!(!matches!(live.read(&mut [0]), Ok(1..)), "the connection to a revoked server ends");
    assert!(opened(&client, named).is_err(), "it is not called again");
    let revoked = [("reporter", "source"), ("response_flags", "CERT_REVOKED")];
    node.wait_metric("istio_tcp_connections_failed_total", &revoked, |count| count >= 2.0)?;
    Ok(())
}

#[test]
fn a_partners_ca_that_signs_our_names_is_not_believed() -> Result<(), LabError> {
    let lab = Lab::up(&shop())?;
    let partner = Partner::start(&lab, &[OURS])?;
    // Its node says that it is one of ours, and believes both.
    let roots = lab.folder().join("both.pem");
    fs::copy(partner.roots(), &roots)?;
    let theirs = json!({ "ca": partner.asked(&roots) });
    let ours = json!({ "trust": { "federated": format!("{THEIRS}={}", partner.roots().display()) } });
    let mesh = Mesh::on(lab, &options(ours, theirs))?;
    let both = [fs::read_to_string(partner.roots())?, fs::read_to_string(mesh.ca().roots())?].concat();
    fs::write(&roots, both)?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let ((_there, there), (_back, back)) = (echo(&server)?, echo(&client)?);
    let (node, other) = (mesh.daemon("node1"), mesh.daemon("node2"));
    eventually("the partner's CA signs our names", || certificate(other, &id(OURS, "server")))?;
    eventually("the partner's node knows our roots", || {
        let trust = other.get("/config_dump/trust")?.json()?;
        Ok((trust[0]["roots"].as_array().map(Vec::len) == Some(2)).then_some(()))
    })?;
    for (from, to, direction) in [(&client, there, "outbound"), (&server, back, "inbound")] {
        assert!(opened(from, to).is_err(), "{direction}: it is believed");
        let of = [("direction", direction), ("cause", "identity")];
        node.wait_metric("ambient_tunnel_handshake_failures_total", &of, |count| count >= 1.0)?;
    }
    let record = node.wait_record(|it| it.joins("client", "server"))?;
    println!("{:?}", record.error);
    assert_eq!(
        other.scrape()?.sum("ambient_tunnel_handshake_duration_seconds_count", &[("direction", "inbound")]),
        None
    );
    Ok(())
}

/// Two meshes, each with its own pods, manifests and CA.
struct Pair {
    mesh: Mesh,
    ours: PathBuf,
    theirs: PathBuf,
}

impl Pair {
    fn up() -> Result<(Self, Partner), LabError> {
        let lab = Lab::up(&shop())?;
        let partner = Partner::start(&lab, &[])?;
        let (ours, theirs) = (without_pods(&lab, &["server"])?, without_pods(&lab, &["client", "near"])?);
        let here = json!({
            "source": { "manifests": ours },
            "trust": {
                "federated": format!("{THEIRS}={}", partner.roots().display()),
                "federatedCrls": format!("{THEIRS}={}", lab.folder().join(LISTS).display()),
            },
        });
        let there = json!({
            "mesh": { "trustDomain": THEIRS },
            "source": { "manifests": theirs },
            "ca": partner.asked(&partner.roots()),
            "trust": { "federated": format!("{OURS}={}", lab.folder().join("ca/roots.pem").display()) },
        });
        let mesh = Mesh::on(lab, &options(here, there))?;
        Ok((Self { mesh, ours, theirs }, partner))
    }

    fn pods(&self) -> (Pod, Pod, Pod) {
        (self.mesh.pod("shop/client"), self.mesh.pod("shop/near"), self.mesh.pod("shop/server"))
    }

    /// The file of the partner's revocation lists.
    fn lists(&self) -> PathBuf {
        self.mesh.folder().join(LISTS)
    }
}

/// A mesh of our name, where node2 is somebody else's.
fn options(node1: Value, node2: Value) -> MeshOptions {
    MeshOptions {
        config: json!({ "mesh": { "trustDomain": OURS } }),
        ca: json!({ "trust": { "domain": OURS } }),
        nodes: [("node1".to_owned(), node1), ("node2".to_owned(), node2)].into(),
        // Each node knows its own pods only.
        large: true,
        ..MeshOptions::default()
    }
}

/// Writes an entry of the other mesh's workload, which answers at `endpoint` under `name`; hands out its address.
fn entry(
    manifests: &Path,
    host: &str,
    address: &str,
    endpoint: SocketAddr,
    name: Option<&str>,
) -> Result<SocketAddr, LabError> {
    let entry = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": { "namespace": "shop", "name": host },
        "spec": {
            "hosts": [format!("{host}.test")],
            "addresses": [address],
            "resolution": "STATIC",
            "ports": [{ "name": "tcp", "number": 80, "targetPort": endpoint.port(), "protocol": "TCP" }],
            "endpoints": [{ "address": endpoint.ip(), "labels": { "networking.istio.io/tunnel": "http" } }],
            "subjectAltNames": name.into_iter().collect::<Vec<_>>(),
        },
    });
    fs::write(manifests.join(format!("entry-{host}.yaml")), entry.to_string())?;
    Ok(SocketAddr::new(address.parse::<IpAddr>().expect("an address"), 80))
}

/// Lets nobody but a principal call a pod.
fn only(manifests: &Path, app: &str, principal: &str) -> Result<(), LabError> {
    let policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "namespace": "shop", "name": "only" },
        "spec": {
            "selector": { "matchLabels": { "app": app } },
            "rules": [{ "from": [{ "source": { "principals": [principal] } }] }],
        },
    });
    Ok(fs::write(manifests.join("only.yaml"), policy.to_string())?)
}

fn id(domain: &str, account: &str) -> String {
    format!("spiffe://{domain}/ns/shop/sa/{account}")
}

/// The file of the partner's revocation lists, in the lab's folder.
const LISTS: &str = "partner.crl";
