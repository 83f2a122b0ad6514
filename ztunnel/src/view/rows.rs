//! What the admin server tells as JSON, as rows of a table. Columns are those that Istio's users know, and ours behind.

use std::time::{Duration, UNIX_EPOCH};

use daemon::logs::Rfc3339;
use serde_json::Value;

use super::table::Table;

/// NAMESPACE, POD NAME, ADDRESS, NODE, WAYPOINT, PROTOCOL; CAPTURE.
pub(super) fn workloads<'a>(all: impl Iterator<Item = &'a Value>) -> Table {
    let mut table =
        Table::new(&["NAMESPACE", "POD NAME", "ADDRESS", "NODE", "WAYPOINT", "PROTOCOL", "CAPTURE"]);
    for workload in all {
        let profile = &workload["profile"];
        let tunnelled = profile["protocol"] == "Hbone" && workload["capture"] == "Enabled";
        table.row([
            text(&profile["namespace"]),
            text(&workload["name"]),
            join(&workload["addresses"], text),
            text(&workload["node"]["name"]),
            waypoint(&profile["waypoint"]),
            if tunnelled { "HBONE" } else { "TCP" }.to_owned(),
            text(&workload["capture"]).to_lowercase(),
        ]);
    }
    table.sort();
    table
}

/// NAMESPACE, SERVICE NAME, SERVICE VIP, WAYPOINT, ENDPOINTS.
pub(super) fn services<'a>(all: impl Iterator<Item = &'a Value>) -> Table {
    let mut table = Table::new(&["NAMESPACE", "SERVICE NAME", "SERVICE VIP", "WAYPOINT", "ENDPOINTS"]);
    for service in all {
        let endpoints = list(&service["endpoints"]);
        let ready = endpoints.iter().filter(|endpoint| endpoint["ready"] == true).count();
        table.row([
            text(&service["key"]["namespace"]),
            text(&service["name"]),
            join(&service["addresses"], |address| text(&address["ip"])),
            waypoint(&service["waypoint"]),
            format!("{ready}/{}", endpoints.len()),
        ]);
    }
    table.sort();
    table
}

/// NAMESPACE, POLICY NAME, ACTION, SCOPE; RULES.
pub(super) fn policies<'a>(all: impl Iterator<Item = &'a Value>) -> Table {
    let mut table = Table::new(&["NAMESPACE", "POLICY NAME", "ACTION", "SCOPE", "RULES"]);
    for policy in all {
        let dry = if policy["dry_run"] == true { " (dry run)" } else { "" };
        table.row([
            text(&policy["name"]["namespace"]),
            text(&policy["name"]["name"]),
            format!("{}{dry}", text(&policy["action"])),
            text(&policy["scope"]),
            list(&policy["rules"]).len().to_string(),
        ]);
    }
    table.sort();
    table
}

/// CERTIFICATE NAME, TYPE, STATUS, VALID CERT, SERIAL NUMBER, NOT AFTER, NOT BEFORE; PROBLEM.
pub(super) fn certificates<'a>(all: impl Iterator<Item = &'a Value>, now: u64) -> Table {
    let mut table = Table::new(&[
        "CERTIFICATE NAME",
        "TYPE",
        "STATUS",
        "VALID CERT",
        "SERIAL NUMBER",
        "NOT AFTER",
        "NOT BEFORE",
        "PROBLEM",
    ]);
    for identity in all {
        let certificate = &identity["certificate"];
        let time = |name: &str| certificate[name].as_u64();
        let valid = time("not_before").is_some_and(|from| from <= now)
            && time("not_after").is_some_and(|until| now <= until);
        let moment = |name: &str| {
            let moment = time(name).map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
            moment.map_or_else(String::new, |moment| Rfc3339(moment).to_string())
        };
        table.row([
            text(&identity["identity"]),
            "Leaf".to_owned(),
            text(&identity["state"]),
            if certificate.is_null() { String::new() } else { valid.to_string() },
            text(&certificate["serial"]),
            moment("not_after"),
            moment("not_before"),
            text(&identity["last_error"]),
        ]);
    }
    table
}

