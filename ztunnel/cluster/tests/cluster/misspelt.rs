//! What is misspelt in a manifest opens nothing, and is said with what was probably meant.

use std::net::SocketAddr;
use std::path::Path;

use authz::Attributes;
use cluster::{Reported, Settings, UdpMode, translate};
use mesh::{EgressMode, Store};

use crate::mesh_of::{Mesh, mesh_of, namespace, object, pod, settings};

/// The mesh of manifests with something broken in them, and what is said of it.
fn broken(text: &str) -> (Mesh, Vec<String>) {
    let text =
        pod("shop/cart", "10.0.0.1", "app: cart", "") + &pod("shop/web", "10.0.0.2", "app: web", "") + text;
    let (objects, problems) = cluster::read(Path::new("test.yaml"), &text);
    let settings = Settings { network_policies: true, ..settings() };
    let translation = translate(&objects, &Reported::default(), &settings);
    let mut store = Store::new();
    store.apply(translation.update.clone());
    let said = |problem: &cluster::Problem| {
        let text = problem.to_string();
        text.split_once(": ").map_or_else(|| text.clone(), |(_, said)| said.to_owned())
    };
    (Mesh { snapshot: store.snapshot(), translation }, problems.iter().map(said).collect())
}

/// The pods that let somebody without an identity in.
fn admitting(mesh: &Mesh) -> Vec<&'static str> {
    let admits = |name: &&'static str| {
        let pod = mesh.pod(&format!("shop/{name}"));
        let destination = SocketAddr::new(pod.addresses[0], 80);
        let source_ip = "10.9.0.1".parse().unwrap();
        let attributes = Attributes { source: None, class: None, source_ip, destination };
        mesh.snapshot.policies_for(pod).evaluate(&attributes).is_ok()
            && mesh.snapshot.admitted_by_network(pod, None, source_ip, 80).is_ok()
    };
    ["cart", "web"].into_iter().filter(admits).collect()
}

const CART: &str = "selector: {matchLabels: {app: cart}}";

/// Checks what is said of each spec, and which pods it leaves open.
fn check(kind: &str, meanwhile: &str, cases: &[(&str, &[&str], &str)]) {
    let version = if kind == "NetworkPolicy" { "networking.k8s.io/v1" } else { "security.istio.io/v1" };
    for (spec, open, said) in cases {
        let spec = spec.replace("CART", "{matchLabels: {app: cart}}");
        let (mesh, problems) = broken(&object(version, kind, "shop/p", &spec));
        assert_eq!(problems, [format!("{kind} shop/p: {said}; meanwhile {meanwhile}")], "{spec}");
        assert_eq!(admitting(&mesh), *open, "{spec}");
    }
}

#[test]
fn a_misspelt_authorization_policy_closes_what_it_selects_and_says_what_was_meant() {
    const ANYBODY: &str = "from: [{source: {ipBlocks: [10.9.0.1]}}]";
    let deny = format!("{{selector: CART, action: Deny, rules: [{{{ANYBODY}}}]}}");
    let refuse = format!("{{selector: CART, action: REFUSE, rules: [{{{ANYBODY}}}]}}");
    let cases = [
        (
            "{selector: CART, acton: DENY, rules: [{from: [{source: {namespaces: [x]}}]}]}",
            &["web"][..],
            "spec.acton: is not known, did you mean \"action\"?",
        ),
        (&deny, &["web"], "spec.action: \"Deny\" is not known, did you mean \"DENY\"?"),
        (&refuse, &["web"], "spec.action: \"REFUSE\" is not known, want ALLOW, AUDIT, CUSTOM or DENY"),
        ("{selectr: CART, rules: [{}]}", &[], "spec.selectr: is not known, did you mean \"selector\"?"),
        (
            "{selector: {matchLabel: {app: cart}}, rules: [{}]}",
            &[],
            "spec.selector.matchLabel: is not known, did you mean \"matchLabels\"?",
        ),
        (
            "{selector: CART, rules: [{when: [{key: source.namespace, vales: [x]}]}]}",
            &["web"],
            "spec.rules[0].when[0].vales: is not known, did you mean \"values\"?",
        ),
    ];
    check("AuthorizationPolicy", "all that it may be about is denied", &cases);
}

