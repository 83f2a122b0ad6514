//! Other networks: their gateways, and what is behind them.

use mesh::{EndpointTarget, GatewayHost, Network};

use crate::mesh_of::{Mesh, mesh_of, object, pod, settings};

const REMOTE: &str = "gatewayClassName: istio-remote";
const LISTENER: &str = "listeners: [{name: cross-network, port: 15008, protocol: HBONE, tls: {mode: Passthrough}}, \
    {name: xds-tls, port: 15012, protocol: TLS, tls: {mode: Passthrough}}]";

/// A Gateway; `labels` and `annotations` are YAML without braces.
fn gateway(name: &str, labels: &str, annotations: &str, spec: &str) -> String {
    object("gateway.networking.k8s.io/v1", "Gateway", name, &format!("{{{spec}}}")).replace(
        "metadata: {",
        &format!("metadata: {{labels: {{{labels}}}, annotations: {{{annotations}}}, "),
    )
}

/// `key hosts port identity` of a network's gateways.
fn shown(mesh: &Mesh, network: &str) -> Vec<String> {
    let gateways = mesh.snapshot.gateways_of(&Network::new(network)).iter();
    let text = |it: &mesh::NetworkGateway| {
        let hosts: Vec<_> = it.hosts.iter().map(ToString::to_string).collect();
        let identity = it.identity.as_ref().map_or("-", |identity| identity.principal());
        format!("{} {} {} {identity}", it.key, hosts.join("|"), it.port)
    };
    gateways.map(|it| text(it)).collect()
}

#[test]
fn a_gateway_of_another_network_is_what_its_manifest_says() {
    let named = "gateway.istio.io/service-account: eastwest, gateway.istio.io/trust-domain: west.example";
    for (annotations, addresses, want) in [
        (
            named,
            "{type: IPAddress, value: 192.0.2.1}",
            "istio-system/w 192.0.2.1 15008 west.example/ns/istio-system/sa/eastwest",
        ),
        (
            named,
            "{value: \"2001:db8::1\"}",
            "istio-system/w 2001:db8::1 15008 west.example/ns/istio-system/sa/eastwest",
        ),
        (
            "",
            "{type: Hostname, value: Gate.Example.}, {value: \"::ffff:192.0.2.2\"}",
            "istio-system/w gate.example|192.0.2.2 15008 cluster.local/ns/istio-system/sa/w-istio-remote",
        ),
    ] {
        let spec = format!("{REMOTE}, addresses: [{addresses}], {LISTENER}");
        let mesh = mesh_of(&gateway("istio-system/w", "topology.istio.io/network: west", annotations, &spec));
        assert_eq!(shown(&mesh, "west"), [want]);
        assert_eq!(mesh.notes(), [""; 0]);
        assert_eq!(mesh.translation.ignored, []);
        assert!(mesh.snapshot.gateways().all(|it| it.is_usable()));
    }
}

#[test]
fn a_gateway_that_is_of_no_use_says_why() {
    let label = "topology.istio.io/network: west";
    let address = "addresses: [{value: 192.0.2.1}]";
    for (labels, annotations, spec, kept, note) in [
        (
            "",
            "",
            format!("{REMOTE}, {address}, {LISTENER}"),
            false,
            "it has no label topology.istio.io/network",
        ),
        (label, "", format!("{REMOTE}, {LISTENER}"), true, "it has no address in its spec"),
        (
            label,
            "",
            format!("{REMOTE}, {address}, listeners: [{{port: 15443, protocol: TLS}}]"),
            true,
            "it has no listener of protocol HBONE",
        ),
        (
            label,
            "gateway.istio.io/trust-domain: a b",
            format!("{REMOTE}, {address}, {LISTENER}"),
            true,
            "its names make no identity to expect of it",
        ),
        (
            label,
            "gateway.istio.io/service-account: a/b",
            format!("{REMOTE}, {address}, {LISTENER}"),
            true,
            "its names make no identity to expect of it",
        ),
    ] {
        let mesh = mesh_of(&gateway("istio-system/w", labels, annotations, &spec));
        assert_eq!(mesh.notes(), [format!("Gateway istio-system/w: no way to another network: {note}")]);
        assert_eq!(mesh.snapshot.gateways_of(&Network::new("west")).len(), usize::from(kept), "{note}");
        assert!(!mesh.snapshot.gateways().any(|it| it.is_usable()), "{note}");
    }
    // Nothing that leads back to who asks, or nowhere.
    for value in ["127.0.0.1", "0.0.0.0", "::1", "224.0.0.1", "gate", "\"*.example\"", "unix:///x"] {
        let kind = if value == "\"*.example\"" { "Hostname" } else { "IPAddress" };
        let spec = format!(
            "{REMOTE}, addresses: [{{type: {kind}, value: {value}}}, {{value: 192.0.2.1}}], {LISTENER}"
        );
        let mesh = mesh_of(&gateway("istio-system/w", label, "", &spec));
        let gateways = mesh.snapshot.gateways_of(&Network::new("west"));
        assert_eq!(*gateways[0].hosts, [GatewayHost::Ip("192.0.2.1".parse().unwrap())], "{value}");
        assert_eq!(mesh.notes().len(), 1, "{value}");
    }
}

