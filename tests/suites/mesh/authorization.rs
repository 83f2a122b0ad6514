//! Who is let in, by all that a policy of layer 4 can tell clients by.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use e2e::calls::{exchange, opened, refused, shop, until_refused, until_served};
use harness::{Daemon, LabError, Mesh, PodSpec, Stack, eventually, serve};
use serde_json::{Value, json};

/// Who calls: two of the server's namespace, one of another beside the server, one that is not in the mesh.
const CALLERS: [&str; 4] = ["shop/client", "shop/near", "bank/teller", "legacy/batch"];

/// Where the server is called.
const PORT: u16 = 8080;

#[test]
fn rules_tell_clients_by_identity_namespace_address_and_port() -> Result<(), LabError> {
    let mut cluster = shop(Stack::V4);
    cluster.ambient("bank");
    cluster.pod(PodSpec::new("bank", "teller").node("node2"));
    let mesh = Mesh::up(&cluster)?;
    let server = mesh.pod("shop/server");
    let _called = server.serve(PORT, serve::echo())?;
    let _other = server.serve(PORT + 1, serve::echo())?;
    let batch = format!("from: [{{source: {{ipBlocks: [{}]}}}}]", mesh.pod("legacy/batch").ip());
    let everybody = CALLERS.as_slice();
    for (rule, matched) in [
        ("from: [{source: {principals: [cluster.local/ns/shop/sa/client]}}]", &["shop/client"][..]),
        ("from: [{source: {principals: [\"*/sa/teller\"]}}]", &["bank/teller"]),
        ("from: [{source: {principals: [\"*\"]}}]", &CALLERS[..3]),
        ("from: [{source: {namespaces: [shop]}}]", &CALLERS[..2]),
        ("from: [{source: {notNamespaces: [shop]}}]", &CALLERS[2..]),
        (&*batch, &CALLERS[3..]),
        ("to: [{operation: {ports: [\"8080\"]}}]", everybody),
        ("to: [{operation: {notPorts: [\"8080\"]}}]", &[]),
    ] {
        mesh.apply(&policy("ALLOW", rule))?;
        until_let_in(&mesh, &format!("ALLOW {rule}"), server.at(PORT), matched)?;
        let unmatched: Vec<_> = CALLERS.into_iter().filter(|name| !matched.contains(name)).collect();
        mesh.apply(&policy("DENY", rule))?;
        until_let_in(&mesh, &format!("DENY {rule}"), server.at(PORT), &unmatched)?;
    }
    mesh.apply(&policy("ALLOW", "to: [{operation: {ports: [\"8080\"]}}]"))?;
    until_let_in(&mesh, "another port", server.at(PORT + 1), &[])?;
    mesh.apply(&policy("ALLOW", "").replace("rules: [{}]", "rules: []"))?;
    until_let_in(&mesh, "no rule", server.at(PORT), &[])?;
    mesh.delete("AuthorizationPolicy", "shop", "guard")?;
    until_let_in(&mesh, "no policy", server.at(PORT), everybody)
}

#[test]
fn a_policy_that_is_edited_cuts_whom_it_no_longer_lets_in() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let _echo = server.serve(PORT, serve::echo())?;
    let only = |name| format!("from: [{{source: {{principals: [cluster.local/ns/shop/sa/{name}]}}}}]");
    mesh.apply(&policy("ALLOW", &only("client")))?;
    until_refused("the neighbour is kept out", &near, server.at(PORT))?;
    let mut live = opened(&client, server.at(PORT))?;
    mesh.apply(&policy("ALLOW", &only("near")))?;
    let edited = Instant::now();
    assert!(exchange_until_cut(&mut live, edited) < Duration::from_secs(1));
    until_served("the neighbour is let in", &near, server.at(PORT))?;
    assert!(opened(&client, server.at(PORT)).is_err());
    Ok(())
}