#[test]
fn a_misspelt_peer_authentication_is_strict_and_says_what_was_meant() {
    let cases = [
        (
            "{selector: CART, mtls: {mod: STRICT}}",
            &["web"][..],
            "spec.mtls.mod: is not known, did you mean \"mode\"?",
        ),
        (
            "{selector: CART, mtls: {mode: STRICKT}}",
            &["web"],
            "spec.mtls.mode: \"STRICKT\" is not known, did you mean \"STRICT\"?",
        ),
        ("{mtsl: {mode: STRICT}}", &[], "spec.mtsl: is not known, did you mean \"mtls\"?"),
    ];
    check("PeerAuthentication", "it is STRICT", &cases);
}

#[test]
fn a_misspelt_network_policy_lets_nothing_in_and_says_what_was_meant() {
    let cases = [
        (
            "{podSelector: CART, policyTypes: [Ingres]}",
            &["web"][..],
            "spec.policyTypes[0]: \"Ingres\" is not known, did you mean \"Ingress\"?",
        ),
        (
            "{podSelector: CART, ingress: [{frm: [{podSelector: {}}]}]}",
            &["web"],
            "spec.ingress[0].frm: is not known, did you mean \"from\"?",
        ),
        (
            "{podSelectr: CART, ingress: [{}]}",
            &[],
            "spec.podSelectr: is not known, did you mean \"podSelector\"?",
        ),
    ];
    check("NetworkPolicy", "it lets nothing in", &cases);
}

#[test]
fn a_policy_that_never_could_be_read_closes_whatever_is_wrong_with_it() {
    let policy = |spec: &str| object("security.istio.io/v1", "AuthorizationPolicy", "shop/p", spec);
    let (mesh, problems) = broken(&policy(&format!("{{{CART}, rules: 5}}")));
    assert_eq!((admitting(&mesh), problems.len()), (vec!["web"], 1));
    let (mesh, _) = broken(&policy("everything"));
    assert_eq!(admitting(&mesh), [""; 0]);
    // The waypoint's to enforce, and to close.
    let (mesh, problems) = broken(&policy("{targetRefs: [{kind: Service, name: cart}], acton: DENY}"));
    assert_eq!((admitting(&mesh), problems.len()), (vec!["cart", "web"], 1));
    let kind = object(
        "security.istio.io/v1",
        "AuthorisationPolicy",
        "shop/p",
        &format!("{{{CART}, rules: [{{}}]}}"),
    );
    let (mesh, problems) = broken(&kind);
    assert_eq!(admitting(&mesh), ["web"]);
    assert!(
        problems[0]
            .contains("kind: \"AuthorisationPolicy\" is not known, did you mean \"AuthorizationPolicy\"?")
    );
}

#[test]
fn fields_that_every_object_may_have_are_no_slips() {
    let policy = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                  metadata: {namespace: shop, name: p, managedFields: [{x: 1}]}\n\
                  spec: {action: CUSTOM, provider: {name: x}, selectr: null}\nstatus: {observedGeneration: 1}\n";
    assert_eq!(broken(policy).1, [""; 0]);
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: x}\n\
               spec: {containerz: [], restartPolicy: Alwayz}\nstatus: {podIp: 10.0.0.9, phase: Runing}\n";
    let (mesh, problems) = broken(pod);
    assert_eq!((problems, mesh.notes()), (vec![], vec![]));
}

#[test]
fn what_seems_misspelt_in_a_service_is_noted() {
    let service = |spec: &str| mesh_of(&object("v1", "Service", "shop/cart", spec)).notes();
    for (spec, said) in [
        ("{selectr: {app: cart}}", "spec.selectr is not known, did you mean \"selector\"?"),
        (
            "{ports: [{port: 80, targetport: 8080}]}",
            "spec.ports[0].targetport is not known, did you mean \"targetPort\"?",
        ),
        (
            "{internalTrafficPolicy: Locall}",
            "spec.internalTrafficPolicy: \"Locall\" is not known, did you mean \"Local\"?",
        ),
        (
            "{sessionAffinity: ClientIPs}",
            "spec.sessionAffinity: \"ClientIPs\" is not known, did you mean \"ClientIP\"?",
        ),
        ("{trafficDistribution: Nearest}", "spec.trafficDistribution: \"Nearest\" is not known"),
    ] {
        assert_eq!(service(spec), [format!("Service shop/cart: {said}")], "{spec}");
    }
    let sound = "{type: LoadBalancer, sessionAffinity: None, internalTrafficPolicy: Cluster, \
                 externalTrafficPolicy: Local, ipFamilyPolicy: SingleStack, allocateLoadBalancerNodePorts: true, \
                 ports: [{port: 53, protocol: UDP}, {port: 132, protocol: SCTP}, {port: 80, protocol: TCP}]}";
    assert_eq!(service(sound), [""; 0]);
}

