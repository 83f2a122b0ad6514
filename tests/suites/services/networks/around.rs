//! What becomes of connections when the way between networks fails, or who is let through it changes.

use std::collections::BTreeSet;

use e2e::calls::{cut_soon, greeted, opened};
use harness::{LabError, Stack, eventually, serve};
use serde_json::json;

use super::{EASTWEST, GATES, Networks, VIP_V4};
use crate::mall::PORT;

#[test]
fn a_gateway_that_is_down_fails_nothing_that_an_endpoint_here_can_take() -> Result<(), LabError> {
    // Its port stays open, and says nothing.
    let networks = Networks::with(Stack::V4, json!({ "timeouts": { "handshake": "500ms" } }))?;
    let client = networks.west.pod("shop/client");
    let _near = networks.west.pod("shop/stranger").serve(PORT, serve::banner("near"))?;
    let _far = networks.east.pod("shop/server").serve(PORT, serve::banner("far"))?;
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;
    let label = json!({ "metadata": { "labels": { "app": "remote" } } });
    networks.west.patch("Pod", "shop", "stranger", &label)?;
    let mut called = BTreeSet::new();
    eventually("both are called", || {
        called.extend(greeted(&client, VIP_V4).ok().map(|(who, _)| who));
        Ok((called.len() == 2).then_some(()))
    })?;
    drop(gateway);
    for call in 0..16 {
        assert_eq!(greeted(&client, VIP_V4)?.0, "near", "call {call}");
    }
    networks.west.delete("Gateway", "istio-system", "east")?;
    let node = networks.west.daemon("node1");
    eventually("it is gone", || Ok((node.get("/config_dump/gateways")?.json()? == json!([])).then_some(())))?;
    for call in 0..16 {
        assert_eq!(greeted(&client, VIP_V4)?.0, "near", "call {call}");
    }
    Ok(())
}

#[test]
fn of_a_gateway_that_is_known_by_name_an_address_that_answers_is_found() -> Result<(), LabError> {
    let networks = Networks::up(Stack::V4)?;
    let client = networks.west.pod("shop/client");
    let _far = networks.east.pod("shop/server").serve(PORT, serve::banner("far"))?;
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;
    let named = json!({ "spec": { "addresses": [{ "type": "Hostname", "value": GATES }] } });
    networks.west.patch("Gateway", "istio-system", "east", &named)?;
    eventually("the name is what is known", || {
        let gateways = networks.west.daemon("node1").get("/config_dump/gateways")?.json()?;
        Ok((gateways[0]["hosts"] == json!([{ "Name": GATES }])).then_some(()))
    })?;
    assert_eq!(greeted(&client, VIP_V4)?.0, "far");
    assert_eq!(gateway.asked().len(), 1);
    Ok(())
}

#[test]
fn who_is_no_longer_known_on_another_network_is_cut_where_strangers_are_refused() -> Result<(), LabError> {
    let networks = Networks::up(Stack::V4)?;
    let client = networks.west.pod("shop/client");
    let _echo = networks.east.pod("shop/server").serve(PORT, serve::echo())?;
    let gateway = networks.gateway(EASTWEST)?;
    networks.describe(Some(&gateway), "server")?;
    let mut live = eventually("it is served", || Ok(opened(&client, VIP_V4).ok()))?;
    networks.east.delete("WorkloadEntry", "shop", "client")?;
    cut_soon(&mut live)
}