#[test]
fn a_label_that_makes_a_policy_apply_cuts_live_connections_on_every_path() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: seal, namespace: shop}\n\
         spec: {action: DENY, selector: {matchLabels: {sealed: \"yes\"}}, rules: [{}]}\n",
    )?;
    let sealed = |is: &str| json!({ "metadata": { "labels": { "sealed": is } } });
    for (from, to) in [("shop/client", "server"), ("shop/client", "near"), ("legacy/batch", "server")] {
        let (client, server) = (mesh.pod(from), mesh.pod(&format!("shop/{to}")));
        let echo = server.serve(0, serve::echo())?;
        let mut live = opened(&client, server.at(echo.port()))?;
        mesh.patch("Pod", "shop", to, &sealed("yes"))?;
        let labelled = Instant::now();
        let took = exchange_until_cut(&mut live, labelled);
        assert!(took < Duration::from_secs(1), "{from} was cut off from {to} after {took:?}");
        let daemon = mesh.daemon(server.node().name());
        let cut = daemon.wait_record(|it| it.joins(client.name(), to) && it.error.is_some())?;
        assert!(cut.error.is_some_and(|error| error.contains("shop/seal")), "the policy is named");
        mesh.patch("Pod", "shop", to, &sealed("no"))?;
        until_served("it is let in again", &client, server.at(echo.port()))?;
    }
    Ok(())
}

#[test]
fn dry_run_and_audit_say_and_count_on_every_path_what_they_would_do_and_do_nothing() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {name: trial, namespace: shop, annotations: {istio.io/dry-run: \"true\"}}\n\
         spec: {action: DENY, rules: [{from: [{source: {namespaces: [nowhere]}}]}, {}]}\n---\n\
         apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: watch, namespace: shop}\n\
         spec: {action: AUDIT, rules: [{}]}\n---\n\
         apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: open, namespace: shop}\n\
         spec: {action: ALLOW, rules: [{}]}\n",
    )?;
    for (from, to, path) in [
        ("shop/client", "shop/server", "hbone"),
        ("shop/client", "shop/near", "node-local"),
        ("legacy/batch", "shop/server", "passthrough"),
    ] {
        let (client, server) = (mesh.pod(from), mesh.pod(to));
        let (daemon, echo) = (mesh.daemon(server.node().name()), server.serve(0, serve::echo())?);
        let there = server.at(echo.port());
        let start = said(daemon)?;
        eventually("the policies are known", || {
            drop(opened(&client, there)?);
            Ok(said(daemon)?.iter().zip(start).all(|(now, start)| *now > start).then_some(()))
        })?;
        let before = said(daemon)?;
        let mut live = opened(&client, there)?;
        let one_more = before.map(|count| count + 1.0);
        assert_eq!(said(daemon)?, one_more, "{path}");
        let source = client.identity();
        let source = if path == "passthrough" { "" } else { &*source };
        let (ip, there) = (client.ip().to_string(), there.to_string());
        let about = json!({ "target": "audit", "source": source, "source_ip": ip, "destination": there });
        let tried = json!("denied by rule 1 of policy shop/trial");
        for (message, key, value, place) in [
            ("connection matches", "policy", json!("shop/watch"), 0),
            ("dry run would refuse", "denied", tried, 1),
        ] {
            eventually("what is counted is in the log", || {
                let log = daemon.log()?;
                let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                let lines = lines.filter(|it| holds(it, &about) && it["message"] == message);
                let told = lines.filter(|it| it[key] == value).map(|_| 1.0).sum::<f64>();
                Ok((told == one_more[place] - start[place]).then_some(()))
            })?;
        }
        exchange(&mut live)?;
        drop(live);
        let record = daemon.wait_record(|it| {
            (it.direction == "inbound" && it.path == path && it.destination.to_string() == there)
                && it.policy.as_deref() == Some("shop/open rule 0")
        })?;
        assert_eq!(record.error, None);
    }
    Ok(())
}

/// Of how many connections policy said each of [`SAID`].
fn said(daemon: &Daemon) -> Result<[f64; 3], LabError> {
    let scrape = daemon.scrape()?;
    Ok(SAID.map(|labels| scrape.sum(DECISIONS, &labels).unwrap_or_default()))
}

/// Whether a line of the log has all of these fields.
fn holds(line: &Value, fields: &Value) -> bool {
    fields.as_object().into_iter().flatten().all(|(key, value)| line[key] == *value)
}

const DECISIONS: &str = "ambient_policy_decisions_total";

/// What policies `watch`, `trial` and `open` say of each connection.
const SAID: [[(&str, &str); 5]; 3] = [
    decision("watch", "0", "audit", "audit_matched"),
    decision("trial", "1", "dry_run_deny", "deny_matched"),
    decision("open", "0", "allow", "allow_matched"),
];

const fn decision<'a>(
    name: &'a str,
    rule: &'a str,
    decision: &'a str,
    reason: &'a str,
) -> [(&'a str, &'a str); 5] {
    let policy = [("policy_namespace", "shop"), ("policy_name", name)];
    [policy[0], policy[1], ("rule", rule), ("decision", decision), ("reason", reason)]
}

#[test]
fn what_a_policy_asks_for_and_no_connection_has_is_said() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let _echo = server.serve(PORT, serve::echo())?;
    mesh.apply(&policy("ALLOW", "to: [{operation: {methods: [GET]}}]"))?;
    until_refused("a rule that cannot be checked lets nobody in", &client, server.at(PORT))?;
    let notes = mesh.daemon("node2").get("/config_dump/source")?.body;
    assert!(notes.contains("AuthorizationPolicy shop/guard: rule 0 never matches here"), "{notes}");
    let error = refused(mesh.daemon("node1"), &client, server.at(PORT))?.error.unwrap_or_default();
    assert!(error.contains("401"), "{error}");
    Ok(())
}

/// A policy of the server with one rule.
fn policy(action: &str, rule: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: guard, namespace: shop}}\n\
         spec:\n  action: {action}\n  selector: {{matchLabels: {{app: server}}}}\n  rules: [{{{rule}}}]\n"
    )
}

/// Waits until these of the callers, and no other, are let in.
fn until_let_in(mesh: &Mesh, what: &str, to: SocketAddr, wanted: &[&str]) -> Result<(), LabError> {
    let mut last = Vec::new();
    let settled = eventually(what, || {
        last = CALLERS.into_iter().filter(|name| opened(&mesh.pod(name), to).is_ok()).collect();
        Ok((last == wanted).then_some(()))
    });
    settled.map_err(|error| LabError::Unreadable {
        what: format!("{what}: {last:?} are let in, not {wanted:?}"),
        problem: error.to_string(),
    })
}

/// How long after `since` a connection is cut, while it is used.
fn exchange_until_cut(stream: &mut std::net::TcpStream, since: Instant) -> Duration {
    while exchange(stream).is_ok() && since.elapsed() < harness::PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    since.elapsed()
}
