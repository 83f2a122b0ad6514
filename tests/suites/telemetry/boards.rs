//! Boards and alerts ask for metrics and labels that there are: a real Prometheus says so.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::{LabError, Mesh, Node, Process, WIRE_V4, eventually, serve};
use serde_json::{Value, json};

use crate::scene::{mesh, talk};
use crate::selectors::selectors;

#[test]
fn every_query_of_boards_and_alerts_finds_what_it_asks_for() -> Result<(), LabError> {
    // Of a pod that nobody knows, so that there is something to alert of.
    let mesh = mesh(json!({ "listen": { "metricsPod": "ambient-system/ztunnel" } }))?;
    let node = mesh.node("node1");
    let prometheus = Prometheus::start(&mesh, node)?;
    traffic(&mesh)?;
    let queries: Vec<String> = boards()?.into_iter().chain(alerts()?).collect();
    assert!(queries.len() > 40, "{} queries were found", queries.len());
    for query in &queries {
        prometheus.ask(query)?;
        for selector in selectors(query) {
            // Two scrapes make a rate, and the second may still be to come.
            let what = format!("{selector} of {query} finds nothing");
            eventually(&what, || Ok((!prometheus.ask(&selector)?.is_empty()).then_some(())))?;
        }
    }
    for query in boards()? {
        eventually(&format!("{query} finds nothing"), || {
            Ok((!prometheus.ask(&query)?.is_empty()).then_some(()))
        })?;
    }
    let grouped: BTreeSet<String> = queries.iter().flat_map(|query| grouped_by(query)).collect();
    let known: BTreeSet<String> =
        prometheus.get("labels")?.iter().filter_map(|it| Some(it.as_str()?.to_owned())).collect();
    let strange: Vec<_> = grouped.difference(&known).collect();
    assert!(strange.is_empty(), "no series has the labels {strange:?}");
    Ok(())
}

#[test]
fn alerts_fire_when_they_should_and_only_then() -> Result<(), LabError> {
    let tests = fs::read_to_string(root().join("tests/suites/telemetry/alerts.yaml"))?;
    let rules = root().join("deploy/alerts/ambient.yaml");
    let checked = Command::new("promtool").args(["check", "rules"]).arg(&rules).output()?;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    for name in names(&rules)? {
        assert!(tests.contains(&format!("alertname: {name}")), "alert {name} has no test");
    }
    let mut tests_file = tempfile::NamedTempFile::new()?;
    tests_file.write_all(tests.replace("RULES", &rules.display().to_string()).as_bytes())?;
    let tested = Command::new("promtool").args(["test", "rules"]).arg(tests_file.path()).output()?;
    assert!(
        tested.status.success(),
        "{}{}",
        String::from_utf8_lossy(&tested.stdout),
        String::from_utf8_lossy(&tested.stderr)
    );
    Ok(())
}

/// Something of everything that the boards show: tunnels, plaintext, denials, failures, names.
fn traffic(mesh: &Mesh) -> Result<(), LabError> {
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let printer = mesh.pod("legacy/printer");
    findings(mesh)?;
    mesh.apply(ELSEWHERE)?;
    eventually("nothing leads to the other network", || {
        let failed = client
            .connect((ELSEWHERE_VIP, 80).into())
            .map_or(true, |mut stream| !matches!(stream.read(&mut [0]), Ok(1..)));
        let tries = mesh.daemon("node1").scrape()?.sum("ambient_crossings_total", &[("network", "east")]);
        Ok((failed && tries.is_some()).then_some(()))
    })?;
    let (echo, close, plain) =
        (server.serve(0, serve::echo())?, near.serve(0, serve::echo())?, printer.serve(0, serve::echo())?);
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {name: wall, namespace: shop}\n\
         spec: {selector: {matchLabels: {app: near}}, action: DENY, rules: [{}]}\n",
    )?;
    eventually("the client is denied", || {
        Ok(talk(&client, near.at(close.port()), 1).is_err().then_some(()))
    })?;
    drop(talk(&client, server.at(echo.port()), 10_000)?);
    drop(talk(&client, printer.at(plain.port()), 10_000)?);
    assert!(talk(&client, server.at(1), 1).is_err());
    // Nobody answers, which is one of the things that are counted.
    let _unanswered = client.netns().shell("dig +tries=1 +time=1 nowhere.example").output()?;
    Ok(())
}

/// Something broken, where nobody is captured, something that is not enforced as it is written, and a way that leads
/// nowhere.
fn findings(mesh: &Mesh) -> Result<(), LabError> {
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {name: slip, namespace: legacy}\nspec: {acton: DENY}\n",
    )?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {name: get, namespace: legacy}\n\
         spec: {action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}\n",
    )?;
    mesh.apply(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
         metadata: {name: west, namespace: legacy, labels: {topology.istio.io/network: west}}\n\
         spec: {gatewayClassName: istio-remote, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n",
    )
}

