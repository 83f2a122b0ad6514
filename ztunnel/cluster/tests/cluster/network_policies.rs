//! NetworkPolicies on the ports that tunnels lead to.

use std::path::Path;

use cluster::{Reported, Settings};
use mesh::Snapshot;

use crate::mesh_of::{Mesh, namespace, object, pod, settings};

/// A guarded pod, and pods that may want to reach it.
fn pods() -> String {
    let ports = "spec:\n  containers: [{ports: [{name: web, containerPort: 8080}]}]\n";
    namespace("shop", "istio.io/dataplane-mode: ambient")
        + &namespace("bank", "tier: back")
        + &pod("shop/cart", "10.0.0.1", "app: cart", ports)
        + &pod("shop/web", "10.0.0.2", "app: web", "")
        + &pod("bank/teller", "10.0.0.3", "app: teller", "")
        + &pod("nowhere/lost", "10.0.0.4", "app: teller", "")
}

fn enforced(text: &str) -> Mesh {
    let (objects, problems) = cluster::read(Path::new("test.yaml"), text);
    assert_eq!(problems, [], "{text}");
    let settings = Settings { network_policies: true, ..settings() };
    Mesh::of(cluster::translate(&objects, &Reported::default(), &settings))
}

fn policy(name: &str, spec: &str) -> String {
    object("networking.k8s.io/v1", "NetworkPolicy", name, spec)
}

/// Whether a pod, or an address outside, may reach a port of shop/cart.
fn reaches(mesh: &Mesh, source: &str, port: u16) -> bool {
    let snapshot: &Snapshot = &mesh.snapshot;
    let local = mesh.pod("shop/cart");
    match source.parse() {
        Ok(ip) => snapshot.admitted_by_network(local, None, ip, port).is_ok(),
        Err(_) => {
            let source = mesh.pod(source);
            snapshot.admitted_by_network(local, Some(source), source.addresses[0], port).is_ok()
        }
    }
}

#[test]
fn a_rule_lets_in_whom_and_where_it_says() {
    const CART: &str = "podSelector: {matchLabels: {app: cart}}";
    for (rules, who) in [
        ("ingress: []", &[][..]),
        ("ingress: [{}]", &["shop/web:1", "bank/teller:1", "nowhere/lost:1", "192.0.2.1:1"]),
        ("ingress: [{ports: [{port: 80}]}]", &["shop/web:80", "192.0.2.1:80"]),
        ("ingress: [{ports: [{port: 80, endPort: 82}]}]", &["shop/web:80", "shop/web:82"]),
        ("ingress: [{ports: [{port: web}]}]", &["shop/web:8080", "bank/teller:8080"]),
        ("ingress: [{ports: [{port: other}]}]", &[]),
        ("ingress: [{ports: [{protocol: UDP, port: 80}]}]", &[]),
        (
            "ingress: [{ports: [{protocol: TCP}]}]",
            &["shop/web:1", "bank/teller:1", "nowhere/lost:1", "192.0.2.1:1"],
        ),
        ("ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]", &["shop/web:1"]),
        ("ingress: [{from: [{podSelector: {}}]}]", &["shop/web:1"]),
        ("ingress: [{from: [{namespaceSelector: {}}]}]", &["shop/web:1", "bank/teller:1", "nowhere/lost:1"]),
        ("ingress: [{from: [{namespaceSelector: {matchLabels: {tier: back}}}]}]", &["bank/teller:1"]),
        (
            "ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: nowhere}}}]}]",
            &["nowhere/lost:1"],
        ),
        (
            "ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: teller}}}]}]",
            &["bank/teller:1", "nowhere/lost:1"],
        ),
        (
            "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/29, except: [10.0.0.2/32]}}]}]",
            &["bank/teller:1", "nowhere/lost:1"],
        ),
        ("ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}]}]", &["192.0.2.1:1"]),
        ("ingress: [{from: [{}]}]", &[]),
        ("policyTypes: [Egress]", &["shop/web:1", "bank/teller:1", "nowhere/lost:1", "192.0.2.1:1"]),
    ] {
        let mesh = enforced(&(pods() + &policy("shop/guard", &format!("{{{CART}, {rules}}}"))));
        for source in ["shop/web", "bank/teller", "nowhere/lost", "192.0.2.1"] {
            let ports = who.iter().filter_map(|it| it.rsplit_once(':')).filter(|(name, _)| *name == source);
            for port in ports.map(|(_, port)| port.parse().unwrap()) {
                assert!(reaches(&mesh, source, port), "{source} to {port} by {rules}");
            }
            if !who.iter().any(|it| it.starts_with(source)) {
                assert!(!reaches(&mesh, source, 1) && !reaches(&mesh, source, 9999), "{source} by {rules}");
            }
        }
    }
}

