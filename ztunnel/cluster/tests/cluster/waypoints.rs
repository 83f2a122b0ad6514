//! Which waypoint objects go through.

use mesh::WaypointRef;

use crate::mesh_of::{Mesh, mesh_of, namespace, object, pod};

const USE: &str = "istio.io/use-waypoint: w";
const ADDRESS: &str = "status: {addresses: [{type: IPAddress, value: 10.96.9.9}]}\n";

fn gateway(name: &str, labels: &str, listener: &str, status: &str) -> String {
    let spec = format!(
        "{{gatewayClassName: istio-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE{listener}}}]}}"
    );
    object("gateway.networking.k8s.io/v1", "Gateway", name, &spec)
        .replace("metadata: {", &format!("metadata: {{labels: {{{labels}}}, "))
        + status
}

fn service(labels: &str) -> String {
    object("v1", "Service", "shop/cart", "{clusterIP: 10.96.0.1}")
        .replace("metadata: {", &format!("metadata: {{labels: {{{labels}}}, "))
}

/// Where traffic goes: `namespace/name address`, the address `-` while there is none.
fn shown(waypoint: Option<&WaypointRef>) -> String {
    waypoint.map_or_else(String::new, |it| {
        let address = it.address.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        format!("{}/{} {address}", it.namespace, it.name)
    })
}

fn both(mesh: &Mesh) -> (String, String) {
    let workload = &mesh.pod("shop/a").profile;
    (shown(mesh.service("shop/cart").waypoint.as_ref()), shown(workload.waypoint.as_ref()))
}

#[test]
fn a_waypoint_takes_what_it_is_for() {
    const W: &str = "shop/w 10.96.9.9";
    for (purpose, of_service, of_workload) in [
        ("", W, ""),
        ("istio.io/waypoint-for: service", W, ""),
        ("istio.io/waypoint-for: workload", "", W),
        ("istio.io/waypoint-for: all", W, W),
        ("istio.io/waypoint-for: none", "", ""),
    ] {
        let text = namespace("shop", USE)
            + &service("")
            + &pod("shop/a", "10.0.0.1", "", "")
            + &gateway("shop/w", purpose, "", ADDRESS);
        assert_eq!(both(&mesh_of(&text)), (of_service.to_owned(), of_workload.to_owned()), "{purpose}");
    }
}

#[test]
fn an_object_s_own_label_counts_more_than_its_namespace_s() {
    for (of_namespace, own, want) in [
        ("", USE, "shop/w 10.96.9.9"),
        (USE, "istio.io/use-waypoint: none", ""),
        ("istio.io/use-waypoint: none", USE, "shop/w 10.96.9.9"),
        (USE, "istio.io/use-waypoint: v", "shop/v -"),
        ("istio.io/use-waypoint: w, istio.io/use-waypoint-namespace: other", "", "other/w -"),
        ("", "", ""),
    ] {
        let text = namespace("shop", of_namespace)
            + &service(own)
            + &pod("shop/a", "10.0.0.1", own, "")
            + &gateway("shop/w", "istio.io/waypoint-for: all", "", ADDRESS);
        let mesh = mesh_of(&text);
        assert_eq!(both(&mesh).0, want, "{of_namespace} {own}");
    }
}

#[test]
fn a_waypoint_that_is_missing_or_not_ready_takes_traffic_nowhere() {
    let users = |namespace_labels: &str, pod_labels: &str| {
        namespace("shop", namespace_labels) + &service("") + &pod("shop/a", "10.0.0.1", pod_labels, "")
    };
    let missing = mesh_of(&users(USE, ""));
    assert_eq!(both(&missing), ("shop/w -".to_owned(), String::new()));
    assert_eq!(missing.notes(), ["Gateway shop/w: waypoint does not exist: traffic for it is refused"]);
    // A pod that asks itself gets what it asks for, or nothing.
    assert_eq!(both(&mesh_of(&users("", USE))).1, "shop/w -");

    let unready = mesh_of(&(users(USE, "") + &gateway("shop/w", "", "", "")));
    assert_eq!(both(&unready).0, "shop/w -");
    let note = "Gateway shop/w: waypoint has no address in its status: traffic for it is refused";
    assert_eq!(unready.notes(), [note]);

    let ingress = object(
        "gateway.networking.k8s.io/v1",
        "Gateway",
        "shop/w",
        "{listeners: [{name: http, port: 80, protocol: HTTP}]}",
    );
    assert_eq!(both(&mesh_of(&(users(USE, "") + &ingress + ADDRESS))).0, "shop/w -");
}

#[test]
fn other_namespaces_use_a_waypoint_only_where_it_admits_them() {
    const FAR: &str = "istio.io/use-waypoint: w, istio.io/use-waypoint-namespace: infra";
    for (routes, of_namespace, want) in [
        ("", "", "infra/w -"),
        (", allowedRoutes: {namespaces: {from: Same}}", "", "infra/w -"),
        (", allowedRoutes: {namespaces: {from: All}}", "", "infra/w 10.96.9.9"),
        (
            ", allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}",
            "team: a",
            "infra/w 10.96.9.9",
        ),
        (
            ", allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}",
            "team: b",
            "infra/w -",
        ),
        (", allowedRoutes: {namespaces: {from: Future}}", "", "infra/w -"),
    ] {
        let text = namespace("shop", of_namespace) + &service(FAR) + &gateway("infra/w", "", routes, ADDRESS);
        let mesh = mesh_of(&text);
        assert_eq!(shown(mesh.service("shop/cart").waypoint.as_ref()), want, "{routes}");
        let refused = "Gateway infra/w: waypoint refuses namespace shop: traffic for it is refused";
        assert_eq!(mesh.notes().contains(&refused.to_owned()), want.ends_with('-'), "{routes}");
    }
}

#[test]
fn a_waypoint_s_service_is_preferred_to_a_bare_address() {
    let own = object("v1", "Service", "shop/w", "{clusterIP: 10.96.7.7}");
    for (addresses, want) in [
        (
            "{type: IPAddress, value: 10.96.9.9}, {type: Hostname, value: w.shop.svc.cluster.local}",
            "shop/w 10.96.7.7",
        ),
        ("{value: 10.96.9.9}", "shop/w 10.96.9.9"),
        ("{type: Hostname, value: w.elsewhere.example.com}", "shop/w -"),
        ("{type: example.com/own, value: 10.1.1.1}", "shop/w -"),
    ] {
        let text = service(USE)
            + &own
            + &gateway("shop/w", "", "", &format!("status: {{addresses: [{addresses}]}}\n"));
        assert_eq!(shown(mesh_of(&text).service("shop/cart").waypoint.as_ref()), want, "{addresses}");
    }
}

#[test]
fn a_waypoint_s_own_pods_and_service_have_none() {
    let text = namespace("shop", USE)
        + &gateway("shop/w", "istio.io/waypoint-for: all", "", ADDRESS)
        + &service("gateway.networking.k8s.io/gateway-name: w")
        + &pod("shop/a", "10.0.0.1", "gateway.networking.k8s.io/gateway-name: w", "")
        + &pod("shop/b", "10.0.0.2", "gateway.istio.io/managed: istio.io-mesh-controller", "");
    let mesh = mesh_of(&text);
    assert_eq!(both(&mesh), (String::new(), String::new()));
    assert_eq!(mesh.pod("shop/b").profile.waypoint, None);
}
