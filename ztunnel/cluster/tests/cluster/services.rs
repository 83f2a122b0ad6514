//! Services and their endpoints.

use std::time::Duration;

use mesh::{Affinity, AppProtocol, DestinationHealth, EndpointTarget, Scope, TrafficPolicy};

use crate::mesh_of::{Mesh, mesh_of, namespace, object, pod, texts};

fn service(spec: &str) -> String {
    object("v1", "Service", "shop/cart", spec)
}

/// Addresses of the endpoints, each with its ports, `+` when ready and `~` when terminating.
fn endpoints(mesh: &Mesh) -> Vec<String> {
    let text = |endpoint: &mesh::Endpoint| {
        let address = match &endpoint.target {
            EndpointTarget::Address(address) => format!("={address}"),
            EndpointTarget::Workload(_, ip) => ip.to_string(),
            EndpointTarget::Remote(uid) => format!("@{}", uid.0),
            EndpointTarget::Hostname(uid) => uid.0.to_string(),
        };
        let ports: Vec<_> = endpoint.ports.iter().map(|(port, own)| format!("{port}>{own}")).collect();
        let ready = if endpoint.ready { "+" } else { "" };
        let terminating = if endpoint.terminating { "~" } else { "" };
        format!("{address} {}{ready}{terminating}", ports.join(","))
    };
    mesh.service("shop/cart").endpoints.iter().map(text).collect()
}

#[test]
fn endpoints_are_derived_from_selected_pods() {
    let text =
        service("{clusterIP: 10.96.0.1, selector: {app: cart}, ports: [{port: 80, targetPort: 8080}]}")
            + &pod("shop/a", "10.0.0.1", "app: cart, tier: x", "")
            + &pod("shop/b", "10.0.0.2", "app: web", "")
            + &pod("other/c", "10.0.0.3", "app: cart", "")
            + &pod("shop/d", "10.0.0.4", "app: cart", "").replace("podIP", "phase: Pending, podIP");
    let mesh = mesh_of(&text);
    assert_eq!(endpoints(&mesh), ["10.0.0.1 80>8080+", "10.0.0.4 80>8080"]);
    let services = &mesh.pod("shop/a").services;
    assert_eq!(
        services.iter().map(|key| &*key.hostname.0).collect::<Vec<_>>(),
        ["cart.shop.svc.cluster.local"]
    );
    assert!(mesh.pod("shop/b").services.is_empty());
}

#[test]
fn a_service_without_a_selector_selects_nothing() {
    let text = service("{clusterIP: 10.96.0.1, ports: [{port: 80}]}") + &pod("shop/a", "10.0.0.1", "", "");
    assert_eq!(endpoints(&mesh_of(&text)), [""; 0]);
}

#[test]
fn a_named_target_port_has_each_pod_s_own_number() {
    let container =
        |port| format!("spec: {{containers: [{{ports: [{{name: web, containerPort: {port}}}]}}]}}");
    let text = service(
        "{selector: {app: cart}, ports: [{port: 80, targetPort: web}, {name: x, port: 81, targetPort: none}]}",
    ) + &pod("shop/a", "10.0.0.1", "app: cart", &container(8080))
        + &pod("shop/b", "10.0.0.2", "app: cart", &container(9090))
        + &pod("shop/c", "10.0.0.3", "app: cart", "");
    assert_eq!(endpoints(&mesh_of(&text)), ["10.0.0.1 80>8080+", "10.0.0.2 80>9090+", "10.0.0.3 +"]);
}

#[test]
fn endpoint_slices_count_instead_of_selectors() {
    let slice = "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  namespace: shop
  name: cart-1
  labels: {kubernetes.io/service-name: cart}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}, {name: dns, port: 53, protocol: UDP}]
endpoints:
- addresses: [10.0.0.1]
  targetRef: {kind: Pod, name: a}
- addresses: [10.0.0.2]
  conditions: {ready: false, serving: true, terminating: true}
- addresses: [192.0.2.1]
- addresses: [10.0.0.9]
  targetRef: {kind: Pod, name: a}
";
    let text = service(
        "{selector: {app: none}, ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]}",
    ) + &pod("shop/a", "10.0.0.1", "", "")
        + &pod("shop/b", "10.0.0.2", "", "")
        + slice;
    let mesh = mesh_of(&text);
    let want = ["10.0.0.1 80>8080+", "10.0.0.2 80>8080~", "=192.0.2.1 80>8080+", "=10.0.0.9 80>8080+"];
    assert_eq!(endpoints(&mesh), want);
    assert!(mesh.service("shop/cart").endpoints[1].serving);
    assert_eq!(mesh.pod("shop/b").services.len(), 1);
}

#[test]
fn a_terminating_pod_still_serves_if_it_is_ready() {
    let text = service("{selector: {app: cart}, ports: [{port: 80}]}")
        + &pod("shop/a", "10.0.0.1", "app: cart", "")
            .replace("  name: a", "  name: a\n  deletionTimestamp: 2026-01-01T00:00:00Z");
    let mesh = mesh_of(&text);
    assert_eq!(endpoints(&mesh), ["10.0.0.1 80>80~"]);
    assert!(mesh.service("shop/cart").endpoints[0].serving);
}

