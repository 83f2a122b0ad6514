//! ServiceEntries and WorkloadEntries.

use mesh::{AppProtocol, Capture, EndpointTarget, Resolution, TunnelProtocol, WorkloadKind};

use crate::mesh_of::{Mesh, mesh_of, object, pod, texts};

fn entry(spec: &str) -> String {
    object("networking.istio.io/v1", "ServiceEntry", "shop/db", spec)
}

fn endpoints(mesh: &Mesh, host: &str) -> Vec<String> {
    let text = |endpoint: &mesh::Endpoint| {
        let ports: Vec<_> = endpoint.ports.iter().map(|(port, own)| format!("{port}>{own}")).collect();
        let target = match &endpoint.target {
            EndpointTarget::Remote(uid) => format!("@{}", uid.0),
            EndpointTarget::Hostname(uid) => mesh.find(&uid.0).unwrap().hostname.clone().unwrap().to_string(),
            EndpointTarget::Workload(_, ip) => ip.to_string(),
            EndpointTarget::Address(address) => format!("={address}"),
        };
        format!("{target} {}", ports.join(","))
    };
    mesh.service(&format!("shop/{host}")).endpoints.iter().map(text).collect()
}

#[test]
fn each_host_is_a_service_with_the_addresses_and_ranges_of_all() {
    let text = entry(
        "{hosts: [DB.example.com, b.example.com.], addresses: [192.0.2.1, 198.51.100.0/24, \"2001:db8::/128\", nonsense], \
         ports: [{number: 5432, name: tcp, protocol: TCP}, {number: 53, name: u, protocol: UDP}], resolution: STATIC}",
    );
    let mesh = mesh_of(&text);
    for host in ["db.example.com", "b.example.com"] {
        let service = mesh.service(&format!("shop/{host}"));
        assert_eq!(texts(&service.addresses), ["192.0.2.1", "2001:db8::"]);
        assert_eq!(service.ranges.len(), 1);
        let ports: Vec<_> = service.ports.iter().map(|port| (port.port, port.protocol)).collect();
        assert_eq!(ports, [(5432, AppProtocol::Tcp)]);
        assert!(!service.canonical);
    }
    assert_eq!(mesh.notes(), ["ServiceEntry shop/db: spec.addresses: \"nonsense\" is ignored"]);
}

#[test]
fn endpoints_are_listed_selected_or_the_host_itself() {
    let pods = pod("shop/vm-like", "10.0.0.1", "app: db", "") + &pod("other/db", "10.0.0.2", "app: db", "");
    let workload = object(
        "networking.istio.io/v1",
        "WorkloadEntry",
        "shop/vm",
        "{address: 192.0.2.9, labels: {app: db}, ports: {sql: 7000}}",
    );
    const PORTS: &str = "hosts: [db.example.com], ports: [{number: 80, name: sql, targetPort: 8080}]";
    for (more, resolution, want) in [
        (
            "resolution: STATIC, endpoints: [{address: 192.0.2.1}, {address: 192.0.2.2, ports: {sql: 9000}}, {address: 192.0.2.1}]",
            Resolution::Static,
            &["192.0.2.1 80>8080", "192.0.2.2 80>9000", "192.0.2.1 80>8080"][..],
        ),
        (
            "resolution: STATIC, workloadSelector: {labels: {app: db}}",
            Resolution::Static,
            &["10.0.0.1 80>8080", "192.0.2.9 80>7000"],
        ),
        ("resolution: DNS", Resolution::Dns, &["db.example.com 80>8080"]),
        ("resolution: DNS_ROUND_ROBIN", Resolution::Dns, &["db.example.com 80>8080"]),
        (
            "resolution: DNS, endpoints: [{address: real.example.com}]",
            Resolution::Dns,
            &["real.example.com 80>8080"],
        ),
        ("resolution: NONE", Resolution::Passthrough, &[]),
        ("{}", Resolution::Passthrough, &[]),
        ("resolution: STATIC", Resolution::Static, &[]),
        ("resolution: STATIC, endpoints: [{address: \"unix:///var/run/db\"}]", Resolution::Static, &[]),
    ] {
        let text = pods.clone() + &workload + &entry(&format!("{{{PORTS}, {more}}}").replace(", {}}", "}"));
        let mesh = mesh_of(&text);
        assert_eq!(endpoints(&mesh, "db.example.com"), want, "{more}");
        assert_eq!(mesh.service("shop/db.example.com").resolution, resolution, "{more}");
    }
}