#[test]
fn who_is_on_a_network_that_nothing_leads_to_is_noted() {
    let entry = |name: &str, spec: &str| object("networking.istio.io/v1", "WorkloadEntry", name, spec);
    let spec = format!("{REMOTE}, addresses: [{{value: 192.0.2.1}}], {LISTENER}");
    let text = gateway("istio-system/w", "topology.istio.io/network: west", "", &spec)
        + &entry("shop/far", "{network: west}")
        + &entry("shop/lost", "{network: wset}")
        + &pod("shop/pod", "10.0.0.1", "topology.istio.io/network: wset", "")
        + &object(
            "networking.istio.io/v1",
            "ServiceEntry",
            "shop/ext",
            "{hosts: [ext.example], resolution: STATIC, ports: [{number: 80, name: http}], \
             endpoints: [{network: west}, {network: wset}]}",
        );
    let why = "network \"wset\" has no Gateway of class istio-remote, and is not the own one: \
               mesh.network is \"\", a Gateway leads to \"west\"";
    let noted = ["Pod shop/pod", "ServiceEntry shop/ext", "WorkloadEntry shop/lost"];
    assert_eq!(mesh_of(&text).notes(), noted.map(|who| format!("{who}: {why}")));
}

#[test]
fn a_gateway_of_this_cluster_that_does_not_count_says_why() {
    let note = |labels: &str, spec: &str| {
        let mesh = mesh_of(&gateway("istio-system/gate", labels, "", spec));
        mesh.notes().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let spec = format!("gatewayClassName: istio-east-west, {LISTENER}");
    assert_eq!(note("", &spec), [""; 0]);
    let shut = "Gateway istio-system/gate: tunnels from other networks are not let in through it: ";
    let label = "its label topology.istio.io/network is \"west\", and mesh.network is \"\"";
    assert_eq!(note("topology.istio.io/network: west", &spec), [format!("{shut}{label}")]);
    let deaf = "it has no listener of protocol HBONE";
    assert_eq!(note("", &spec.replace("HBONE", "TLS")), [format!("{shut}{deaf}")]);
}

#[test]
fn a_slip_in_what_is_said_of_networks_is_noted() {
    let spec = format!("{REMOTE}, addresses: [{{value: 192.0.2.1}}], {LISTENER}");
    let label = "topology.istio.io/network: west";
    let known = "gateway.istio.io/service-account: w";
    for (text, note) in [
        (
            gateway("a/w", label, "gateway.istio.io/service-acount: w", &spec),
            "Gateway a/w: gateway.istio.io/service-acount is not known, \
             did you mean \"gateway.istio.io/service-account\"?",
        ),
        (
            gateway("a/w", "topology.istio.io/network: west, topology.istio.io/netwrok: west", known, &spec),
            "Gateway a/w: topology.istio.io/netwrok is not known, did you mean \"topology.istio.io/network\"?",
        ),
        (
            gateway("a/w", "", "", "gatewayClassName: istio-remotte"),
            "Gateway a/w: spec.gatewayClassName: \"istio-remotte\" is not known, did you mean \"istio-remote\"?",
        ),
        (
            pod("a/p", "10.0.0.1", "networking.istio.io/tunel: http", ""),
            "Pod a/p: networking.istio.io/tunel is not known, did you mean \"networking.istio.io/tunnel\"?",
        ),
        (
            pod("a/p", "10.0.0.1", "networking.istio.io/tunnel: htp", ""),
            "Pod a/p: networking.istio.io/tunnel: \"htp\" is not known, did you mean \"http\"?",
        ),
    ] {
        assert_eq!(mesh_of(&text).notes(), [note]);
    }
    let quiet = gateway("a/w", label, known, &spec)
        + &gateway("a/x", "", "", "gatewayClassName: istio-waypoint")
        + &pod("a/p", "10.0.0.1", "topology.istio.io/subzone: z, networking.istio.io/tunnel: http", "");
    assert_eq!(mesh_of(&quiet).notes(), [""; 0]);
}

#[test]
fn other_classes_lead_nowhere_and_a_remote_gateway_is_nobodys_waypoint() {
    let label = "topology.istio.io/network: west";
    for class in ["istio", "istio-waypoint", "istio-east-west", "istio-remot"] {
        let spec = format!("gatewayClassName: {class}, addresses: [{{value: 192.0.2.1}}], {LISTENER}");
        let mesh = mesh_of(&gateway("istio-system/w", label, "", &spec));
        assert_eq!(shown(&mesh, "west"), [""; 0], "{class}");
    }
    let spec = format!("{REMOTE}, addresses: [{{value: 192.0.2.1}}], {LISTENER}");
    let service = object("v1", "Service", "shop/cart", "{clusterIP: 10.96.0.1}")
        .replace("metadata: {", "metadata: {labels: {istio.io/use-waypoint: w}, ");
    let mesh = mesh_of(&(gateway("shop/w", label, "", &spec) + &service));
    assert_eq!(mesh.service("shop/cart").waypoint.as_ref().unwrap().address, None, "refused");
    assert_eq!(mesh.notes(), ["Gateway shop/w: waypoint does not exist: traffic for it is refused"]);
}

#[test]
fn what_is_on_another_network_is_an_endpoint_wherever_it_is_there() {
    let entry = |name: &str, spec: &str| object("networking.istio.io/v1", "WorkloadEntry", name, spec);
    let text = pod("shop/near", "10.0.0.1", "app: cart", "")
        + &entry(
            "shop/far",
            "{network: west, labels: {app: cart}, serviceAccount: cart, ports: {http: 9000}}",
        )
        + &entry("shop/twin", "{network: west, address: 10.0.0.1, labels: {app: cart}}")
        + &entry("shop/named", "{network: west, address: cart.example, labels: {app: cart}}")
        + &entry("shop/here", "{address: 10.0.0.9, labels: {app: cart}}")
        + &object(
            "v1",
            "Service",
            "shop/cart",
            "{clusterIP: 10.96.0.1, ipFamilies: [IPv4], selector: {app: cart}, ports: [{name: http, port: 80}]}",
        )
        + &object(
            "networking.istio.io/v1",
            "ServiceEntry",
            "shop/ext",
            "{hosts: [ext.example], resolution: STATIC, ports: [{number: 80, name: http}], \
             endpoints: [{network: west}, {network: west}, {address: 10.0.0.1, network: east}]}",
        );
    let mesh = mesh_of(&text);
    let targets = |name: &str| {
        let text = |target: &EndpointTarget| match target {
            EndpointTarget::Remote(uid) => mesh.find(&uid.0).unwrap().profile.network.as_str().to_owned(),
            EndpointTarget::Workload(_, ip) => ip.to_string(),
            other => panic!("{other:?}"),
        };
        let mut targets: Vec<_> = mesh.service(name).endpoints.iter().map(|it| text(&it.target)).collect();
        targets.sort();
        targets
    };
    assert_eq!(targets("shop/cart"), ["10.0.0.1", "10.0.0.9", "west", "west", "west"]);
    assert_eq!(targets("shop/ext.example"), ["east", "west", "west"]);
    let key = &mesh.service("shop/cart").key;
    let who = mesh.snapshot.identities_on(&Network::new("west"), key);
    let who: Vec<_> = who.iter().map(|identity| identity.service_account()).collect();
    assert_eq!(who, ["cart", "default"]);
    let far = mesh.find("Kubernetes/networking.istio.io/WorkloadEntry/shop/far").unwrap();
    assert!(far.addresses.is_empty() && far.services.contains(key));
    let at = mesh::NetworkAddress::from("10.0.0.1".parse::<std::net::IpAddr>().unwrap());
    let here = mesh.snapshot.workloads_by_address(&at);
    assert_eq!(here.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["near"], "the twin is elsewhere");
    // On the own network, it needs an address.
    let mesh = mesh_of(&entry("shop/lost", "{labels: {app: cart}}"));
    assert_eq!(mesh.notes(), ["WorkloadEntry shop/lost: spec.address: \"\" is ignored"]);
}

#[test]
fn entries_on_other_networks_join_what_slices_list() {
    let slice = "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
        metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}\n\
        addressType: IPv4\nports: [{name: http, port: 8080}]\n\
        endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: near, namespace: shop}}]\n";
    let entry = |name: &str, spec: &str| object("networking.istio.io/v1", "WorkloadEntry", name, spec);
    let text = pod("shop/near", "10.0.0.1", "app: cart", "")
        + slice
        + &entry("shop/far", "{network: west, labels: {app: cart}}")
        + &entry("shop/here", "{address: 10.0.0.9, labels: {app: cart}}")
        + &object(
            "v1",
            "Service",
            "shop/cart",
            "{clusterIP: 10.96.0.1, selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}",
        );
    let mesh = mesh_of(&text);
    let endpoints = &mesh.service("shop/cart").endpoints;
    let remote = endpoints.iter().filter(|it| matches!(it.target, EndpointTarget::Remote(_)));
    assert_eq!((endpoints.len(), remote.count()), (2, 1));
    assert!(endpoints.iter().all(|it| it.port_for(80) == Some(8080)));
}