#[test]
fn what_any_policy_lets_in_is_let_in_and_the_refusal_names_all() {
    let two = policy("shop/a", "{ingress: [{ports: [{port: 1}]}]}")
        + &policy("shop/b", "{podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: 2}]}]}")
        + &policy("shop/c", "{podSelector: {matchLabels: {app: web}}, ingress: [{}]}");
    let mesh = enforced(&(pods() + &two));
    assert!(reaches(&mesh, "bank/teller", 1) && reaches(&mesh, "bank/teller", 2));
    let source = mesh.pod("bank/teller");
    let refused =
        mesh.snapshot.admitted_by_network(mesh.pod("shop/cart"), Some(source), source.addresses[0], 3);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "no NetworkPolicy of the pod lets the connection in to port 3: shop/a, shop/b"
    );
}

#[test]
fn the_pods_own_node_and_the_pod_itself_are_always_let_in() {
    let node = "---\napiVersion: v1\nkind: Node\nmetadata: {name: node-1}\n\
                status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}\n";
    let cart = pod("shop/cart", "10.0.0.1", "app: cart", "spec: {nodeName: node-1}");
    let mesh = enforced(&(cart + node + &policy("shop/guard", "{}")));
    assert!(reaches(&mesh, "172.18.0.2", 1) && reaches(&mesh, "10.0.0.1", 1));
    assert!(!reaches(&mesh, "172.18.0.3", 1));
}

#[test]
fn nothing_is_enforced_unless_it_is_asked_for() {
    let mesh = crate::mesh_of::mesh_of(&(pods() + &policy("shop/guard", "{ingress: []}")));
    assert!(reaches(&mesh, "bank/teller", 1));
    assert_eq!(mesh.snapshot.network_policies().count(), 0);
}

#[test]
fn a_policy_that_keeps_tunnels_out_is_named() {
    let cart = namespace("shop", "istio.io/dataplane-mode: ambient")
        + &pod("shop/cart", "10.0.0.1", "app: cart", "spec: {nodeName: node-1}")
        + &pod("shop/far", "10.0.0.2", "app: cart", "spec: {nodeName: node-2}");
    let shut = policy("shop/guard", "{ingress: [{ports: [{port: 8080}]}]}");
    let mesh = crate::mesh_of::mesh_of(&(cart.clone() + &shut));
    let note = "NetworkPolicy shop/guard: pod cart cannot be reached by tunnel: \
                no NetworkPolicy that selects it lets port 15008 in";
    assert_eq!(mesh.notes(), [note]);
    for other in ["{ingress: [{ports: [{port: 15008}]}]}", "{ingress: [{from: [{podSelector: {}}]}]}"] {
        let mesh = crate::mesh_of::mesh_of(&(cart.clone() + &shut + &policy("shop/more", other)));
        assert_eq!(mesh.notes(), [""; 0], "{other}");
    }
}

/// Bytes between two pods of a node are out of the network's sight where no policy selects either.
#[test]
fn whatever_a_policy_is_about_the_network_is_to_see_the_pods_that_it_selects() {
    const CART: &str = "podSelector: {matchLabels: {app: cart}}";
    let cluster_wide = |kind: &str| {
        format!(
            "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: {kind}\nmetadata: {{name: all}}\n\
             spec: {{subject: {{namespaces: {{}}}}}}\n"
        )
    };
    for (policy, cart, web) in [
        (policy("shop/p", &format!("{{{CART}}}")), true, false),
        (policy("shop/p", &format!("{{{CART}, policyTypes: [Ingress], ingress: [{{}}]}}")), true, false),
        (policy("shop/p", &format!("{{{CART}, policyTypes: [Egress]}}")), true, false),
        (policy("shop/p", &format!("{{{CART}, egress: [{{to: [{{podSelector: {{}}}}]}}]}}")), true, false),
        (policy("bank/p", &format!("{{{CART}}}")), false, false),
        (policy("shop/p", "{policyTypes: [Egress]}"), true, true),
        (cluster_wide("AdminNetworkPolicy"), true, true),
        (cluster_wide("BaselineAdminNetworkPolicy"), true, true),
        (cluster_wide("ClusterNetworkPolicy"), true, true),
        (cluster_wide("SomethingElse"), false, false),
    ] {
        for mesh in [crate::mesh_of::mesh_of(&(pods() + &policy)), enforced(&(pods() + &policy))] {
            let selected = |pod: &str| mesh.pod(pod).profile.network_policy_selected;
            assert_eq!((selected("shop/cart"), selected("shop/web")), (cart, web), "{policy}");
        }
    }
}