/// WORKLOAD, DIRECTION, LOCAL, REMOTE, REMOTE TARGET, PROTOCOL; AGE, SENT, RECEIVED, PEER IDENTITY, POLICY.
pub(super) fn connections<'a>(all: impl Iterator<Item = &'a Value>) -> Table {
    let mut table = Table::new(&[
        "WORKLOAD",
        "DIRECTION",
        "LOCAL",
        "REMOTE",
        "REMOTE TARGET",
        "PROTOCOL",
        "AGE",
        "SENT",
        "RECEIVED",
        "PEER IDENTITY",
        "POLICY",
    ]);
    for connection in all {
        let (source, destination) = (&connection["source"], &connection["destination"]);
        let outbound = connection["direction"] == "outbound";
        let (own, peer) = if outbound { (source, destination) } else { (destination, source) };
        let target = if outbound {
            let service = text(&connection["service"]);
            if service.is_empty() { text(&peer["workload"]) } else { service }
        } else {
            text(&peer["workload"])
        };
        let remote = if outbound && !connection["tunnel"].is_null() {
            &connection["tunnel"]
        } else {
            &peer["address"]
        };
        table.row([
            text(&own["workload"]),
            text(&connection["direction"]),
            text(&own["address"]),
            text(remote),
            target,
            protocol(&text(&connection["path"])).to_owned(),
            age(connection["age_seconds"].as_f64().unwrap_or_default()),
            text(&connection["bytes_sent"]),
            text(&connection["bytes_received"]),
            who(peer),
            policy(connection),
        ]);
    }
    table.sort();
    table
}

/// TIME, DIRECTION, SOURCE, SOURCE IDENTITY, DESTINATION, ADDRESS, POLICY, REASON; the last one last.
pub(super) fn denials<'a>(all: impl Iterator<Item = &'a Value>) -> Table {
    let mut table = Table::new(&[
        "TIME",
        "DIRECTION",
        "SOURCE",
        "SOURCE IDENTITY",
        "DESTINATION",
        "ADDRESS",
        "POLICY",
        "REASON",
    ]);
    for denial in all {
        let (source, destination) = (&denial["source"], &denial["destination"]);
        let from = match text(&source["workload"]) {
            name if name.is_empty() => text(&source["address"]),
            name => name,
        };
        table.row([
            text(&denial["time"]),
            text(&denial["direction"]),
            from,
            who(source),
            text(&destination["workload"]),
            text(&destination["address"]),
            policy(denial),
            text(&denial["reason"]),
        ]);
    }
    table
}

/// The policy that decided, and which rule of it.
pub(super) fn policy(decided: &Value) -> String {
    match &decided["rule"] {
        Value::Number(rule) => format!("{} rule {rule}", text(&decided["policy"])),
        _ => text(&decided["policy"]),
    }
}

/// Who an end is by its identity; without one, what it is known to be.
fn who(end: &Value) -> String {
    match text(&end["identity"]) {
        identity if identity.is_empty() => text(&end["class"]),
        identity => identity,
    }
}

/// The items of a list; none of anything else.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text or number as it is; nothing of anything else.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn join(items: &Value, each: impl Fn(&Value) -> String) -> String {
    list(items).iter().map(each).collect::<Vec<_>>().join(",")
}

fn waypoint(waypoint: &Value) -> String {
    match text(&waypoint["name"]) {
        name if name.is_empty() => "None".to_owned(),
        name if waypoint["address"].is_null() => format!("{name} (not ready)"),
        name => name,
    }
}

fn protocol(path: &str) -> &str {
    match path {
        "hbone" => "HBONE",
        "node-local" => "NODE-LOCAL",
        _ => "TCP",
    }
}

