//! Which pods are enrolled and captured.

use cluster::Reported;
use mesh::{Capture, TunnelProtocol};

use crate::mesh_of::{mesh_of, namespace, pod, reported};

#[test]
fn labels_enrol_pods_unless_something_forbids_it() {
    const ON: &str = "istio.io/dataplane-mode: ambient";
    const OFF: &str = "istio.io/dataplane-mode: none";
    const SIDECAR: &str = "  annotations: {sidecar.istio.io/status: injected}";
    for (namespace_labels, pod_labels, spec, want) in [
        ("", "", "", Capture::Off),
        (ON, "", "", Capture::Pending),
        (ON, OFF, "", Capture::Off),
        ("", ON, "", Capture::Pending),
        (OFF, ON, "", Capture::Pending),
        (OFF, "", "", Capture::Off),
        (ON, "", "spec: {hostNetwork: true}", Capture::Off),
        ("", ON, "spec: {hostNetwork: true}", Capture::Off),
    ] {
        let text = namespace("shop", namespace_labels) + &pod("shop/cart", "10.0.0.1", pod_labels, spec);
        let mesh = mesh_of(&text);
        assert_eq!(mesh.pod("shop/cart").capture, want, "{text}");
    }
    let with_sidecar =
        pod("shop/cart", "10.0.0.1", ON, "").replace("status:", &format!("{SIDECAR}\nstatus:"));
    assert_eq!(mesh_of(&with_sidecar).pod("shop/cart").capture, Capture::Off);
    let system = mesh_of(&pod("kube-system/dns", "10.0.0.1", ON, ""));
    assert_eq!(system.pod("kube-system/dns").capture, Capture::Off);
}

#[test]
fn a_pod_counts_as_captured_once_its_own_node_says_so() {
    let text = pod("shop/cart", "10.0.0.1", "istio.io/dataplane-mode: ambient", "spec: {nodeName: node-1}")
        .replace("  name: cart", "  name: cart\n  uid: uid-1");
    for (node, uid, want) in [
        ("node-1", "uid-1", Capture::Enabled),
        ("node-1", "uid-2", Capture::Pending),
        ("node-2", "uid-1", Capture::Pending),
    ] {
        let mesh = reported(&text, &Reported::default().with(node, [uid.into()]));
        assert_eq!(mesh.pod("shop/cart").capture, want, "{node} {uid}");
        assert_eq!(mesh.pod("shop/cart").profile.protocol, TunnelProtocol::Hbone);
    }
    let mesh = reported(&text, &Reported::default().with_itself("uid-1"));
    assert_eq!(mesh.pod("shop/cart").capture, Capture::Enabled, "by a proxy of its own");
    let unlabelled = text.replace("ambient", "none");
    let mesh = reported(&unlabelled, &Reported::default().with("node-1", ["uid-1".into()]));
    assert_eq!(mesh.pod("shop/cart").capture, Capture::Off);
}

#[test]
fn istio_s_own_marks_of_capture_count() {
    let plain = pod("shop/cart", "10.0.0.1", "", "");
    let annotated =
        plain.replace("status:", "  annotations: {ambient.istio.io/redirection: enabled}\nstatus:");
    let native = pod("shop/cart", "10.0.0.1", "networking.istio.io/tunnel: http", "");
    for (text, want) in [(&plain, Capture::Off), (&annotated, Capture::Enabled), (&native, Capture::Enabled)]
    {
        let mesh = mesh_of(text);
        assert_eq!(mesh.pod("shop/cart").capture, want, "{text}");
        let hbone = mesh.pod("shop/cart").profile.protocol == TunnelProtocol::Hbone;
        assert_eq!(hbone, want == Capture::Enabled);
    }
}