#[test]
fn hosts_without_addresses_get_some_that_never_change() {
    let allocated = |text: &str, host: &str| texts(&mesh_of(text).service(&format!("shop/{host}")).addresses);
    let plain = entry("{hosts: [db.example.com], resolution: DNS}");
    let addresses = allocated(&plain, "db.example.com");
    assert_eq!(addresses, ["240.240.185.121", "2001:2:0:af14:4cd2:63f6:f9c5:fd75"]);
    let among_others = plain.clone()
        + &object(
            "networking.istio.io/v1",
            "ServiceEntry",
            "shop/a",
            "{hosts: [a.example.com], resolution: DNS}",
        );
    assert_eq!(allocated(&among_others, "db.example.com"), addresses);

    for (text, want) in [
        (
            plain.replace(
                "name: db",
                "name: db, labels: {networking.istio.io/enable-autoallocate-ip: \"false\"}",
            ),
            &[][..],
        ),
        (entry("{hosts: [db.example.com], resolution: NONE}"), &[]),
        (entry("{hosts: [db.example.com], resolution: DNS, addresses: [192.0.2.1]}"), &["192.0.2.1"]),
        (plain.clone() + "status: {addresses: [{value: 240.240.0.9}]}", &["240.240.0.9"]),
        (
            plain.clone()
                + "status: {addresses: [{value: 240.240.0.9, host: db.example.com}, {value: 240.240.0.8, host: x}]}",
            &["240.240.0.9"],
        ),
    ] {
        assert_eq!(allocated(&text, "db.example.com"), want, "{text}");
    }
    let wildcard = mesh_of(&entry("{hosts: [\"*.example.com\"], resolution: DNS}"));
    assert!(wildcard.service("shop/*.example.com").addresses.is_empty());
}

#[test]
fn an_address_in_a_status_is_nobody_else_s() {
    let taken = object(
        "networking.istio.io/v1",
        "ServiceEntry",
        "shop/a",
        "{hosts: [a.example.com], resolution: DNS}",
    ) + "status: {addresses: [{value: 240.240.185.121}]}\n";
    let mesh = mesh_of(&(entry("{hosts: [db.example.com], resolution: DNS}") + &taken));
    assert_eq!(texts(&mesh.service("shop/db.example.com").addresses)[0], "240.240.185.122");
}

#[test]
fn a_host_that_is_taken_goes_to_the_service_or_to_the_oldest() {
    let service = object("v1", "Service", "shop/cart", "{clusterIP: 10.96.0.1}");
    let same = entry("{hosts: [cart.shop.svc.cluster.local], addresses: [192.0.2.1]}");
    let mesh = mesh_of(&(service + &same));
    assert_eq!(texts(&mesh.service("shop/cart").addresses), ["10.96.0.1"]);
    let note = "ServiceEntry shop/db: host cart.shop.svc.cluster.local is ignored: Service shop/cart has it";
    assert_eq!(mesh.notes(), [note]);

    let aged = |name: &str, year: u16, address: &str| {
        object(
            "networking.istio.io/v1",
            "ServiceEntry",
            name,
            &format!("{{hosts: [x.com], addresses: [{address}]}}"),
        )
        .replace("metadata: {", &format!("metadata: {{creationTimestamp: \"{year}-01-01T00:00:00Z\", "))
    };
    let mesh = mesh_of(&(aged("shop/a", 2021, "192.0.2.1") + &aged("shop/b", 2020, "192.0.2.2")));
    assert_eq!(texts(&mesh.service("shop/x.com").addresses), ["192.0.2.2"]);
    assert_eq!(mesh.notes(), ["ServiceEntry shop/a: host x.com is ignored: ServiceEntry shop/b has it"]);
}

#[test]
fn export_to_and_identities_are_as_the_spec_says() {
    let mesh = mesh_of(&entry(
        "{hosts: [x.com], exportTo: [\".\"], subjectAltNames: [\"spiffe://cluster.local/ns/a/sa/b\", x.com]}",
    ));
    let service = mesh.service("shop/x.com");
    assert!(service.is_visible_to("shop") && !service.is_visible_to("other"));
    assert_eq!(service.subject_alt_names.len(), 1);
    assert_eq!(mesh.notes(), ["ServiceEntry shop/db: spec.subjectAltNames: \"x.com\" is ignored"]);
}

#[test]
fn a_workload_entry_is_a_workload() {
    let text = object(
        "networking.istio.io/v1",
        "WorkloadEntry",
        "shop/vm",
        "{address: 192.0.2.9, labels: {app: db}, network: far, locality: eu/eu-1/r, weight: 7, serviceAccount: db}",
    );
    let mesh = mesh_of(&text);
    let vm = mesh.find("Kubernetes/networking.istio.io/WorkloadEntry/shop/vm").unwrap();
    assert_eq!(
        (vm.profile.kind, vm.capture, vm.weight, vm.healthy),
        (WorkloadKind::Entry, Capture::Off, 7, true)
    );
    assert_eq!((vm.profile.network.as_str(), &*vm.node.locality.zone), ("far", "eu-1"));
    assert_eq!((&*vm.profile.service_account, &*vm.profile.canonical_name), ("db", "db"));

    let native = mesh_of(&text.replace("app: db", "networking.istio.io/tunnel: http"));
    let vm = native.find("Kubernetes/networking.istio.io/WorkloadEntry/shop/vm").unwrap();
    assert_eq!((vm.profile.protocol, vm.capture), (TunnelProtocol::Hbone, Capture::Enabled));

    let nowhere = mesh_of(&text.replace("192.0.2.9", "\"\"").replace("network: far, ", ""));
    assert_eq!(nowhere.notes(), ["WorkloadEntry shop/vm: spec.address: \"\" is ignored"]);
}
