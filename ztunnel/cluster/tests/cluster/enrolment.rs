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