#[test]
fn endpoints_have_the_families_that_the_service_has() {
    let dual = pod("shop/a", "10.0.0.1", "app: cart", "")
        .replace("podIP: \"10.0.0.1\"", "podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]");
    for (spec, want) in [
        ("clusterIP: 10.96.0.1", &["10.0.0.1 80>80+"][..]),
        ("clusterIP: \"fd96::1\"", &["fd00::1 80>80+"]),
        ("clusterIPs: [10.96.0.1, \"fd96::1\"]", &["10.0.0.1 80>80+", "fd00::1 80>80+"]),
        ("clusterIP: None", &["10.0.0.1 80>80+", "fd00::1 80>80+"]),
        ("clusterIP: None, ipFamilies: [IPv6]", &["fd00::1 80>80+"]),
        ("clusterIP: 10.96.0.1, ipFamilies: [IPv4, IPv6]", &["10.0.0.1 80>80+", "fd00::1 80>80+"]),
    ] {
        let text = service(&format!("{{{spec}, selector: {{app: cart}}, ports: [{{port: 80}}]}}")) + &dual;
        assert_eq!(endpoints(&mesh_of(&text)), want, "{spec}");
    }
}

#[test]
fn a_service_answers_at_all_its_addresses() {
    let text = service(
        "{clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, \"fd96::1\"], externalIPs: [203.0.113.1]}",
    ) + "status: {loadBalancer: {ingress: [{ip: 198.51.100.1}, {ip: 198.51.100.2, ipMode: Proxy}, {hostname: x}]}}";
    let mesh = mesh_of(&text);
    let addresses = texts(&mesh.service("shop/cart").addresses);
    assert_eq!(addresses, ["10.96.0.1", "fd96::1", "203.0.113.1", "198.51.100.1"]);
    let headless = mesh_of(&service("{clusterIP: None, clusterIPs: [None]}"));
    assert!(headless.service("shop/cart").addresses.is_empty());
}

#[test]
fn preferences_come_from_the_spec_then_the_annotation_then_the_namespace() {
    const ZONE: &[Scope] = &[Scope::Network, Scope::Region, Scope::Zone];
    const NODE: &[Scope] = &[Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone, Scope::Node];
    let annotations = |value: &str| match value {
        "" => "{}".to_owned(),
        value => format!("{{networking.istio.io/traffic-distribution: {value}}}"),
    };
    for (spec, own, of_namespace, want) in [
        ("{}", "", "", (&[][..], TrafficPolicy::Standard)),
        ("{trafficDistribution: PreferClose}", "", "", (ZONE, TrafficPolicy::Failover)),
        ("{trafficDistribution: PreferSameZone}", "", "", (ZONE, TrafficPolicy::Failover)),
        ("{trafficDistribution: PreferSameNode}", "PreferClose", "", (NODE, TrafficPolicy::Failover)),
        ("{trafficDistribution: Nonsense}", "PreferClose", "", (&[], TrafficPolicy::Standard)),
        ("{}", "PreferSameNode", "PreferClose", (NODE, TrafficPolicy::Failover)),
        ("{}", "", "PreferClose", (ZONE, TrafficPolicy::Failover)),
        ("{internalTrafficPolicy: Local}", "PreferClose", "", (&[Scope::Node], TrafficPolicy::Strict)),
    ] {
        let own = format!("name: cart, annotations: {}", annotations(own));
        let of_namespace = format!("annotations: {}", annotations(of_namespace));
        let text = namespace("shop", "").replace("labels: {}", &of_namespace)
            + &service(spec).replace("name: cart", &own);
        let mesh = mesh_of(&text);
        let balancing = &mesh.service("shop/cart").load_balancing;
        assert_eq!((&*balancing.preference, balancing.policy), want, "{text}");
    }
}

#[test]
fn affinity_and_unready_endpoints_are_as_the_spec_says() {
    for (spec, affinity, health) in [
        ("{}", Affinity::None, DestinationHealth::Ready),
        (
            "{sessionAffinity: ClientIP}",
            Affinity::ClientIp(Duration::from_secs(10_800)),
            DestinationHealth::Ready,
        ),
        (
            "{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}}",
            Affinity::ClientIp(Duration::from_secs(5)),
            DestinationHealth::Ready,
        ),
        ("{publishNotReadyAddresses: true}", Affinity::None, DestinationHealth::All),
    ] {
        let mesh = mesh_of(&service(spec));
        let balancing = &mesh.service("shop/cart").load_balancing;
        assert_eq!((balancing.affinity, balancing.health), (affinity, health), "{spec}");
    }
}

#[test]
fn ports_say_what_is_spoken_there() {
    let text = service(
        "{ports: [{name: http, port: 80}, {name: a, port: 81, appProtocol: grpc}, {name: u, port: 53, protocol: UDP}]}",
    );
    let mesh = mesh_of(&text);
    let ports: Vec<_> =
        mesh.service("shop/cart").ports.iter().map(|port| (port.port, port.protocol)).collect();
    assert_eq!(ports, [(80, AppProtocol::Http11), (81, AppProtocol::Grpc)]);
}

#[test]
fn an_external_name_is_no_service_of_the_mesh() {
    let mesh = mesh_of(&service("{type: ExternalName, externalName: example.com}"));
    assert_eq!(mesh.snapshot.services().count(), 0);
}

#[test]
fn export_to_says_who_sees_a_service() {
    for (value, visible) in
        [("\"*\"", true), (".", false), ("other", true), ("\".,other\"", true), ("\"~\"", false)]
    {
        let text = service("{}").replace(
            "name: cart",
            &format!("name: cart, annotations: {{networking.istio.io/exportTo: {value}}}"),
        );
        assert_eq!(mesh_of(&text).service("shop/cart").is_visible_to("other"), visible, "{value}");
    }
}

#[test]
fn workload_entries_are_endpoints_of_services_that_select_them() {
    let text = service("{selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}")
        + &object(
            "networking.istio.io/v1",
            "WorkloadEntry",
            "shop/vm",
            "{address: 192.0.2.7, labels: {app: cart}, ports: {http: 9000}}",
        );
    assert_eq!(endpoints(&mesh_of(&text)), ["192.0.2.7 80>9000+"]);
}
