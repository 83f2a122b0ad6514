//! What pods wish of their capture, which is whoever makes them, and what their operators allow of it.

use crate::local::annotated;
use crate::mesh_of::{mesh_of, namespace, object};

const BYPASS: &str = "ambient.istio.io/bypass-inbound-capture: \"true\"";
const LEAVE: &str = "ambient.mesh/allow-exclusions: \"true\"";

/// Whether the pod's inbound plaintext is captured, and what is said of its wish that it be not.
fn bypassed(shop: &str, policies: &str) -> (bool, Vec<String>) {
    let mesh = mesh_of(&(namespace("shop", shop) + &annotated(BYPASS, "app: cart") + policies));
    (mesh.local("shop/cart").capture.inbound, mesh.notes())
}

fn refused(why: &str) -> (bool, Vec<String>) {
    let pod = "Pod shop/cart: ambient.istio.io/bypass-inbound-capture is not honoured: ";
    (true, vec![format!("{pod}{why}")])
}

#[test]
fn a_bypass_needs_the_namespace_s_leave() {
    let why =
        "namespace shop does not allow exclusions: it takes ambient.mesh/allow-exclusions: \"true\" on it";
    assert_eq!(bypassed("", ""), refused(why));
    assert_eq!(bypassed("ambient.mesh/allow-exclusions: \"false\"", ""), refused(why));
    assert_eq!(bypassed(LEAVE, ""), (false, vec![]));
    let no_wish = "ambient.istio.io/bypass-inbound-capture: \"false\"";
    let mesh = mesh_of(&(namespace("shop", "") + &annotated(no_wish, "app: cart")));
    assert_eq!((mesh.local("shop/cart").capture.inbound, mesh.notes()), (true, vec![]));
}

#[test]
fn a_bypass_opens_no_pod_that_policy_guards() {
    const STRICT: &str = "STRICT mutual TLS applies: it takes a PeerAuthentication that selects the pod and is PERMISSIVE at all ports";
    const DENY: &str = "DENY policy shop/guard applies: it takes one that selects other pods";
    const ALLOW: &str =
        "ALLOW policy shop/guard applies, and would not be asked: it takes one that allows everybody";
    let authentication = |name, spec| object("security.istio.io/v1", "PeerAuthentication", name, spec);
    let authorization = |name, spec| object("security.istio.io/v1", "AuthorizationPolicy", name, spec);
    let own = "{selector: {matchLabels: {app: cart}}, mtls: {mode: PERMISSIVE}}";
    let at_a_port = "{selector: {matchLabels: {app: cart}}, portLevelMtls: {80: {mode: STRICT}}}";
    let of_others = "{action: DENY, selector: {matchLabels: {app: web}}, rules: [{}]}";
    let of_a_port = "{action: DENY, rules: [{to: [{operation: {ports: [\"80\"]}}]}]}";
    let to_a_port = "{rules: [{to: [{operation: {ports: [\"80\"]}}]}]}";
    for (policy, why) in [
        (authentication("shop/all", "{mtls: {mode: STRICT}}"), Some(STRICT)),
        (authentication("istio-system/all", "{mtls: {mode: STRICT}}"), Some(STRICT)),
        (
            authentication("istio-system/all", "{mtls: {mode: STRICT}}") + &authentication("shop/own", own),
            None,
        ),
        (authentication("shop/port", at_a_port), Some(STRICT)),
        (authentication("other/all", "{mtls: {mode: STRICT}}"), None),
        (authorization("shop/guard", of_a_port), Some(DENY)),
        (authorization("shop/guard", of_others), None),
        (authorization("shop/guard", "{rules: [{from: [{source: {namespaces: [x]}}]}]}"), Some(ALLOW)),
        (authorization("shop/guard", to_a_port), Some(ALLOW)),
        (authorization("shop/guard", "{}"), Some(ALLOW)),
        (authorization("shop/guard", "{rules: [{}]}"), None),
        (authorization("shop/guard", "{action: AUDIT, rules: [{}]}"), None),
    ] {
        let expected = why.map_or((false, vec![]), refused);
        assert_eq!(bypassed(LEAVE, &policy), expected, "{policy}");
    }
}

#[test]
fn a_range_and_all_ports_are_refused_for_the_same_reasons() {
    let wish = "traffic.sidecar.istio.io/excludeInboundIPRanges: 10.9.0.0/16";
    let guard =
        object("security.istio.io/v1", "AuthorizationPolicy", "shop/guard", "{action: DENY, rules: [{}]}");
    let mesh = mesh_of(&(namespace("shop", LEAVE) + &annotated(wish, "") + &guard));
    assert_eq!(
        mesh.notes(),
        [
            "Pod shop/cart: traffic.sidecar.istio.io/excludeInboundIPRanges is not honoured: DENY policy shop/guard \
             applies: it takes one that selects other pods"
        ]
    );
}

#[test]
fn a_pod_keeps_its_queries_from_capture_only_where_nothing_bounds_what_it_reaches() {
    const OFF: &str = "ambient.istio.io/dns-capture: \"false\"";
    let refused = |limit: &str| {
        format!(
            "Pod shop/cart: ambient.istio.io/dns-capture: \"false\" is not honoured: namespace shop has {limit}: deny, \
             which queries would get around; on the namespace it is"
        )
    };
    for (shop, pod, captured, limit) in [
        ("", OFF, Some(false), None),
        ("ambient.mesh/udp: allow, ambient.mesh/egress: log", OFF, Some(false), None),
        ("ambient.mesh/udp: deny", OFF, None, Some("ambient.mesh/udp")),
        ("ambient.mesh/udp: dney", OFF, None, Some("ambient.mesh/udp")),
        ("ambient.mesh/egress: deny", OFF, None, Some("ambient.mesh/egress")),
        ("ambient.mesh/egress: deny, ambient.mesh/udp: deny", OFF, None, Some("ambient.mesh/udp")),
        ("ambient.mesh/udp: deny", "", None, None),
        (&format!("ambient.mesh/udp: deny, {OFF}"), OFF, Some(false), None),
        (&format!("ambient.mesh/udp: deny, {OFF}"), "", Some(false), None),
        (
            &format!("ambient.mesh/udp: deny, {OFF}"),
            "ambient.istio.io/dns-capture: \"true\"",
            Some(true),
            None,
        ),
    ] {
        let mesh = mesh_of(&(namespace("shop", shop) + &annotated(pod, "")));
        assert_eq!(mesh.local("shop/cart").capture.dns, captured, "{shop} {pod}");
        let notes: Vec<_> = mesh.notes().into_iter().filter(|note| note.starts_with("Pod")).collect();
        assert_eq!(notes, limit.map(refused).into_iter().collect::<Vec<_>>(), "{shop} {pod}");
    }
}