/// As long as is of interest: `4.2s`, `12m`, `3h`, `2d`.
fn age(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.1}s"),
        ..3600.0 => format!("{:.0}m", seconds / 60.0),
        ..86_400.0 => format!("{:.0}h", seconds / 3600.0),
        _ => format!("{:.0}d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_workload_is_tunnelled_to_once_its_node_captures_it() {
        let workload = |name: &str, capture: &str| {
            json!({
                "name": name, "addresses": ["10.0.0.1", "fd00::1"], "node": { "name": "node1" },
                "capture": capture, "profile": { "namespace": "shop", "protocol": "Hbone", "waypoint": null },
            })
        };
        let all = [workload("b", "Pending"), workload("a", "Enabled")];
        assert_eq!(
            workloads(all.iter()).render(),
            "NAMESPACE  POD NAME  ADDRESS           NODE   WAYPOINT  PROTOCOL  CAPTURE\n\
             shop       a         10.0.0.1,fd00::1  node1  None      HBONE     enabled\n\
             shop       b         10.0.0.1,fd00::1  node1  None      TCP       pending\n"
        );
    }

    #[test]
    fn only_ready_endpoints_count_as_such() {
        let service = json!({
            "key": { "namespace": "shop" }, "name": "cart", "addresses": [{ "network": "", "ip": "10.1.0.1" }],
            "endpoints": [{ "ready": true }, { "ready": false }],
            "waypoint": { "name": "gate", "address": null },
        });
        assert_eq!(
            services([service].iter()).render(),
            "NAMESPACE  SERVICE NAME  SERVICE VIP  WAYPOINT          ENDPOINTS\n\
             shop       cart          10.1.0.1     gate (not ready)  1/2\n"
        );
    }

    #[test]
    fn a_certificate_is_valid_within_its_life_and_absent_before_it_came() {
        let all = [
            json!({
                "identity": "spiffe://a/ns/b/sa/c", "state": "available", "last_error": null,
                "certificate": { "serial": "2a", "not_before": 1_772_323_199, "not_after": 1_772_323_299 },
            }),
            json!({ "identity": "spiffe://a/ns/b/sa/d", "state": "failed", "last_error": "no", "certificate": null }),
        ];
        let lines = |now| certificates(all.iter(), now).render();
        let shown = lines(1_772_323_200);
        let rows: Vec<Vec<&str>> =
            shown.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows[0],
            [
                "spiffe://a/ns/b/sa/c",
                "Leaf",
                "available",
                "true",
                "2a",
                "2026-03-01T00:01:39.000000Z",
                "2026-02-28T23:59:59.000000Z",
                "-"
            ]
        );
        assert_eq!(rows[1], ["spiffe://a/ns/b/sa/d", "Leaf", "failed", "-", "-", "-", "-", "no"]);
        assert!(lines(1_772_323_300).lines().nth(1).unwrap().contains(" false "));
    }

    #[test]
    fn a_connection_is_told_from_the_side_of_this_node() {
        let connection = json!({
            "direction": "inbound", "path": "hbone",
            "source": { "address": "10.0.0.1:0", "workload": "shop/cart", "identity": "spiffe://a/ns/shop/sa/cart" },
            "destination": { "address": "10.0.0.2:80", "workload": "bank/ledger" },
            "policy": "bank/allow", "rule": 2, "age_seconds": 90.0, "bytes_sent": 5, "bytes_received": 7,
        });
        let shown = connections([connection].iter()).render();
        let row: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            row,
            [
                "bank/ledger",
                "inbound",
                "10.0.0.2:80",
                "10.0.0.1:0",
                "shop/cart",
                "HBONE",
                "2m",
                "5",
                "7",
                "spiffe://a/ns/shop/sa/cart",
                "bank/allow",
                "rule",
                "2"
            ]
        );
    }

    #[test]
    fn a_source_without_an_identity_is_told_by_its_class() {
        let mut connection = json!({
            "direction": "inbound", "path": "passthrough",
            "source": { "address": "10.0.0.1:4711", "class": "ambient.mesh/probe" },
            "destination": { "address": "10.0.0.2:80", "workload": "bank/ledger" },
        });
        let identity = |connection: &Value| {
            let shown = connections([connection].into_iter()).render();
            shown.lines().nth(1).and_then(|row| row.split_whitespace().nth(9).map(str::to_owned))
        };
        assert_eq!(identity(&connection).as_deref(), Some("ambient.mesh/probe"));
        connection["source"]["class"] = Value::Null;
        assert_eq!(identity(&connection).as_deref(), Some("-"));
    }

    #[test]
    fn a_denial_says_who_whom_by_what_and_why() {
        let denial = json!({
            "time": "2026-03-01T00:00:00.000000Z", "direction": "inbound", "path": "passthrough",
            "source": { "address": "10.0.0.1:4711", "class": "ambient.mesh/node" },
            "destination": { "address": "10.0.0.2:80", "workload": "bank/ledger" },
            "policy": "bank/wall", "rule": 1, "reason": "denied",
        });
        assert_eq!(
            denials([denial].iter()).render(),
            "TIME                         DIRECTION  SOURCE         SOURCE IDENTITY    DESTINATION  ADDRESS      POLICY            REASON\n\
             2026-03-01T00:00:00.000000Z  inbound    10.0.0.1:4711  ambient.mesh/node  bank/ledger  10.0.0.2:80  bank/wall rule 1  denied\n"
        );
    }
}
