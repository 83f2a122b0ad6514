//! The admin server, and the commands that ask it.

use std::process::Command;

use harness::{Daemon, LabError, Mesh, eventually, serve};
use serde_json::Value;

use crate::scene::{cluster, exchange, talk};

#[test]
fn a_live_connection_is_shown_with_age_bytes_path_identity_and_policy() -> Result<(), LabError> {
    let mut cluster = cluster();
    cluster.yaml(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {name: friends, namespace: shop}\n\
         spec: {action: ALLOW, rules: [{from: [{source: {namespaces: [bank]}}]}, {from: [{source: {namespaces: [shop]}}]}]}\n",
    )?;
    let mesh = Mesh::up(&cluster)?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    let mut live = talk(&client, server.at(echo.port()), 1000)?;
    exchange(&mut live, 234)?;
    let there = mesh.daemon("node2");
    let shown = view(there, &["connections", "--direction", "inbound", "-n", "shop"])?;
    let row: Vec<_> = shown.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..2], ["shop/server", "inbound"], "{shown}");
    assert_eq!(row[5], "HBONE", "{shown}");
    let by = ["1234", "1234", &client.identity(), "shop/friends", "rule", "1"];
    assert_eq!(row[7..], by, "{shown}");
    let json: Value =
        serde_json::from_str(&view(there, &["connections", "-o", "json"])?).expect("it is JSON");
    assert_eq!(json[0]["source"]["identity"], client.identity());
    assert_eq!((&json[0]["policy"], &json[0]["rule"]), (&"shop/friends".into(), &1.into()));
    assert!(json[0]["age_seconds"].as_f64().is_some_and(|age| age > 0.0));
    assert_eq!(view(there, &["connections", "-n", "legacy"])?.lines().count(), 1);
    Ok(())
}

#[test]
fn who_was_denied_of_late_is_shown_with_the_rule_that_did() -> Result<(), LabError> {
    let mesh = Mesh::up(&cluster())?;
    let (client, server, there) = (mesh.pod("shop/client"), mesh.pod("shop/server"), mesh.daemon("node2"));
    let echo = server.serve(0, serve::echo())?;
    let target = server.at(echo.port());
    assert!(view(there, &["status"])?.contains("\ndenied lately none\n"));
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: wall, namespace: shop}\n\
         spec: {action: DENY, rules: [{from: [{source: {namespaces: [bank]}}]}, {}]}\n",
    )?;
    eventually("the client is denied", || Ok(talk(&client, target, 1).is_err().then_some(())))?;
    let shown = view(there, &["connections", "--denied", "--direction", "inbound", "-n", "shop"])?;
    let row: Vec<_> = shown.lines().last().unwrap_or_default().split_whitespace().collect();
    let (identity, address) = (client.identity(), target.to_string());
    let who = ["inbound", "shop/client", &identity, "shop/server", &address, "shop/wall", "rule", "1"];
    assert_eq!(row.get(1..9), Some(&who[..]), "{shown}");
    assert!(shown.contains("denied by rule 1 of policy shop/wall"), "{shown}");
    assert_eq!(view(there, &["connections", "--denied", "-n", "bank"])?.lines().count(), 1);
    let status = view(there, &["status"])?;
    let by = |line: &str| line.starts_with("denied lately ") && line.contains(" by shop/wall rule 1");
    assert!(status.lines().any(by), "{status}");
    Ok(())
}

