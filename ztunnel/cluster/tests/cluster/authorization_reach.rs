//! AuthorizationPolicies: whose they are, and how those of several scopes decide together.

use crate::authorization::{admits, policy, with};
use crate::mesh_of::Mesh;

fn selecting(mesh: &Mesh) -> Vec<&str> {
    mesh.pod("shop/cart").profile.policies.iter().map(|name| &**name).collect()
}

/// A policy about one peer for each scope: all of the mesh, the namespace, the pod, and the pod from the root namespace.
fn about(action: &str, peers: [&str; 4]) -> String {
    const SELECTOR: &str = "selector: {matchLabels: {app: cart}}, ";
    let scopes =
        [("istio-system/all", ""), ("shop/all", ""), ("shop/own", SELECTOR), ("istio-system/own", SELECTOR)];
    let of = |((name, selector), peer): ((&str, &str), &str)| {
        let from = format!("from: [{{source: {{serviceAccounts: [shop/{peer}]}}}}]");
        let name = format!("{name}-{}", action.to_lowercase());
        policy(&name, &format!("{{{selector}action: {action}, rules: [{{{from}}}]}}"))
    };
    scopes.into_iter().zip(peers).map(of).collect()
}

#[test]
fn a_pod_names_the_policies_that_select_it_in_its_namespace_and_in_the_root() {
    let allow =
        |name: &str, labels: &str| policy(name, &format!("{{selector: {{matchLabels: {{{labels}}}}}}}"));
    let mesh = with(
        &[
            allow("shop/own", "app: cart"),
            allow("shop/other-labels", "app: web"),
            allow("shop/more-labels", "app: cart, tier: back"),
            allow("other/own", "app: cart"),
            allow("istio-system/own", "app: cart"),
            allow("istio-system/other-labels", "app: web"),
            policy("shop/all", "{}"),
            policy("istio-system/all", "{}"),
        ]
        .concat(),
    );
    assert_eq!(selecting(&mesh), ["istio-system/own", "shop/own"]);
}

#[test]
fn an_empty_selector_is_none() {
    for selector in ["{}", "{matchLabels: {}}", "{matchLabels: null}", "null"] {
        let mesh = with(&policy("shop/p", &format!("{{selector: {selector}, action: DENY, rules: [{{}}]}}")));
        assert_eq!(selecting(&mesh), [""; 0], "{selector}");
        assert!(!admits(&mesh, "shop/anna", 80), "{selector}");
    }
}

#[test]
fn an_allow_policy_of_any_scope_allows_and_all_together_refuse_the_rest() {
    let mesh = with(&about("ALLOW", ["anna", "bert", "carl", "dora"]));
    for peer in ["shop/anna", "shop/bert", "shop/carl", "shop/dora"] {
        assert!(admits(&mesh, peer, 80), "{peer}");
    }
    assert!(!admits(&mesh, "shop/emil", 80));
    assert!(!admits(&mesh, "", 80));
}

#[test]
fn a_deny_policy_of_any_scope_beats_the_allow_policies_of_all() {
    let deny = about("DENY", ["anna", "bert", "carl", "dora"]);
    for allowed in ["anna", "bert", "carl", "dora"] {
        let mesh = with(&(about("ALLOW", [allowed; 4]) + &deny));
        assert!(!admits(&mesh, &format!("shop/{allowed}"), 80), "{allowed}");
    }
    assert!(admits(&with(&(about("ALLOW", ["emil"; 4]) + &deny)), "shop/emil", 80));
    assert!(admits(&with(&deny), "", 80), "DENY policies alone refuse nobody else");
}

#[test]
fn a_policy_for_a_waypoint_is_no_policy_of_its_pods() {
    let allow_nobody = policy("shop/p", "{targetRefs: [{kind: Gateway, name: w}], action: ALLOW}");
    assert!(admits(&with(&allow_nobody), "shop/anna", 80));
    let wall = policy("shop/p", "{targetRefs: [{kind: Service, name: cart}], action: DENY, rules: [{}]}");
    assert!(admits(&with(&wall), "shop/anna", 80));
    let no_target = policy("shop/p", "{targetRefs: [], action: DENY, rules: [{}]}");
    assert!(!admits(&with(&no_target), "shop/anna", 80));
}

/// Istio's control planes of several revisions share policies out by a label. Here each node has one daemon, and what is
/// meant for another revision's proxies is meant for the same workloads.
#[test]
fn a_policy_that_names_a_revision_is_in_force() {
    let wall = policy("shop/p", "{action: DENY, rules: [{}]}");
    let wall = wall.replace("name: p", "name: p, labels: {istio.io/rev: canary}");
    assert!(!admits(&with(&wall), "shop/anna", 80));
}
