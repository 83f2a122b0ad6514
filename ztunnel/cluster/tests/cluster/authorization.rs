//! AuthorizationPolicies: what of them is decided at the node.

use std::net::SocketAddr;
use std::path::Path;

use authz::{Action, Attributes, PolicyName, Scope};
use cluster::objects::AuthorizationPolicy;
use cluster::{Reported, translate};
use identity::SpiffeId;
use serde_json::json;

use crate::mesh_of::{Mesh, mesh_of, object, pod, settings};

pub(crate) fn policy(name: &str, spec: &str) -> String {
    object("security.istio.io/v1", "AuthorizationPolicy", name, spec)
}

/// Whether the pod shop/cart lets `peer` (`namespace/account`, or nobody) in from 10.9.0.1 to a port.
pub(crate) fn admits(mesh: &Mesh, peer: &str, port: u16) -> bool {
    let identity: Option<SpiffeId> = peer.split_once('/').map(|(namespace, account)| {
        format!("spiffe://cluster.local/ns/{namespace}/sa/{account}").parse().unwrap()
    });
    let attributes = Attributes {
        source: identity.as_ref(),
        class: None,
        source_ip: "10.9.0.1".parse().unwrap(),
        destination: SocketAddr::new("10.0.0.1".parse().unwrap(), port),
    };
    mesh.snapshot.policies_for(mesh.pod("shop/cart")).evaluate(&attributes).is_ok()
}

pub(crate) fn with(policies: &str) -> Mesh {
    mesh_of(&(pod("shop/cart", "10.0.0.1", "app: cart", "") + policies))
}

#[test]
fn scope_is_told_by_namespace_and_selector() {
    for (name, spec, scope, listed) in [
        ("shop/p", "{rules: [{}]}", Scope::Namespace, &[][..]),
        ("istio-system/p", "{rules: [{}]}", Scope::Global, &[]),
        ("shop/p", "{selector: {matchLabels: {app: cart}}}", Scope::WorkloadSelector, &["shop/p"]),
        (
            "istio-system/p",
            "{selector: {matchLabels: {app: cart}}}",
            Scope::WorkloadSelector,
            &["istio-system/p"],
        ),
        ("other/p", "{selector: {matchLabels: {app: cart}}}", Scope::WorkloadSelector, &[]),
        ("shop/p", "{selector: {matchLabels: {app: web}}}", Scope::WorkloadSelector, &[]),
        ("shop/p", "{selector: {}}", Scope::Namespace, &[]),
    ] {
        let mesh = with(&policy(name, spec));
        let (namespace, own) = name.split_once('/').unwrap();
        let known = mesh.snapshot.policies().policy(&PolicyName::new(namespace, own)).unwrap();
        assert_eq!(known.scope, scope, "{name} {spec}");
        let policies: Vec<_> = mesh.pod("shop/cart").profile.policies.iter().map(|it| &**it).collect();
        assert_eq!(policies, listed, "{name} {spec}");
    }
}

#[test]
fn connections_are_decided_as_the_rules_say() {
    const FRIEND: &str = "shop/friend";
    for (rule, peer, port, matches) in [
        ("{}", "", 80, true),
        ("{from: [{source: {principals: [cluster.local/ns/shop/sa/friend]}}]}", FRIEND, 80, true),
        (
            "{from: [{source: {principals: [\"spiffe://cluster.local/ns/shop/sa/friend\"]}}]}",
            FRIEND,
            80,
            true,
        ),
        ("{from: [{source: {principals: [\"*/sa/friend\"]}}]}", FRIEND, 80, true),
        ("{from: [{source: {principals: [\"*\"]}}]}", "", 80, false),
        ("{from: [{source: {notPrincipals: [\"*\"]}}]}", "", 80, true),
        ("{from: [{source: {namespaces: [shop]}}]}", FRIEND, 80, true),
        ("{from: [{source: {namespaces: [other]}}]}", FRIEND, 80, false),
        ("{from: [{source: {notNamespaces: [shop]}}]}", FRIEND, 80, false),
        ("{from: [{source: {serviceAccounts: [friend]}}]}", FRIEND, 80, true),
        ("{from: [{source: {serviceAccounts: [other/friend]}}]}", FRIEND, 80, false),
        ("{from: [{source: {notServiceAccounts: [shop/friend]}}]}", FRIEND, 80, false),
        ("{from: [{source: {ipBlocks: [10.9.0.0/16]}}]}", "", 80, true),
        ("{from: [{source: {ipBlocks: [10.9.0.1]}}]}", "", 80, true),
        ("{from: [{source: {notIpBlocks: [10.9.0.1]}}]}", "", 80, false),
        ("{to: [{operation: {ports: [\"80\"]}}]}", "", 80, true),
        ("{to: [{operation: {ports: [\"80\"]}}]}", "", 81, false),
        ("{to: [{operation: {notPorts: [\"80\"]}}]}", "", 80, false),
        ("{to: [{operation: {ports: [\"80\"]}}, {operation: {ports: [\"81\"]}}]}", "", 81, true),
        ("{from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: [\"80\"]}}]}", FRIEND, 81, false),
        ("{when: [{key: source.namespace, values: [shop]}]}", FRIEND, 80, true),
        ("{when: [{key: source.principal, notValues: [\"*/friend\"]}]}", FRIEND, 80, false),
        (
            "{when: [{key: source.ip, values: [10.9.0.1]}, {key: destination.port, values: [\"80\"]}]}",
            "",
            80,
            true,
        ),
        (
            "{when: [{key: source.ip, values: [10.9.0.1]}, {key: destination.port, values: [\"80\"]}]}",
            "",
            81,
            false,
        ),
        ("{when: [{key: destination.ip, notValues: [10.0.0.1]}]}", "", 80, false),
    ] {
        let allow = with(&policy("shop/p", &format!("{{rules: [{rule}]}}")));
        assert_eq!(admits(&allow, peer, port), matches, "ALLOW {rule}");
        let deny = with(&policy("shop/p", &format!("{{action: DENY, rules: [{rule}]}}")));
        assert_eq!(admits(&deny, peer, port), !matches, "DENY {rule}");
        assert_eq!((allow.notes(), deny.notes()), (vec![], vec![]), "{rule}");
    }
}

