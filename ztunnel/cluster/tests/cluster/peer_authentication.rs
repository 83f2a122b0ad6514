//! PeerAuthentications: who accepts plaintext.

use std::net::SocketAddr;

use authz::Attributes;

use crate::mesh_of::{Mesh, mesh_of, object, pod};

pub(crate) fn authentication(name: &str, spec: &str) -> String {
    object("security.istio.io/v1beta1", "PeerAuthentication", name, spec)
}

fn older(text: &str) -> String {
    text.replace("metadata: {", "metadata: {creationTimestamp: \"2020-01-01T00:00:00Z\", ")
}

fn newer(text: &str) -> String {
    text.replace("metadata: {", "metadata: {creationTimestamp: \"2021-01-01T00:00:00Z\", ")
}

pub(crate) fn with(policies: &str) -> Mesh {
    mesh_of(&(pod("shop/cart", "10.0.0.1", "app: cart", "") + policies))
}

/// Whether the pod shop/cart accepts plaintext at a port.
pub(crate) fn accepts(mesh: &Mesh, port: u16) -> bool {
    let destination = SocketAddr::new("10.0.0.1".parse().unwrap(), port);
    let attributes =
        Attributes { source: None, class: None, source_ip: "10.9.0.1".parse().unwrap(), destination };
    mesh.snapshot.policies_for(mesh.pod("shop/cart")).evaluate(&attributes).is_ok()
}

pub(crate) fn named(mesh: &Mesh) -> Vec<&str> {
    mesh.pod("shop/cart").profile.policies.iter().map(|name| &**name).collect()
}

#[test]
fn narrower_modes_count_more_and_unset_ones_inherit() {
    const MESH: &str = "istio-system/all";
    const NAMESPACE: &str = "shop/all";
    const WORKLOAD: &str = "shop/cart";
    let mode = |name: &str, mode: &str| {
        let selector = if name == WORKLOAD { "selector: {matchLabels: {app: cart}}, " } else { "" };
        authentication(name, &format!("{{{selector}mtls: {{mode: {mode}}}}}"))
    };
    for (modes, want) in [
        (&[][..], true),
        (&[(MESH, "STRICT")], false),
        (&[(MESH, "STRICT"), (NAMESPACE, "PERMISSIVE")], true),
        (&[(MESH, "STRICT"), (NAMESPACE, "UNSET")], false),
        (&[(MESH, "PERMISSIVE"), (NAMESPACE, "STRICT")], false),
        (&[(NAMESPACE, "STRICT"), (WORKLOAD, "DISABLE")], true),
        (&[(NAMESPACE, "STRICT"), (WORKLOAD, "UNSET")], false),
        (&[(WORKLOAD, "STRICT")], false),
        (&[(MESH, "DISABLE")], true),
        (&[("other/all", "STRICT")], true),
    ] {
        let text: String = modes.iter().map(|(name, value)| mode(name, value)).collect();
        let mesh = with(&text);
        assert_eq!(accepts(&mesh, 80), want, "{modes:?}");
        let strict: &[&str] = if want { &[] } else { &["istio-system/istio_converted_static_strict"] };
        assert_eq!(named(&mesh), strict, "{modes:?}");
    }
}

#[test]
fn single_ports_may_be_otherwise() {
    for (namespace, mode, ports, at_80, at_81) in [
        ("PERMISSIVE", "UNSET", "{80: {mode: STRICT}}", false, true),
        ("STRICT", "UNSET", "{80: {mode: PERMISSIVE}}", true, false),
        ("STRICT", "UNSET", "{\"80\": {mode: DISABLE}}", true, false),
        ("PERMISSIVE", "STRICT", "{80: {mode: PERMISSIVE}}", true, false),
        ("STRICT", "PERMISSIVE", "{80: {mode: STRICT}}", false, true),
        ("STRICT", "PERMISSIVE", "{80: {mode: UNSET}}", true, true),
        ("STRICT", "UNSET", "{80: {mode: STRICT}}", false, false),
        ("STRICT", "STRICT", "{80: {mode: PERMISSIVE}, 81: {mode: DISABLE}}", true, true),
    ] {
        let text = authentication("shop/all", &format!("{{mtls: {{mode: {namespace}}}}}"))
            + &authentication(
                "shop/cart",
                &format!(
                    "{{selector: {{matchLabels: {{app: cart}}}}, mtls: {{mode: {mode}}}, portLevelMtls: {ports}}}"
                ),
            );
        let mesh = with(&text);
        assert_eq!((accepts(&mesh, 80), accepts(&mesh, 81)), (at_80, at_81), "{text}");
        if at_80 != at_81 {
            assert_eq!(named(&mesh), ["shop/converted_peer_authentication_cart"], "{text}");
        }
    }
}