/// A Prometheus in a node's network, which reaches the daemons of all nodes, and the CA.
struct Prometheus<'a> {
    node: &'a Node,
    _process: Process,
}

impl<'a> Prometheus<'a> {
    fn start(mesh: &Mesh, node: &'a Node) -> Result<Self, LabError> {
        let folder = mesh.folder().join("prometheus");
        fs::create_dir_all(&folder)?;
        let targets: Vec<_> = mesh.nodes().iter().map(|node| format!("'{}'", node.at(METRICS))).collect();
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n\
             - {{job_name: ztunnel, static_configs: [{{targets: [{}]}}]}}\n\
             - {{job_name: ambient-ca, static_configs: [{{targets: ['{WIRE_V4}:{CA_METRICS}']}}]}}\n",
            targets.join(", ")
        );
        let file = folder.join("prometheus.yml");
        fs::write(&file, config)?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{API}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let this = Self { node, _process: node.spawn(&mut command)? };
        eventually("Prometheus sees every daemon and the CA", || {
            let up = this.ask("up == 1").map_or(0, |series| series.len());
            Ok((up == mesh.nodes().len() + 1).then_some(()))
        })?;
        Ok(this)
    }

    /// What a query finds.
    fn ask(&self, query: &str) -> Result<Vec<Value>, LabError> {
        let answer =
            self.call(&format!("query --data-urlencode 'query={}'", query.replace('\'', "'\\''")))?;
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    fn get(&self, page: &str) -> Result<Vec<Value>, LabError> {
        Ok(self.call(page)?["data"].as_array().cloned().unwrap_or_default())
    }

    fn call(&self, what: &str) -> Result<Value, LabError> {
        let said = self.node.sh(&format!("curl -sS -G http://127.0.0.1:{API}/api/v1/{what}"))?;
        let wrong = |problem: String| LabError::Unreadable { what: what.to_owned(), problem };
        let answer: Value = serde_json::from_str(&said).map_err(|error| wrong(error.to_string()))?;
        if answer["status"] == "success" { Ok(answer) } else { Err(wrong(said)) }
    }
}

/// The queries of all panels, with Grafana's variables filled in.
fn boards() -> Result<Vec<String>, LabError> {
    let mut queries = Vec::new();
    for entry in fs::read_dir(root().join("deploy/dashboards"))? {
        let board: Value =
            serde_json::from_str(&fs::read_to_string(entry?.path())?).expect("a board is JSON");
        for target in
            board["panels"].as_array().into_iter().flatten().flat_map(|panel| panel["targets"].as_array())
        {
            let texts = target.iter().filter_map(|target| target["expr"].as_str());
            queries.extend(texts.map(filled_in));
        }
    }
    Ok(queries)
}

fn filled_in(query: &str) -> String {
    let filled = query.replace("$__rate_interval", "1m").replace("$__range", "1m");
    let filled = filled.replace("$namespace", ".*").replace("$node", ".*");
    assert!(!filled.contains('$'), "{query} has a variable that nobody fills in");
    filled
}

fn alerts() -> Result<Vec<String>, LabError> {
    Ok(rules(&root().join("deploy/alerts/ambient.yaml"))?.into_iter().map(|(_, query)| query).collect())
}

fn names(path: &Path) -> Result<Vec<String>, LabError> {
    Ok(rules(path)?.into_iter().map(|(name, _)| name).collect())
}

/// Name and query of each rule.
fn rules(path: &Path) -> Result<Vec<(String, String)>, LabError> {
    let text = fs::read_to_string(path)?;
    let file: Value = serde_saphyr::from_str(&text).expect("rules are YAML");
    let groups = file["groups"].as_array().into_iter().flatten();
    let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(rules.map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect())
}

/// The labels that a query groups by.
fn grouped_by(query: &str) -> Vec<String> {
    let groups = query.split(" by (").skip(1).filter_map(|rest| rest.split(')').next());
    groups.flat_map(|list| list.split(',').map(|label| label.trim().to_owned())).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1).expect("the workspace has a root").to_owned()
}

/// A service on a network whose gateway is of no use.
const ELSEWHERE: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: east, namespace: legacy, labels: {topology.istio.io/network: east}}
spec: {gatewayClassName: istio-remote, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: shop}
spec: {clusterIP: 10.96.9.9, selector: {app: far}, ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: far, namespace: shop}
spec: {network: east, labels: {app: far}}
";

/// Its address.
const ELSEWHERE_VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 9, 9));

/// Where daemons tell their metrics.
const METRICS: u16 = 15020;

/// Where the CA tells its own.
const CA_METRICS: u16 = 15014;

/// Where Prometheus answers, in a namespace of its own.
const API: u16 = 9090;