#[test]
fn an_allow_policy_without_rules_allows_nothing() {
    assert!(!admits(&with(&policy("shop/p", "{}")), "shop/friend", 80));
    assert!(admits(&with(&policy("shop/p", "{action: DENY}")), "shop/friend", 80));
}

#[test]
fn what_the_node_cannot_enforce_is_said() {
    for (spec, note) in [
        (
            "{action: CUSTOM, provider: {name: x}, rules: [{}]}",
            "not enforced: action CUSTOM is not supported",
        ),
        ("{targetRefs: [{kind: Service, name: cart}]}", "not enforced at the node: it targets a waypoint"),
        ("{targetRef: {kind: Gateway, name: w}}", "not enforced at the node: it targets a waypoint"),
    ] {
        let mesh = with(&policy("shop/p", spec));
        assert_eq!(mesh.notes(), [format!("AuthorizationPolicy shop/p: {note}")], "{spec}");
        assert!(mesh.snapshot.policies().policy(&PolicyName::new("shop", "p")).is_none(), "{spec}");
    }
}

/// An API server of a later release may have actions that no manifest of ours may name.
#[test]
fn an_action_that_nobody_knows_denies_all_that_its_policy_selects() {
    let pods = pod("shop/cart", "10.0.0.1", "app: cart", "") + &pod("shop/web", "10.0.0.2", "app: web", "");
    let (mut objects, problems) = cluster::read(Path::new("test.yaml"), &pods);
    assert_eq!(problems, []);
    let policy = json!({
        "metadata": { "namespace": "shop", "name": "p" },
        "spec": {
            "action": "FORBID",
            "selector": { "matchLabels": { "app": "cart" } },
            "rules": [{ "from": [{ "source": { "principals": ["nobody"] } }] }],
        },
    });
    let policy: AuthorizationPolicy = serde_json::from_value(policy).unwrap();
    objects.authorization_policies.push(policy.into());
    let mesh = Mesh::of(translate(&objects, &Reported::default(), &settings()));
    assert!(!admits(&mesh, "shop/friend", 80) && !admits(&mesh, "", 80));
    let friend = "spiffe://cluster.local/ns/shop/sa/friend".parse().unwrap();
    let to_web = Attributes {
        source: Some(&friend),
        class: None,
        source_ip: "10.9.0.1".parse().unwrap(),
        destination: "10.0.0.2:80".parse().unwrap(),
    };
    assert!(mesh.snapshot.policies_for(mesh.pod("shop/web")).evaluate(&to_web).is_ok());
    let note = "AuthorizationPolicy shop/p: action is not known: all that the policy selects is denied";
    assert_eq!(mesh.notes(), [note]);
}

#[test]
fn an_audit_policy_only_reports() {
    let audit = with(&policy("shop/p", "{action: AUDIT, rules: [{}]}"));
    let known = audit.snapshot.policies().policy(&PolicyName::new("shop", "p")).unwrap().clone();
    assert_eq!((known.action, known.dry_run), (Action::Audit, false));
    assert!(admits(&audit, "", 80));
}

#[test]
fn a_policy_is_dry_run_in_all_words_for_yes() {
    for (value, is_dry_run) in [
        ("true", true),
        ("True", true),
        ("TRUE", true),
        ("t", true),
        ("1", true),
        ("false", false),
        ("0", false),
        ("", false),
        ("yes", false),
    ] {
        let annotated = format!("name: p, annotations: {{istio.io/dry-run: \"{value}\"}}");
        let wall = policy("shop/p", "{action: DENY, rules: [{}]}").replace("name: p", &annotated);
        let mesh = with(&wall);
        assert_eq!(admits(&mesh, "", 80), is_dry_run, "{value}");
        let note = format!("AuthorizationPolicy shop/p: istio.io/dry-run: {value:?} is ignored");
        assert_eq!(mesh.notes(), if value == "yes" { vec![note] } else { vec![] });
    }
}
