//! The pods of this node.

use std::path::Path;

use cluster::{Reported, Scope, Settings, translate};

use crate::mesh_of::{Mesh, mesh_of, namespace, object, pod};

const HERE: &str = "spec: {nodeName: node-1}";

/// A pod of this node with annotations and labels.
pub(crate) fn annotated(annotations: &str, labels: &str) -> String {
    pod("shop/cart", "10.0.0.1", labels, HERE)
        .replace("status:", &format!("  annotations: {{{annotations}}}\nstatus:"))
}

#[test]
fn only_pods_of_this_node_that_live_are_local() {
    let text = pod("shop/cart", "10.0.0.1", "istio.io/dataplane-mode: ambient", HERE)
        + &pod("shop/web", "10.0.0.2", "", HERE)
        + &pod("shop/far", "10.0.0.3", "", "spec: {nodeName: node-2}")
        + &pod("shop/lost", "10.0.0.4", "", "")
        + &pod("shop/done", "10.0.0.5", "", HERE).replace("podIP", "phase: Succeeded, podIP")
        + &pod("shop/young", "10.0.0.6", "", HERE).replace("podIP: \"10.0.0.6\"", "");
    let mesh = mesh_of(&text);
    let local: Vec<_> = mesh
        .translation
        .local_pods
        .iter()
        .map(|pod| (&*pod.name, pod.enrolled, pod.addresses.len()))
        .collect();
    assert_eq!(local, [("cart", true, 1), ("web", false, 1), ("young", false, 0)]);
}