#[test]
fn workloads_services_policies_and_certificates_are_listed() -> Result<(), LabError> {
    let mut cluster = cluster();
    cluster.yaml(
        "apiVersion: v1\nkind: Service\nmetadata: {name: echo, namespace: shop}\n\
         spec: {clusterIP: 10.96.0.77, selector: {app: server}, ports: [{port: 80}]}\n\
         ---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {name: wall, namespace: shop}\n\
         spec: {action: DENY, rules: [{from: [{source: {namespaces: [nowhere]}}]}]}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: old, namespace: shop}\n",
    )?;
    let mesh = Mesh::up(&cluster)?;
    let here = mesh.daemon("node1");
    let server = mesh.pod("shop/server");
    let workload = view(here, &["workloads", "--address", &server.ip().to_string()])?;
    let words = |text: &str| -> Vec<String> {
        text.lines().nth(1).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let ip = server.ip().to_string();
    assert_eq!(words(&workload), ["shop", "server", &ip, "node2", "None", "HBONE", "enabled"]);
    assert_eq!(view(here, &["workloads", "--node", "node1"])?.lines().count(), 3);
    assert_eq!(words(&view(here, &["svc", "-n", "shop"])?), ["shop", "echo", "10.96.0.77", "None", "1/1"]);
    assert_eq!(words(&view(here, &["policies", "-n", "shop"])?), ["shop", "wall", "Deny", "Namespace", "1"]);
    let certificates = view(here, &["certificates"])?;
    assert!(certificates.contains(&mesh.pod("shop/client").identity()), "{certificates}");
    assert!(certificates.lines().skip(1).all(|line| line.contains(" true ")), "{certificates}");
    let status = view(here, &["status"])?;
    assert!(
        status.starts_with("daemon        ready\npods          2 captured, 0 draining, 0 failed\n"),
        "{status}"
    );
    assert!(status.contains("not in force: Sidecar shop/old"), "{status}");
    Ok(())
}

#[test]
fn the_log_level_changes_at_run_time_and_back() -> Result<(), LabError> {
    let mesh = Mesh::up(&cluster())?;
    let here = mesh.daemon("node1");
    assert_eq!(view(here, &["log"])?, "current log level is info\n");
    assert_eq!(
        view(here, &["log", "--level", "hbone=debug,warn"])?,
        "current log level is hbone=debug,warn\n"
    );
    let refused = view(here, &["log", "--level", "loud"]).expect_err("loud is no level").to_string();
    assert!(refused.contains("is not a level"), "{refused}");
    assert_eq!(view(here, &["log", "--reset"])?, "current log level is info\n");
    Ok(())
}

#[test]
fn profiles_are_made_when_asked_for_while_connections_go_on() -> Result<(), LabError> {
    let mesh = Mesh::up(&cluster())?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let here = mesh.daemon("node1");
    assert_eq!(here.get("/debug/pprof/heap")?.status, 409, "no samples are taken before somebody asks");
    assert_eq!(here.post("/debug/pprof/heap/profiling?activate=true")?.status, 200);
    let echo = server.serve(0, serve::echo())?;
    let stacks = std::thread::scope(|scope| {
        let asked = scope.spawn(|| here.get("/debug/pprof/profile?seconds=2&frequency=500"));
        while !asked.is_finished() {
            drop(talk(&client, server.at(echo.port()), 100_000)?);
        }
        asked.join().expect("asking does not panic")
    })?;
    assert_eq!(stacks.status, 200, "{}", stacks.body);
    let of_worker = |line: &&str| line.starts_with("worker-") && line.contains("hbone::");
    assert!(stacks.body.lines().any(|line| of_worker(&line)), "{}", stacks.body);
    let heap = here.node().output(&format!(
        "curl -sS --unix-socket {} http://localhost/debug/pprof/heap | gzip -dc | wc -c",
        here.admin_socket().display()
    ))?;
    let bytes: usize = heap.stdout.trim().parse().unwrap_or_default();
    assert!(bytes > 1000, "{heap:?}");
    assert_eq!(here.post("/debug/pprof/heap/profiling?activate=false")?.status, 200);
    assert_eq!(here.get("/debug/pprof/heap")?.status, 409);
    Ok(())
}

#[test]
fn nothing_of_a_pod_reaches_the_admin_server() -> Result<(), LabError> {
    let mesh = Mesh::up(&cluster())?;
    let (client, here) = (mesh.pod("shop/client"), mesh.daemon("node1"));
    let on_node =
        here.node().sh("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:15000/config_dump")?;
    assert_eq!(on_node.trim(), "200", "it is there, or its absence proves nothing");
    let from_node = "curl -s -o /dev/null -w '%{http_code}' -X POST http://127.0.0.1:15000";
    for path in ["/quitquitquit", "/logging?level=debug", "/debug/pprof/heap/profiling?activate=true"] {
        assert_eq!(here.node().sh(&format!("{from_node}{path}"))?.trim(), "403", "{path}");
    }
    let profile =
        "curl -s -o /dev/null -w '%{http_code}' 'http://127.0.0.1:15000/debug/pprof/profile?seconds=1'";
    assert_eq!(here.node().sh(profile)?.trim(), "403");
    for address in [here.node().ip().to_string(), "127.0.0.1".to_owned(), client.ip().to_string()] {
        let asked =
            client.netns().shell(&format!("curl -s -m 3 http://{address}:15000/config_dump")).output()?;
        assert!(!asked.status.success() && asked.stdout.is_empty(), "{address}: {asked:?}");
    }
    Ok(())
}

/// What a command of ours prints about a daemon.
fn view(daemon: &Daemon, words: &[&str]) -> Result<String, LabError> {
    let program = harness::ztunnel()?;
    let output = Command::new(program).args(words).arg("--socket").arg(daemon.admin_socket()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let (command, status) = (words.join(" "), output.status.to_string());
    Err(LabError::Program { command, status, output: String::from_utf8_lossy(&output.stderr).into_owned() })
}
