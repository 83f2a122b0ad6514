//! Pods as workloads.

use std::sync::Arc;

use mesh::WorkloadKind;

use crate::mesh_of::{mesh_of, object, pod};

#[test]
fn a_pod_without_an_address_or_an_end_of_life_is_no_workload() {
    for (status, exists) in [
        ("status: {podIP: 10.0.0.1}", true),
        ("status: {}", false),
        ("status: {podIP: \"\"}", false),
        ("status: {podIP: 10.0.0.1, phase: Pending}", true),
        ("status: {podIP: 10.0.0.1, phase: Succeeded}", false),
        ("status: {podIP: 10.0.0.1, phase: Failed}", false),
        ("status: {podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]}", true),
    ] {
        let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: cart}}\n{status}");
        let found = mesh_of(&text).find("Kubernetes//Pod/default/cart").is_some();
        assert_eq!(found, exists, "{status}");
    }
}

#[test]
fn readiness_comes_from_the_condition_or_from_what_stands_for_it() {
    for (status, healthy) in [
        ("", true),
        ("phase: Running", true),
        ("phase: Pending", false),
        ("conditions: [{type: Ready, status: \"True\"}]", true),
        ("conditions: [{type: Ready, status: \"False\"}]", false),
        ("phase: Running, conditions: [{type: Ready, status: Unknown}]", false),
        ("conditions: [{type: Initialized, status: \"False\"}]", true),
    ] {
        let text = pod("shop/cart", "10.0.0.1", "", "").replace(
            "status: {",
            &format!("status: {{{status}{}", if status.is_empty() { "" } else { ", " }),
        );
        assert_eq!(mesh_of(&text).pod("shop/cart").healthy, healthy, "{status}");
    }
}

#[test]
fn a_deleted_pod_terminates_and_is_not_healthy() {
    let text = pod("shop/cart", "10.0.0.1", "", "")
        .replace("  name: cart", "  name: cart\n  deletionTimestamp: 2026-01-01T00:00:00Z");
    let mesh = mesh_of(&text);
    assert!(mesh.pod("shop/cart").terminating && !mesh.pod("shop/cart").healthy);
}

#[test]
fn a_pod_without_a_uid_has_one_of_its_name() {
    let uid = |text: &str| mesh_of(text).pod("shop/cart").pod_uid.clone().unwrap().0;
    let plain = pod("shop/cart", "10.0.0.1", "", "");
    assert_eq!(uid(&plain), uid(&pod("shop/cart", "10.0.0.2", "app: x", "")));
    assert_eq!(&*uid(&plain.replace("  name: cart", "  name: cart\n  uid: a-1")), "a-1");
    let unsafe_one = plain.replace("  name: cart", "  name: cart\n  uid: ../../etc");
    assert_eq!(uid(&unsafe_one), uid(&plain));
}

#[test]
fn owners_and_labels_name_a_workload() {
    let text = pod("shop/cart-7d9f-x", "10.0.0.1", "app: cart, version: v2, pod-template-hash: 7d9f", "")
        .replace(
            "status:",
            "  ownerReferences: [{kind: ReplicaSet, name: cart-7d9f, controller: true}]\nstatus:",
        );
    let mesh = mesh_of(&text);
    let profile = &mesh.pod("shop/cart-7d9f-x").profile;
    assert_eq!(profile.kind, WorkloadKind::Deployment);
    let names = [&profile.workload_name, &profile.canonical_name, &profile.canonical_revision, &profile.app];
    assert_eq!(names.map(|name| &**name), ["cart", "cart", "v2", "cart"]);
    assert_eq!(&*profile.service_account, "default");
}

#[test]
fn pods_that_are_alike_share_one_profile() {
    let text = pod("shop/a", "10.0.0.1", "app: cart", "") + &pod("shop/b", "10.0.0.2", "app: cart", "");
    let mesh =
        mesh_of(&text.replace(
            "status:",
            "  ownerReferences: [{kind: StatefulSet, name: s, controller: true}]\nstatus:",
        ));
    assert!(Arc::ptr_eq(&mesh.pod("shop/a").profile, &mesh.pod("shop/b").profile));
}

#[test]
fn pods_that_nobody_made_are_known_by_their_own_names_and_share_a_profile() {
    let text = pod("shop/a", "10.0.0.1", "app: cart", "") + &pod("shop/b", "10.0.0.2", "app: cart", "");
    let mesh = mesh_of(&text);
    let (a, b) = (mesh.pod("shop/a"), mesh.pod("shop/b"));
    assert!(Arc::ptr_eq(&a.profile, &b.profile));
    assert_eq!((&**a.telemetry_name(), &**b.telemetry_name()), ("a", "b"));
}

#[test]
fn a_pod_stands_where_its_node_stands() {
    let text = "
apiVersion: v1
kind: Node
metadata:
  name: node-1
  labels:
    topology.kubernetes.io/region: eu
    topology.kubernetes.io/zone: eu-1
    topology.istio.io/subzone: rack-7
status:
  addresses:
  - {type: InternalIP, address: 192.168.0.1}
  - {type: InternalIP, address: \"fd00::1\"}
  - {type: Hostname, address: node-1}
"
    .to_owned()
        + &pod("shop/cart", "10.0.0.1", "", "spec: {nodeName: node-1}")
        + &pod("shop/web", "10.0.0.2", "", "spec: {nodeName: node-2}")
        + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: agent}\nspec: {hostNetwork: true, nodeName: node-1}";
    let mesh = mesh_of(&text);
    let node = &mesh.pod("shop/cart").node;
    let locality = &node.locality;
    assert_eq!(
        [&*node.name, &locality.region, &locality.zone, &locality.subzone],
        ["node-1", "eu", "eu-1", "rack-7"]
    );
    assert_eq!(node.addresses.len(), 2);
    assert_eq!(&*mesh.pod("shop/web").node.name, "node-2");
    // A manifest need not say what the node's addresses say already.
    assert_eq!(mesh.pod("default/agent").addresses, node.addresses);
    assert!(mesh.snapshot.node_by_address("192.168.0.1".parse().unwrap()).is_some());
}

#[test]
fn network_policies_are_told_apart_by_the_pods_that_they_select() {
    let pods =
        pod("shop/cart", "10.0.0.1", "app: cart", "") + &pod("other/cart", "10.0.0.2", "app: cart", "");
    for (selector, shop, other) in [
        ("{matchLabels: {app: cart}}", true, false),
        ("{matchLabels: {app: web}}", false, false),
        ("{}", true, false),
        ("{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}", true, false),
        ("{matchLabels: {app: cart}, matchExpressions: [{key: tier, operator: Exists}]}", false, false),
    ] {
        let policy = object(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "shop/wall",
            &format!("{{podSelector: {selector}}}"),
        );
        let mesh = mesh_of(&(pods.clone() + &policy));
        let selected = |name: &str| mesh.pod(name).profile.network_policy_selected;
        assert_eq!((selected("shop/cart"), selected("other/cart")), (shop, other), "{selector}");
    }
}
