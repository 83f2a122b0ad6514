//! What becomes of connections to another network when something on the way fails, ends or is taken back.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;

use e2e::calls::{exchange, opened, outbound, refused};
use e2e::revocation::revocation_list;
use harness::{LabError, PATIENCE, Stack, eventually, serve};
use serde_json::json;

use super::{EASTWEST, GATE, Networks, VIP_V4};
use crate::mall::PORT;

#[test]
fn a_gateway_that_leads_to_who_says_nothing_is_given_up() -> Result<(), LabError> {
    let config = json!({ "timeouts": { "handshake": "500ms" } });
    let networks = Networks::with(Stack::V4, config)?;
    let stands = networks.east.pod("istio-system/gateway");
    let silent = stands.serve(0, serve::hold())?;
    let gateway = networks.gateway_to(EASTWEST, stands.at(silent.port()))?;
    networks.describe(Some(&gateway), "server")?;
    let node = networks.west.daemon("node1");
    let record = eventually("the inner handshake is begun", || {
        let record = refused(node, &networks.west.pod("shop/client"), VIP_V4)?;
        Ok(Some(record).filter(|_| !gateway.asked().is_empty()))
    })?;
    let error = record.error.expect("it is refused");
    assert!(error.starts_with("behind gateway istio-system/east of network \"east\": "), "{error}");
    assert!(error.ends_with("did not come up within 500ms"), "{error}");
    eventually("nothing is left of it", || Ok((gateway.open() == 0).then_some(())))?;
    node.wait_metric("ambient_tunnels_open", &[("direction", "outbound")], |count| count <= 1.0)?;
    Ok(())
}

#[test]
fn who_is_revoked_at_either_end_takes_connections_along() -> Result<(), LabError> {
    let lists = tempfile::tempdir()?;
    let list = lists.path().join("crl.pem");
    let networks = Networks::with(Stack::V4, json!({ "trust": { "crl": list } }))?;
    let root = networks.west.ca().root_folder();
    let (client, node) = (networks.west.pod("shop/client"), networks.west.daemon("node1"));
    let _echo = networks.east.pod("shop/server").serve(PORT, serve::echo())?;
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;
    let held = networks.east.daemon("node2").get("/config_dump/certificates")?.json()?;
    let server = held[0]["certificate"]["serial"].as_str().expect("the server has a certificate").to_owned();
    for (whose, serial, says) in [
        ("the gateway", gateway.serial(), "gateway istio-system/east"),
        ("the server", server, "behind gateway"),
    ] {
        let mut live = eventually("it is served", || Ok(opened(&client, VIP_V4).ok()))?;
        let local = live.local_addr()?;
        fs::write(&list, revocation_list(&root, &[serial]))?;
        assert!(!matches!(live.read(&mut [0]), Ok(1..)), "the connection ends with {whose}");
        let record = outbound(node, local)?;
        assert!(record.error.is_some_and(|error| error.contains("revoked")), "{whose}");
        let record = refused(node, &client, VIP_V4)?;
        let error = record.error.expect("it is refused");
        assert!(error.contains(says) && error.contains("revoked"), "{whose}: {error}");
        fs::write(&list, revocation_list(&root, &[]))?;
    }
    let revoked = [("reporter", "source"), ("response_flags", "CERT_REVOKED")];
    node.wait_metric("istio_tcp_connections_failed_total", &revoked, |count| count >= 4.0)?;
    Ok(())
}

#[test]
fn a_daemon_that_ends_sees_connections_through() -> Result<(), LabError> {
    let networks = Networks::up(Stack::V4)?;
    let (client, node) = (networks.west.pod("shop/client"), networks.west.daemon("node1"));
    let _echo = networks.east.pod("shop/server").serve(PORT, serve::echo())?;
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;
    let mut live = eventually("it is served", || Ok(opened(&client, VIP_V4).ok()))?;
    std::thread::scope(|scope| -> Result<(), LabError> {
        let ending = scope.spawn(|| node.terminate(PATIENCE));
        eventually("it ends", || {
            let ready = node.get("/healthz/ready");
            Ok(ready.is_ok_and(|answer| answer.status != 200).then_some(()))
        })?;
        exchange(&mut live)?;
        live.write_all(b"the last words")?;
        live.shutdown(Shutdown::Write)?;
        let mut heard = String::new();
        live.read_to_string(&mut heard)?;
        assert_eq!(heard, "the last words");
        let ended = ending.join().expect("it does not panic")?;
        assert!(ended.is_some_and(|status| status.success()));
        Ok(())
    })?;
    eventually("the gateway saw its end", || Ok((gateway.open() == 0).then_some(())))
}

#[test]
fn a_gateway_that_is_known_by_name_is_looked_up() -> Result<(), LabError> {
    let networks = Networks::up(Stack::V4)?;
    let client = networks.west.pod("shop/client");
    let _echo = networks.east.pod("shop/server").serve(PORT, serve::echo())?;
    networks.describe(None, "server")?;
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;
    let named = json!({ "spec": { "addresses": [{ "type": "Hostname", "value": GATE }] } });
    networks.west.patch("Gateway", "istio-system", "east", &named)?;
    eventually("the name is what is known", || {
        let gateways = networks.west.daemon("node1").get("/config_dump/gateways")?.json()?;
        Ok((gateways[0]["hosts"] == json!([{ "Name": GATE }])).then_some(()))
    })?;
    let stream = opened(&client, VIP_V4)?;
    let local = stream.local_addr()?;
    drop(stream);
    assert_eq!(outbound(networks.west.daemon("node1"), local)?.hbone_addr, Some(gateway.address()));
    assert_eq!(gateway.asked().len(), 1);
    Ok(())
}