#[test]
fn pods_and_entries_of_the_own_networks_gateway_are_known_as_such() {
    let own = "gateway.networking.k8s.io/gateway-name: gate";
    let spec = format!("gatewayClassName: istio-east-west, {LISTENER}");
    let pods = pod("istio-system/gate-1", "10.0.0.1", own, "")
        + &pod("istio-system/other", "10.0.0.2", "gateway.networking.k8s.io/gateway-name: other", "")
        + &pod("shop/gate-1", "10.0.0.3", own, "")
        + &object(
            "networking.istio.io/v1",
            "WorkloadEntry",
            "istio-system/vm",
            &format!("{{address: 10.0.0.4, labels: {{{own}}}}}"),
        );
    let known = |labels: &str, spec: &str, network: &str| {
        let text = gateway("istio-system/gate", labels, "", spec) + &pods;
        let (objects, problems) = cluster::read(std::path::Path::new("test.yaml"), &text);
        assert_eq!(problems, []);
        let settings = cluster::Settings { network: Network::new(network), ..settings() };
        let mesh = Mesh::of(cluster::translate(&objects, &cluster::Reported::default(), &settings));
        let mut known: Vec<_> = mesh
            .snapshot
            .workloads()
            .filter(|it| it.profile.network_gateway)
            .map(|it| it.addresses[0].to_string())
            .collect();
        known.sort();
        known
    };
    assert_eq!(known("", &spec, ""), ["10.0.0.1", "10.0.0.4"]);
    assert_eq!(known("topology.istio.io/network: east", &spec, "east"), ["10.0.0.1", "10.0.0.4"]);
    for (labels, spec, network) in [
        ("topology.istio.io/network: west", &*spec, "east"),
        ("", &spec, "east"),
        ("", &spec.replace("istio-east-west", "istio-remote"), ""),
        ("", &spec.replace("HBONE", "TLS"), ""),
    ] {
        assert_eq!(known(labels, spec, network), [""; 0], "{labels} {spec} {network}");
    }
}
