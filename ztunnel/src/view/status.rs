//! The daemon at a glance.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::rows::{list, policy, text};

/// What there is to say at a glance, out of what the pages say.
pub(super) fn summary(ready: &str, dump: &Value, connections: &Value) -> Value {
    let pods = list(&dump["pods"]);
    let phase = |wanted: &str| pods.iter().filter(|pod| pod["phase"] == wanted).count();
    let states = count(list(&dump["certificates"]), |certificate| text(&certificate["state"]));
    let source = &dump["source"];
    let problems = pods.iter().filter(|pod| !pod["problem"].is_null()).map(|pod| {
        format!("{}/{}: {}", text(&pod["pod"]["namespace"]), text(&pod["pod"]["name"]), text(&pod["problem"]))
    });
    let own = &dump["metrics_pod"];
    let own =
        (!own["problem"].is_null()).then(|| format!("{}: {}", text(&own["pod"]), text(&own["problem"])));
    json!({
        "ready": ready.trim_end(),
        "pods": {
            "captured": phase("captured"), "draining": phase("draining"), "failed": phase("failed"),
            "problems": problems.chain(own).collect::<Vec<_>>(),
        },
        "connections": count(list(connections), |connection| text(&connection["path"])),
        "denied": count(list(&dump["denials"]), denied_by),
        "certificates": states,
        "mesh": {
            "workloads": list(&dump["workloads"]).len(), "services": list(&dump["services"]).len(),
            "policies": list(&dump["policies"]).len(),
        },
        "source": source,
    })
}

/// The same for people.
pub(super) fn render(summary: &Value) -> String {
    let counts = |value: &Value| {
        let counts = value.as_object().into_iter().flatten();
        let counts: Vec<_> = counts
            .filter(|(_, count)| count.is_number())
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
    };
    let mut lines = vec![
        format!("daemon        {}", text(&summary["ready"])),
        format!("pods          {}", counts(&summary["pods"])),
        format!("connections   {}", counts(&summary["connections"])),
        format!("denied lately {}", counts(&summary["denied"])),
        format!("certificates  {}", counts(&summary["certificates"])),
        format!("mesh          {}", counts(&summary["mesh"])),
    ];
    let more = [
        ("pod is not as it should be", &summary["pods"]["problems"]),
        ("broken", &summary["source"]["problems"]),
        ("not to the letter", &summary["source"]["notes"]),
        ("not in force", &summary["source"]["ignored"]),
    ];
    for (what, items) in more {
        lines.extend(list(items).iter().map(|item| format!("{what}: {}", text(item))));
    }
    lines.join("\n") + "\n"
}

/// How much there is to mend; a daemon that is not ready is one thing. What is ignored is not: it may be meant for
/// somebody else.
pub(super) fn findings(summary: &Value) -> usize {
    let source = &summary["source"];
    let lists = [&summary["pods"]["problems"], &source["problems"], &source["notes"]];
    usize::from(text(&summary["ready"]) != "ready")
        + lists.into_iter().map(|it| list(it).len()).sum::<usize>()
}

fn denied_by(denial: &Value) -> String {
    match policy(denial) {
        name if name.is_empty() => "otherwise".to_owned(),
        name => format!("by {name}"),
    }
}

fn count(items: &[Value], name: impl Fn(&Value) -> String) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(name(item)).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_names_what_is_wrong() {
        let dump = json!({
            "pods": [
                { "phase": "captured", "problem": null, "pod": { "namespace": "shop", "name": "cart" } },
                { "phase": "failed", "problem": "no netns", "pod": { "namespace": "shop", "name": "till" } },
            ],
            "certificates": [{ "state": "available" }, { "state": "available" }],
            "denials": [{ "policy": "shop/wall", "rule": 0 }, { "policy": "shop/wall", "rule": 0 }, {}],
            "workloads": [1, 2, 3], "services": [], "policies": [1],
            "source": { "problems": [], "notes": ["policy: port is not seen"], "ignored": ["Sidecar shop/x"] },
        });
        assert_eq!(findings(&summary("ready\n", &dump, &json!([]))), 2);
        assert_eq!(findings(&summary("waiting for: enrolment\n", &dump, &json!([]))), 3);
        let connections = json!([{ "path": "hbone" }, { "path": "direct" }, { "path": "hbone" }]);
        assert_eq!(
            render(&summary("ready\n", &dump, &connections)),
            "daemon        ready\n\
             pods          1 captured, 0 draining, 1 failed\n\
             connections   1 direct, 2 hbone\n\
             denied lately 2 by shop/wall rule 0, 1 otherwise\n\
             certificates  2 available\n\
             mesh          1 policies, 0 services, 3 workloads\n\
             pod is not as it should be: shop/till: no netns\n\
             not to the letter: policy: port is not seen\n\
             not in force: Sidecar shop/x\n"
        );
    }
}