#[test]
fn a_pod_in_its_nodes_network_that_speaks_hbone_is_found_at_the_ports_that_it_declares() {
    const NATIVE: &str = "networking.istio.io/tunnel: http";
    const PORTS: &str = "containers: [{ports: [{containerPort: 15021}, {containerPort: 53, protocol: UDP}]}, \
                         {ports: [{containerPort: 15020}, {containerPort: 15008}, {containerPort: 15020}]}]";
    for (label, host, want) in [
        (NATIVE, true, &[15020, 15021][..]),
        ("app: agent", true, &[]),
        ("networking.istio.io/tunnel: none", true, &[]),
        (NATIVE, false, &[]),
    ] {
        let spec = format!("spec: {{nodeName: node-1, hostNetwork: {host}, {PORTS}}}");
        let mesh = mesh_of(&pod("mesh/agent", "192.0.2.1", label, &spec));
        assert_eq!(*mesh.pod("mesh/agent").profile.native_ports, *want, "{label} {host}");
        assert_eq!(mesh.notes(), [""; 0]);
    }
}

#[test]
fn pods_that_declare_one_port_of_their_node_are_noted() {
    let agent = |name: &str, node: &str, port: u16| {
        let spec = format!(
            "{{nodeName: {node}, hostNetwork: true, containers: [{{ports: [{{containerPort: {port}}}]}}]}}"
        );
        pod(name, "192.0.2.1", "networking.istio.io/tunnel: http", &format!("spec: {spec}"))
    };
    let text = agent("mesh/b", "node-1", 15020)
        + &agent("mesh/a", "node-1", 15020)
        + &agent("other/a", "node-1", 15020)
        + &agent("mesh/c", "node-2", 15020).replace("192.0.2.1", "192.0.2.2")
        + &agent("mesh/d", "node-1", 15021);
    let mesh = mesh_of(&text);
    let said = ["mesh/b", "other/a"].map(|loser| {
        format!("Pod {loser}: port 15020 of its node leads to Pod mesh/a, which says that it serves it too")
    });
    assert_eq!(mesh.notes(), said);
    let at = "192.0.2.1".parse::<std::net::IpAddr>().unwrap().into();
    let found = mesh.snapshot.workload_at(&at, 15020).unwrap();
    assert_eq!((&*found.profile.namespace, &*found.name), ("mesh", "a"));
}

#[test]
fn a_label_that_seems_meant_to_enrol_and_does_not_is_noted() {
    const KEY: &str = "istio.io/dataplane-mode";
    let of_value = |value: &str, meant: &str| {
        let meant = if meant.is_empty() { String::new() } else { format!(", did you mean {meant:?}?") };
        format!("{KEY}: {value:?} is not known{meant}")
    };
    let of_key = |key: &str| format!("{key} is not known, did you mean {KEY:?}?");
    for (label, notes) in [
        (format!("{KEY}: Ambient"), vec![of_value("Ambient", "ambient")]),
        (format!("{KEY}: ambiant"), vec![of_value("ambiant", "ambient")]),
        (format!("{KEY}: non"), vec![of_value("non", "none")]),
        (format!("{KEY}: sidecar"), vec![of_value("sidecar", "")]),
        ("istio.io/dataplane_mode: ambient".to_owned(), vec![of_key("istio.io/dataplane_mode")]),
        ("isto.io/dataplane-mode: ambient".to_owned(), vec![of_key("isto.io/dataplane-mode")]),
        ("istio.io/data-plane-mode: ambient".to_owned(), vec![of_key("istio.io/data-plane-mode")]),
        ("dataplane-mode: ambient".to_owned(), vec![of_key("dataplane-mode")]),
        (format!("{KEY}: ambient"), vec![]),
        (format!("{KEY}: none"), vec![]),
        ("istio.io/deploy-mode: x, app: dataplane-mode".to_owned(), vec![]),
    ] {
        for (kind, text) in [
            ("Namespace shop", namespace("shop", &label)),
            ("Pod shop/cart", pod("shop/cart", "10.0.0.1", &label, "")),
        ] {
            let said: Vec<_> = notes.iter().map(|note| format!("{kind}: {note}")).collect();
            assert_eq!(mesh_of(&text).notes(), said, "{label}");
        }
    }
    let annotated =
        namespace("shop", "").replace("labels:", &format!("annotations: {{{KEY}: ambient}}, labels:"));
    assert_eq!(mesh_of(&annotated).notes(), [format!("Namespace shop: annotation {KEY} has no effect")]);
}