#[test]
fn a_pod_with_a_proxy_of_its_own_is_captured_by_that_and_by_nobody_else() {
    const AMBIENT: &str = "istio.io/dataplane-mode: ambient";
    const MISSING: &str =
        "it lacks the annotation ambient.mesh/proxy: dedicated, and its node's daemon captures it";
    let inside = Settings { scope: Scope::Pod("shop/cart".parse().unwrap()), ..Settings::default() };
    for (annotations, labels, of_node, own) in [
        ("ambient.mesh/proxy: dedicated", AMBIENT, false, Ok(())),
        ("", AMBIENT, true, Err(MISSING)),
        ("ambient.mesh/proxy: dedicated", "", false, Err("it is not in the mesh")),
    ] {
        let text = annotated(annotations, labels) + &pod("shop/web", "10.0.0.2", AMBIENT, HERE);
        assert_eq!(mesh_of(&text).local("shop/cart").enrolled, of_node, "{annotations} {labels}");
        let missing = "Pod shop/cart: it is captured by nobody: it asks for a proxy of its own, \
                       and none says that it captures it";
        let nobody = own.is_ok().then(|| missing.to_owned());
        assert_eq!(mesh_of(&text).notes(), nobody.into_iter().collect::<Vec<_>>(), "{annotations} {labels}");
        let (objects, _) = cluster::read(Path::new("test.yaml"), &text);
        let mesh = Mesh::of(translate(&objects, &Reported::default(), &inside));
        let local: Vec<_> =
            mesh.translation.local_pods.iter().map(|pod| (&*pod.name, pod.enrolled)).collect();
        assert_eq!(local, [("cart", own.is_ok())], "{annotations} {labels}");
        let said = own.err().map(|why| format!("Pod shop/cart: its own proxy leaves it alone: {why}"));
        assert_eq!(mesh.notes(), said.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_pod_that_its_own_proxy_captures_is_nothing_to_speak_of_for_its_node() {
    let text = annotated("ambient.mesh/proxy: dedicated", "istio.io/dataplane-mode: ambient");
    let (objects, _) = cluster::read(Path::new("test.yaml"), &text);
    let of_node = Settings { scope: Scope::Node("node-1".into()), ..Settings::default() };
    let silent = Mesh::of(translate(&objects, &Reported::default(), &of_node));
    let uid = silent.local("shop/cart").uid.0.clone();
    assert_eq!(silent.notes().len(), 1);
    let reported = Reported::default().with_itself(&uid);
    assert_eq!(Mesh::of(translate(&objects, &reported, &of_node)).notes(), [""; 0]);
}

#[test]
fn a_proxy_whose_pod_nobody_knows_says_so() {
    let inside = Settings { scope: Scope::Pod("shop/crat".parse().unwrap()), ..Settings::default() };
    let text = annotated("ambient.mesh/proxy: dedicated", "istio.io/dataplane-mode: ambient");
    let (objects, _) = cluster::read(Path::new("test.yaml"), &text);
    let mesh = Mesh::of(translate(&objects, &Reported::default(), &inside));
    let why = "no manifest has a pod of that name that has not ended: see pod, and source.manifests";
    assert_eq!(mesh.notes(), [format!("Pod shop/crat: its own proxy does not know it: {why}")]);
    assert!(mesh.translation.local_pods.is_empty());
}

#[test]
fn the_example_of_a_pod_with_its_own_proxy_is_for_that_to_capture() {
    let text = include_str!("../../../../deploy/examples/dedicated/pod.yaml");
    let inside = Settings { scope: Scope::Pod("bank/ledger".parse().unwrap()), ..Settings::default() };
    let (objects, problems) = cluster::read(Path::new("pod.yaml"), text);
    let mesh = Mesh::of(translate(&objects, &Reported::default(), &inside));
    assert_eq!((problems, mesh.notes()), (Vec::new(), Vec::new()));
    assert!(mesh.local("bank/ledger").enrolled);
}

#[test]
fn a_misspelt_wish_for_a_proxy_of_its_own_is_none_and_is_noted() {
    const AMBIENT: &str = "istio.io/dataplane-mode: ambient";
    for (annotation, note) in [
        (
            "ambient.mesh/proxy: dedicatd",
            "ambient.mesh/proxy: \"dedicatd\" is not known, did you mean \"dedicated\"?",
        ),
        (
            "ambient.mesh/proxi: dedicated",
            "ambient.mesh/proxi is not known, did you mean \"ambient.mesh/proxy\"?",
        ),
    ] {
        let mesh = mesh_of(&annotated(annotation, AMBIENT));
        assert!(mesh.local("shop/cart").enrolled, "{annotation}");
        assert_eq!(mesh.notes(), [format!("Pod shop/cart: {note}")]);
    }
    let of_namespace = mesh_of(&namespace("shop", "ambient.mesh/proxy: dedicated"));
    assert_eq!(of_namespace.notes(), ["Namespace shop: ambient.mesh/proxy has no effect"]);
}

#[test]
fn probes_name_their_ports_by_number_or_name() {
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop}
spec:
  nodeName: node-1
  containers:
  - ports: [{name: web, containerPort: 8080}, {name: web, containerPort: 53, protocol: UDP}]
    livenessProbe: {httpGet: {port: web, path: /}}
    readinessProbe: {tcpSocket: {port: 9000}}
    startupProbe: {exec: {command: [\"true\"]}}
  - readinessProbe: {grpc: {port: 9001}}
    livenessProbe: {httpGet: {port: none}}
  initContainers:
  - restartPolicy: Always
    startupProbe: {httpGet: {port: 8081}}
";
    assert_eq!(mesh_of(text).local("shop/cart").probe_ports, [8080, 8081, 9000, 9001]);
}

#[test]
fn annotations_say_how_a_pod_is_captured() {
    let text = annotated(
        "ambient.istio.io/dns-capture: \"false\", ambient.istio.io/bypass-inbound-capture: \"true\", \
         istio.io/reroute-virtual-interfaces: \"k6t-eth0, tap0\"",
        "",
    );
    let mesh = mesh_of(&(namespace("shop", "ambient.mesh/allow-exclusions: \"true\"") + &text));
    let capture = &mesh.local("shop/cart").capture;
    assert_eq!((capture.dns, capture.inbound), (Some(false), false));
    let interfaces: Vec<_> = capture.virtual_interfaces.iter().map(|name| &**name).collect();
    assert_eq!(interfaces, ["k6t-eth0", "tap0"]);

    let plain = mesh_of(&annotated("", ""));
    assert_eq!(
        (plain.local("shop/cart").capture.dns, plain.local("shop/cart").capture.inbound),
        (None, true)
    );
    let of_namespace = namespace("shop", "ambient.istio.io/dns-capture: \"false\"") + &annotated("", "");
    assert_eq!(mesh_of(&of_namespace).local("shop/cart").capture.dns, Some(false));
    let odd = mesh_of(&annotated("ambient.istio.io/dns-capture: \"off\"", ""));
    assert_eq!(odd.notes(), ["Pod shop/cart: ambient.istio.io/dns-capture: \"off\" is ignored"]);
}

#[test]
fn a_pod_keeps_its_own_resolver_configuration() {
    let spec = "spec:\n  nodeName: node-1\n  hostname: a\n  subdomain: carts\n  dnsPolicy: None\n  dnsConfig:\n    \
                nameservers: [1.1.1.1]\n    searches: [example.com]\n    options: [{name: ndots, value: \"2\"}]\n";
    let mesh = mesh_of(&pod("shop/cart", "10.0.0.1", "", spec));
    let dns = &mesh.local("shop/cart").dns;
    assert_eq!(dns.policy, cluster::objects::DnsPolicy::None);
    assert_eq!((dns.config.nameservers.len(), &*dns.config.searches[0]), (1, "example.com"));
    assert_eq!((&*dns.hostname, &*dns.subdomain, &*dns.config.options[0].name), ("a", "carts", "ndots"));
}

#[test]
fn exclusions_need_the_namespace_s_leave() {
    let wish = annotated(
        "traffic.sidecar.istio.io/excludeInboundPorts: \"9090,x\", \
         traffic.sidecar.istio.io/excludeOutboundIPRanges: \"10.0.0.0/8\"",
        "app: cart",
    );
    let refused = mesh_of(&wish);
    assert_eq!(refused.local("shop/cart").capture.exclusions, cluster::Exclusions::default());
    assert_eq!(
        refused.notes()[0],
        "Pod shop/cart: traffic.sidecar.istio.io/excludeInboundPorts is not honoured: \
         namespace shop does not allow exclusions: it takes ambient.mesh/allow-exclusions: \"true\" on it"
    );
    let allowed = mesh_of(&(namespace("shop", "ambient.mesh/allow-exclusions: \"true\"") + &wish));
    let exclusions = &allowed.local("shop/cart").capture.exclusions;
    assert_eq!(exclusions.inbound_ports, [9090]);
    assert_eq!(exclusions.outbound_ranges, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(
        allowed.notes(),
        ["Pod shop/cart: traffic.sidecar.istio.io/excludeInboundPorts: \"x\" is ignored"]
    );
}

#[test]
fn an_exclusion_never_opens_what_policy_keeps_shut() {
    let wish = namespace("shop", "ambient.mesh/allow-exclusions: \"true\"")
        + &annotated(
            "traffic.sidecar.istio.io/excludeInboundPorts: \"80,81\", \
             traffic.sidecar.istio.io/excludeInboundIPRanges: 10.9.0.0/16",
            "app: cart",
        );
    let authentication = |name, spec| object("security.istio.io/v1", "PeerAuthentication", name, spec);
    let authorization = |name, spec| object("security.istio.io/v1", "AuthorizationPolicy", name, spec);
    let port_strict = "{selector: {matchLabels: {app: cart}}, portLevelMtls: {80: {mode: STRICT}}}";
    let port_open = "{selector: {matchLabels: {app: cart}}, mtls: {mode: STRICT}, portLevelMtls: {80: {mode: PERMISSIVE}}}";
    for (policy, ports, ranges) in [
        (String::new(), &[80, 81][..], 1),
        (authentication("shop/all", "{mtls: {mode: PERMISSIVE}}"), &[80, 81], 1),
        (authentication("shop/all", "{mtls: {mode: STRICT}}"), &[], 0),
        (authentication("istio-system/all", "{mtls: {mode: STRICT}}"), &[], 0),
        (authentication("other/all", "{mtls: {mode: STRICT}}"), &[80, 81], 1),
        (authentication("shop/port", port_strict), &[81], 0),
        (authentication("shop/port", port_open), &[80], 0),
        (authorization("shop/allow", "{rules: [{}]}"), &[80, 81], 1),
        (authorization("shop/allow", "{rules: [{to: [{operation: {ports: [\"80\"]}}]}]}"), &[80], 0),
        (authorization("shop/allow", "{rules: [{from: [{source: {namespaces: [x]}}]}]}"), &[], 0),
        (authorization("shop/allow", "{}"), &[], 0),
        (authorization("other/allow", "{rules: [{from: [{source: {namespaces: [x]}}]}]}"), &[80, 81], 1),
        (authorization("shop/allow", "{rules: [{to: [{operation: {notPorts: [\"80\"]}}]}]}"), &[81], 0),
        (
            authorization(
                "shop/allow",
                "{rules: [{from: [{source: {principals: [x]}}], to: [{operation: {ports: [\"80\"]}}]}, \
                 {to: [{operation: {ports: [\"81\"]}}]}]}",
            ),
            &[81],
            0,
        ),
        (authorization("shop/audit", "{action: AUDIT, rules: [{}]}"), &[80, 81], 1),
        (
            authorization("shop/deny", "{action: DENY, rules: [{to: [{operation: {ports: [\"80\"]}}]}]}"),
            &[81],
            0,
        ),
        (
            authorization("shop/deny", "{action: DENY, rules: [{to: [{operation: {notPorts: [\"80\"]}}]}]}"),
            &[80],
            0,
        ),
        (
            authorization(
                "istio-system/deny",
                "{action: DENY, rules: [{from: [{source: {namespaces: [x]}}]}]}",
            ),
            &[],
            0,
        ),
        (
            authorization("shop/deny", "{action: DENY, selector: {matchLabels: {app: web}}, rules: [{}]}"),
            &[80, 81],
            1,
        ),
        (
            authorization("shop/deny", "{action: DENY, selector: {matchLabels: {app: cart}}, rules: [{}]}"),
            &[],
            0,
        ),
    ] {
        let mesh = mesh_of(&(wish.clone() + &policy));
        let exclusions = &mesh.local("shop/cart").capture.exclusions;
        assert_eq!(
            (&*exclusions.inbound_ports, exclusions.inbound_ranges.len()),
            (ports, ranges),
            "{policy}"
        );
        let refusals = mesh.notes().iter().filter(|note| note.contains("is not honoured")).count();
        assert_eq!(refusals, 2 - ports.len() + 1 - ranges, "{policy}");
    }
}

#[test]
fn where_unknown_destinations_are_denied_nothing_goes_out_past_capture() {
    let settings =
        "ambient.mesh/allow-exclusions: \"true\", ambient.mesh/egress: deny, ambient.mesh/udp: deny";
    let wish = "traffic.sidecar.istio.io/excludeOutboundPorts: \"5432\", \
                traffic.sidecar.istio.io/excludeOutboundIPRanges: 192.0.2.0/24";
    let mesh = mesh_of(&(namespace("shop", settings) + &annotated(wish, "")));
    let capture = &mesh.local("shop/cart").capture;
    assert_eq!((&capture.exclusions, capture.udp), (&cluster::Exclusions::default(), cluster::UdpMode::Deny));
    assert_eq!(
        mesh.notes()[0],
        "Pod shop/cart: traffic.sidecar.istio.io/excludeOutboundIPRanges is not honoured: \
         namespace shop denies unknown destinations"
    );
}

#[test]
fn a_namespace_says_what_its_pods_may_reach_outside() {
    let settings = |more: &str| {
        let lines = format!("kind: Namespace\nmetadata:\n  name: shop\n  annotations: {{{more}}}\n");
        mesh_of(&format!("---\napiVersion: v1\n{lines}"))
    };
    let mesh = settings(
        "ambient.mesh/egress: deny, ambient.mesh/udp: deny, \
         ambient.mesh/egress-allow: \"10.0.0.0/8, *.example.com:443, what?\"",
    );
    let shop = mesh.snapshot.namespace("shop").unwrap();
    assert_eq!((shop.egress, shop.egress_allow.0.len()), (mesh::EgressMode::Deny, 2));
    assert_eq!(mesh.notes(), ["Namespace shop: ambient.mesh/egress-allow: \"what?\" is ignored"]);
    assert_eq!(
        settings("ambient.mesh/egress: deny").notes(),
        [
            "Namespace shop: unknown destinations are denied, but UDP passes to them: ambient.mesh/udp is not deny"
        ]
    );
    assert_eq!(
        settings("ambient.mesh/egress-allow: 10.0.0.0/8").notes(),
        ["Namespace shop: ambient.mesh/egress-allow has no effect"]
    );
    assert_eq!(
        settings("ambient.mesh/udp: none").notes(),
        ["Namespace shop: ambient.mesh/udp: \"none\" is not understood: deny is in force"]
    );
}
