//! Who is at an address, and what becomes of those who are not whom they should be.

use std::time::{Duration, Instant};

use e2e::calls::{exchange, greeted, opened, outbound, refused, shop, until_refused, until_served};
use harness::{LabError, Mesh, PodSpec, Stack, eventually, serve};
use serde_json::json;

/// Where servers serve.
const PORT: u16 = 8080;

#[test]
fn a_pod_of_another_service_account_is_another_caller_at_once() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let client = mesh.pod("shop/client");
    let targets = [mesh.pod("shop/server"), mesh.pod("shop/near")];
    let _echo = targets.iter().map(|it| it.serve(PORT, serve::echo())).collect::<Result<Vec<_>, _>>()?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: guard, namespace: shop}\n\
         spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/client]}}]}]}\n",
    )?;
    let mut live = targets
        .iter()
        .map(|target| {
            until_refused("others are kept out", &mesh.pod("legacy/batch"), target.at(PORT))?;
            Ok(opened(&client, target.at(PORT))?)
        })
        .collect::<Result<Vec<_>, LabError>>()?;
    mesh.patch("Pod", "shop", "client", &json!({ "spec": { "serviceAccountName": "other" } }))?;
    let changed = Instant::now();
    for stream in &mut live {
        while exchange(stream).is_ok() && changed.elapsed() < harness::PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(changed.elapsed() < Duration::from_secs(1), "it took {:?}", changed.elapsed());
    }
    for target in &targets {
        assert!(opened(&client, target.at(PORT)).is_err(), "{} lets in who it was", target.name());
    }
    mesh.delete("AuthorizationPolicy", "shop", "guard")?;
    for target in &targets {
        until_served("without a policy anybody is served", &client, target.at(PORT))?;
        let local = opened(&client, target.at(PORT))?.local_addr()?;
        let known_as = outbound(mesh.daemon("node1"), local)?.source_identity;
        assert_eq!(known_as.as_deref(), Some("spiffe://cluster.local/ns/shop/sa/other"));
    }
    Ok(())
}

#[test]
fn whoever_answers_in_anothers_place_is_not_spoken_to() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(PORT, serve::echo())?;
    // The entry says who answers there, and it is not so.
    let entry = |account: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: vm, namespace: shop}}\n\
             spec: {{hosts: [vm.test], addresses: [192.0.2.10], resolution: STATIC, \
             ports: [{{name: tcp, number: {PORT}, protocol: TCP}}], endpoints: [{{address: {}, \
             serviceAccount: {account}, labels: {{networking.istio.io/tunnel: http}}}}]}}\n",
            server.ip()
        )
    };
    let address = ([192, 0, 2, 10], PORT).into();
    mesh.apply(&entry("impostor"))?;
    let error = eventually("the impostor is found out", || {
        let (local, stream) = client.attempt(address)?;
        drop(stream);
        Ok(outbound(mesh.daemon("node1"), local)?.error.filter(|error| error.contains("sa/impostor")))
    })?;
    assert!(error.contains(&server.identity()), "{error}");
    assert_eq!(echo.peers().len(), 0);
    mesh.apply(&entry("server"))?;
    until_served("who is expected is spoken to", &client, address)
}

#[test]
fn an_address_that_passes_to_another_pod_is_never_taken_for_the_old_one() -> Result<(), LabError> {
    let mut cluster = shop(Stack::V4);
    let address = "10.244.2.99".parse().expect("an address");
    let mesh = Mesh::up(&cluster)?;
    let client = mesh.pod("shop/client");
    for round in 0..10 {
        let name = ["odd", "even"][round % 2];
        cluster.remove("Pod", "shop", ["odd", "even"][(round + 1) % 2]);
        cluster.pod(PodSpec::new("shop", name).node("node2").addresses(&[address]));
        mesh.update(&cluster)?;
        let pod = mesh.pod(&format!("shop/{name}"));
        let _server = pod.serve(PORT, serve::banner(name))?;
        let local = eventually("the next pod answers by tunnel", || {
            let Ok((heard, local)) = greeted(&client, pod.at(PORT)) else { return Ok(None) };
            assert_eq!(heard, name, "only that pod is there");
            let record = outbound(mesh.daemon("node1"), local)?;
            if record.path == "hbone" {
                assert_eq!(record.destination_identity, Some(pod.identity()), "round {round}");
            }
            Ok((record.path == "hbone").then_some(local))
        })?;
        let theirs = mesh.daemon("node2").wait_record(|it| {
            it.direction == "inbound"
                && it.source.ip() == local.ip()
                && it.destination_workload.as_deref() == Some(name)
        })?;
        assert_eq!(theirs.destination_identity, Some(pod.identity()));
    }
    Ok(())
}

#[test]
fn strict_mode_of_one_port_and_permissive_mode_of_one_port() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let (client, batch, server) =
        (mesh.pod("shop/client"), mesh.pod("legacy/batch"), mesh.pod("shop/server"));
    let _echo = server.serve(PORT, serve::echo())?;
    let _other = server.serve(PORT + 1, serve::echo())?;
    let modes = |all: &str, one: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: modes, namespace: shop}}\n\
             spec: {{selector: {{matchLabels: {{app: server}}}}, mtls: {{mode: {all}}}, \
             portLevelMtls: {{8080: {{mode: {one}}}}}}}\n"
        )
    };
    mesh.apply(&modes("PERMISSIVE", "STRICT"))?;
    until_refused("plaintext is refused at the port", &batch, server.at(PORT))?;
    until_served("and served at the other", &batch, server.at(PORT + 1))?;
    mesh.apply(&modes("STRICT", "PERMISSIVE"))?;
    until_served("plaintext is served at the port", &batch, server.at(PORT))?;
    until_refused("and refused at the other", &batch, server.at(PORT + 1))?;
    for port in [PORT, PORT + 1] {
        until_served("the mesh is served at both", &client, server.at(port))?;
    }
    Ok(())
}

#[test]
fn what_asks_for_a_waypoint_that_is_not_there_is_refused_with_its_name() -> Result<(), LabError> {
    let mut cluster = shop(Stack::V4);
    cluster.service(harness::ServiceSpec::new("shop", "server").port(80, PORT));
    let mesh = Mesh::up(&cluster)?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(PORT, serve::echo())?;
    let service = ([10, 96, 0, 1], 80).into();
    let asks = |name| json!({ "metadata": { "labels": { "istio.io/use-waypoint": name } } });
    for (kind, namespace, name) in [("Service", "shop", "server"), ("Namespace", "", "shop")] {
        until_served("without a waypoint", &client, service)?;
        mesh.patch(kind, namespace, name, &asks(json!("absent")))?;
        until_refused("the waypoint is missing", &client, service)?;
        let before = echo.peers().len();
        let error = refused(mesh.daemon("node1"), &client, service)?.error.unwrap_or_default();
        assert!(error.contains("waypoint shop/absent is not ready"), "{error}");
        assert_eq!(echo.peers().len(), before);
        let notes = mesh.daemon("node1").get("/config_dump/source")?.body;
        assert!(notes.contains("waypoint does not exist: traffic for it is refused"), "{notes}");
        mesh.patch(kind, namespace, name, &asks(json!(null)))?;
    }
    until_served("without a waypoint", &client, service)
}