#[test]
fn a_kind_that_looks_like_one_that_is_read_is_noted() {
    let object = |version, kind| mesh_of(&object(version, kind, "shop/cart", "{}")).notes();
    assert_eq!(
        object("v1", "Serviec"),
        ["Serviec shop/cart: kind: \"Serviec\" is not known, did you mean \"Service\"?"]
    );
    for (version, kind) in
        [("v1", "Secret"), ("v1", "Endpoints"), ("apps/v1", "Serviec"), ("networking.istio.io/v1", "Sidecar")]
    {
        assert_eq!(object(version, kind), [""; 0], "{kind}");
    }
}

#[test]
fn a_misspelt_name_or_value_of_a_limit_is_the_strictest_of_its_kind() {
    for (label, egress, udp, notes) in [
        (
            "ambient.mesh/egress: dny",
            EgressMode::Deny,
            UdpMode::Allow,
            &["ambient.mesh/egress: \"dny\" is not understood: deny is in force"][..],
        ),
        (
            "ambient.mesh/egres: deny",
            EgressMode::Deny,
            UdpMode::Allow,
            &[
                "ambient.mesh/egres is not known, did you mean \"ambient.mesh/egress\"?",
                "ambient.mesh/egres: \"deny\" is not understood: deny is in force",
            ],
        ),
        (
            "ambient.mesh/egres: allow",
            EgressMode::Allow,
            UdpMode::Allow,
            &["ambient.mesh/egres is not known, did you mean \"ambient.mesh/egress\"?"],
        ),
        (
            "ambient.mesh/egres: deny, ambient.mesh/egress: log",
            EgressMode::Log,
            UdpMode::Allow,
            &["ambient.mesh/egres is not known, did you mean \"ambient.mesh/egress\"?"],
        ),
        (
            "ambient.mesh/upd: deny",
            EgressMode::Allow,
            UdpMode::Deny,
            &[
                "ambient.mesh/upd is not known, did you mean \"ambient.mesh/udp\"?",
                "ambient.mesh/upd: \"deny\" is not understood: deny is in force",
            ],
        ),
        (
            "ambient.mesh/unheard-of: x",
            EgressMode::Allow,
            UdpMode::Allow,
            &["ambient.mesh/unheard-of is not known"],
        ),
        (
            "ambient.mesh/allow-exclusions: yes please",
            EgressMode::Allow,
            UdpMode::Allow,
            &["ambient.mesh/allow-exclusions: \"yes please\" is ignored"],
        ),
    ] {
        let mesh = mesh_of(
            &(namespace("shop", label) + &pod("shop/cart", "10.0.0.1", "", "spec: {nodeName: node-1}")),
        );
        assert_eq!(mesh.snapshot.namespace("shop").unwrap().egress, egress, "{label}");
        assert_eq!(mesh.local("shop/cart").capture.udp, udp, "{label}");
        let known = mesh.notes();
        let said: Vec<_> = notes.iter().map(|note| format!("Namespace shop: {note}")).collect();
        let others: Vec<_> = known.iter().filter(|it| !it.contains("but UDP passes")).cloned().collect();
        assert_eq!(others, said, "{label}");
    }
}

#[test]
fn a_setting_of_namespaces_means_nothing_elsewhere_and_that_is_noted() {
    let mesh = mesh_of(&pod("shop/cart", "10.0.0.1", "ambient.mesh/egress: deny, ambient.mesh/oops: x", ""));
    assert_eq!(
        mesh.notes(),
        ["Pod shop/cart: ambient.mesh/oops is not known", "Pod shop/cart: ambient.mesh/egress has no effect",]
    );
}