#[test]
fn among_equals_the_oldest_counts() {
    let strict = authentication("shop/a", "{mtls: {mode: STRICT}}");
    let open = authentication("shop/b", "{mtls: {mode: PERMISSIVE}}");
    assert!(!accepts(&with(&(older(&strict) + &newer(&open))), 80));
    assert!(accepts(&with(&(newer(&strict) + &older(&open))), 80));

    let selecting = |name: &str, mode: &str| {
        authentication(name, &format!("{{selector: {{matchLabels: {{app: cart}}}}, mtls: {{mode: {mode}}}}}"))
    };
    let (strict, open) = (selecting("shop/a", "STRICT"), selecting("shop/b", "PERMISSIVE"));
    assert!(!accepts(&with(&(older(&strict) + &newer(&open))), 80));
    assert!(accepts(&with(&(newer(&strict) + &older(&open))), 80));
}

#[test]
fn of_the_same_age_the_first_by_name_counts_in_whatever_order_they_are_read() {
    for selector in ["", "selector: {matchLabels: {app: cart}}, "] {
        let of =
            |name: &str, mode: &str| authentication(name, &format!("{{{selector}mtls: {{mode: {mode}}}}}"));
        let (strict, open) = (of("shop/a", "STRICT"), of("shop/b", "PERMISSIVE"));
        assert!(!accepts(&with(&format!("{strict}{open}")), 80), "{selector}");
        assert!(!accepts(&with(&format!("{open}{strict}")), 80), "{selector}");
    }
}

#[test]
fn a_selector_reaches_pods_of_its_namespace_that_have_all_its_labels() {
    for (name, labels, reached) in [
        ("shop/p", "app: cart", true),
        ("shop/p", "app: web", false),
        ("shop/p", "app: cart, tier: back", false),
        ("other/p", "app: cart", false),
    ] {
        let strict = format!("{{selector: {{matchLabels: {{{labels}}}}}, mtls: {{mode: STRICT}}}}");
        assert_eq!(!accepts(&with(&authentication(name, &strict)), 80), reached, "{name} {labels}");
    }
}

#[test]
fn whom_no_selector_reaches_the_namespaces_mode_holds_for() {
    let namespace = authentication("shop/all", "{mtls: {mode: STRICT}}");
    let other = "{selector: {matchLabels: {app: web}}, mtls: {mode: PERMISSIVE}}";
    assert!(!accepts(&with(&(namespace.clone() + &authentication("shop/web", other))), 80));
    let own = "{selector: {matchLabels: {app: cart}}, mtls: {mode: PERMISSIVE}}";
    assert!(accepts(&with(&(namespace + &authentication("shop/cart", own))), 80));
}

/// As in Istio, the root namespace's pods have no modes of their own: what is there is the mesh's.
#[test]
fn a_pod_of_the_root_namespace_has_the_modes_of_the_mesh() {
    let pod = pod("istio-system/gate", "10.0.0.1", "app: gate", "");
    let mesh = authentication("istio-system/all", "{mtls: {mode: STRICT}}");
    let own = "{selector: {matchLabels: {app: gate}}, mtls: {mode: PERMISSIVE}}";
    let mesh = mesh_of(&(pod + &mesh + &authentication("istio-system/gate", own)));
    let policies = &mesh.pod("istio-system/gate").profile.policies;
    let policies: Vec<_> = policies.iter().map(|name| &**name).collect();
    assert_eq!(policies, ["istio-system/istio_converted_static_strict"]);
}

#[test]
fn no_allow_policy_lets_plaintext_in_where_it_is_refused() {
    let strict = authentication("shop/cart", "{selector: {matchLabels: {app: cart}}, mtls: {mode: STRICT}}");
    let spec = "{selector: {matchLabels: {app: cart}}, rules: [{}]}";
    let everybody = object("security.istio.io/v1", "AuthorizationPolicy", "shop/everybody", spec);
    let mesh = with(&(strict + &everybody));
    assert_eq!(named(&mesh), ["istio-system/istio_converted_static_strict", "shop/everybody"]);
    assert!(!accepts(&mesh, 80));
    assert!(accepts(&with(&everybody), 80));
}

#[test]
fn what_has_no_effect_is_said() {
    for (name, spec, note) in [
        (
            "istio-system/p",
            "{selector: {matchLabels: {app: cart}}, mtls: {mode: STRICT}}",
            "spec.selector has no effect",
        ),
        ("shop/p", "{portLevelMtls: {80: {mode: STRICT}}}", "spec.portLevelMtls has no effect"),
        (
            "shop/p",
            "{selector: {matchLabels: {app: cart}}, portLevelMtls: {http: {mode: STRICT}}}",
            "spec.portLevelMtls: \"http\" is ignored",
        ),
        (
            "shop/p",
            "{selector: {matchLabels: {app: cart}}, portLevelMtls: {0: {mode: STRICT}}}",
            "spec.portLevelMtls: \"0\" is ignored",
        ),
        (
            "shop/p",
            "{selector: {matchLabels: {app: cart}}, portLevelMtls: {65536: {mode: STRICT}}}",
            "spec.portLevelMtls: \"65536\" is ignored",
        ),
    ] {
        let (mesh, reference) = (with(&authentication(name, spec)), format!("PeerAuthentication {name}"));
        assert_eq!(mesh.notes(), [format!("{reference}: {note}")]);
        assert!(accepts(&mesh, 80));
    }
}
