//! PeerAuthentications: what a port's mode comes to under those of its workload, its namespace and the mesh.

use crate::peer_authentication::{accepts, authentication, named, with};

/// Modes of the mesh, the namespace and the workload (`-`: nobody says any), and of ports of the workload.
struct Modes {
    mesh: &'static str,
    namespace: &'static str,
    workload: &'static str,
    ports: &'static [(u16, &'static str)],
}

/// Which policy refuses plaintext to the pod.
#[derive(Clone, Copy, Debug)]
enum By {
    Nobody,
    /// The one of the workload's PeerAuthentication.
    Own,
    /// The one of all that are STRICT at every port.
    Static,
}

const fn modes(
    mesh: &'static str,
    namespace: &'static str,
    workload: &'static str,
    ports: &'static [(u16, &'static str)],
) -> Modes {
    Modes { mesh, namespace, workload, ports }
}

impl Modes {
    fn manifests(&self) -> String {
        let Self { mesh, namespace, workload, ports } = self;
        let wide = |name: &str, mode: &str| match mode {
            "-" => String::new(),
            mode => authentication(name, &format!("{{mtls: {{mode: {mode}}}}}")),
        };
        let port = |(port, mode): &(u16, &str)| format!("{port}: {{mode: {mode}}}");
        let ports = match ports {
            [] => String::new(),
            ports => {
                let ports: Vec<_> = ports.iter().map(port).collect();
                format!(", portLevelMtls: {{{}}}", ports.join(", "))
            }
        };
        let own = match *workload {
            "-" => String::new(),
            mode => {
                let spec = format!("selector: {{matchLabels: {{app: cart}}}}, mtls: {{mode: {mode}}}{ports}");
                authentication("shop/cart", &format!("{{{spec}}}"))
            }
        };
        wide("istio-system/mesh", mesh) + &wide("shop/all", namespace) + &own
    }
}

/// Checks whether plaintext is accepted at 80, 81 and 82, and who refuses it.
fn hold(table: &[(Modes, [bool; 3], By)]) {
    for (modes, accepted, by) in table {
        let text = modes.manifests();
        let mesh = with(&text);
        assert_eq!([80, 81, 82].map(|port| accepts(&mesh, port)), *accepted, "{text}");
        let policies: &[&str] = match by {
            By::Nobody => &[],
            By::Own => &["shop/converted_peer_authentication_cart"],
            By::Static => &["istio-system/istio_converted_static_strict"],
        };
        assert_eq!(named(&mesh), policies, "{text}");
        assert_eq!(mesh.notes(), [""; 0], "{text}");
    }
}

#[test]
fn a_workload_that_says_its_mode_has_it_at_all_ports_but_those_it_lists() {
    hold(&[
        (modes("-", "-", "STRICT", &[]), [false; 3], By::Static),
        (modes("-", "-", "STRICT", &[(80, "STRICT")]), [false; 3], By::Static),
        (modes("-", "-", "STRICT", &[(80, "UNSET")]), [false; 3], By::Static),
        (modes("-", "-", "STRICT", &[(80, "PERMISSIVE")]), [true, false, false], By::Own),
        (modes("-", "-", "STRICT", &[(80, "DISABLE")]), [true, false, false], By::Own),
        (modes("-", "-", "STRICT", &[(80, "STRICT"), (81, "PERMISSIVE")]), [false, true, false], By::Own),
        (modes("-", "-", "STRICT", &[(80, "PERMISSIVE"), (81, "DISABLE")]), [true, true, false], By::Own),
        (modes("-", "-", "PERMISSIVE", &[(80, "PERMISSIVE")]), [true; 3], By::Nobody),
        (modes("-", "-", "PERMISSIVE", &[(80, "STRICT")]), [false, true, true], By::Own),
        (modes("-", "-", "PERMISSIVE", &[(80, "STRICT"), (81, "PERMISSIVE")]), [false, true, true], By::Own),
        (modes("-", "-", "DISABLE", &[(80, "STRICT")]), [false, true, true], By::Own),
        (modes("-", "-", "DISABLE", &[(80, "STRICT"), (82, "STRICT")]), [false, true, false], By::Own),
    ]);
}

#[test]
fn a_workload_that_says_none_has_the_next_wider_mode_at_the_ports_it_does_not_list() {
    hold(&[
        (modes("-", "-", "UNSET", &[(80, "STRICT")]), [false, true, true], By::Own),
        (modes("PERMISSIVE", "-", "UNSET", &[(80, "PERMISSIVE")]), [true; 3], By::Nobody),
        (
            modes("PERMISSIVE", "PERMISSIVE", "UNSET", &[(80, "STRICT"), (81, "STRICT")]),
            [false, false, true],
            By::Own,
        ),
        (
            modes("PERMISSIVE", "UNSET", "UNSET", &[(80, "STRICT"), (81, "PERMISSIVE")]),
            [false, true, true],
            By::Own,
        ),
        (modes("PERMISSIVE", "STRICT", "UNSET", &[(80, "PERMISSIVE")]), [true, false, false], By::Own),
        (modes("PERMISSIVE", "STRICT", "UNSET", &[(80, "STRICT")]), [false; 3], By::Static),
        (modes("STRICT", "PERMISSIVE", "UNSET", &[(80, "STRICT")]), [false, true, true], By::Own),
        (modes("STRICT", "-", "UNSET", &[(80, "PERMISSIVE")]), [true, false, false], By::Own),
        (modes("STRICT", "-", "UNSET", &[(80, "STRICT")]), [false; 3], By::Static),
        (modes("STRICT", "-", "UNSET", &[(80, "PERMISSIVE"), (81, "STRICT")]), [true, false, false], By::Own),
    ]);
}

#[test]
fn a_workloads_own_mode_beats_the_wider_ones() {
    hold(&[
        (modes("PERMISSIVE", "STRICT", "-", &[]), [false; 3], By::Static),
        (modes("PERMISSIVE", "STRICT", "STRICT", &[]), [false; 3], By::Static),
        (modes("PERMISSIVE", "STRICT", "PERMISSIVE", &[]), [true; 3], By::Nobody),
        (modes("STRICT", "-", "DISABLE", &[]), [true; 3], By::Nobody),
        (modes("PERMISSIVE", "STRICT", "PERMISSIVE", &[(80, "PERMISSIVE")]), [true; 3], By::Nobody),
        (modes("PERMISSIVE", "STRICT", "PERMISSIVE", &[(80, "STRICT")]), [false, true, true], By::Own),
        (modes("PERMISSIVE", "PERMISSIVE", "STRICT", &[(80, "PERMISSIVE")]), [true, false, false], By::Own),
        (modes("STRICT", "-", "STRICT", &[(80, "PERMISSIVE")]), [true, false, false], By::Own),
    ]);
}

/// Istiod decides in two places whether a workload has a policy of its own, and they disagree: here it names one that it
/// never sends, and its proxy skips what it doesn't know, so that everything accepts plaintext.
#[test]
fn ports_are_strict_also_where_istiod_loses_the_policy() {
    hold(&[
        (modes("STRICT", "-", "PERMISSIVE", &[(80, "STRICT")]), [false, true, true], By::Own),
        (modes("STRICT", "UNSET", "PERMISSIVE", &[(80, "STRICT")]), [false, true, true], By::Own),
        (modes("STRICT", "UNSET", "UNSET", &[(80, "PERMISSIVE")]), [true, false, false], By::Own),
    ]);
}

/// DISABLE is PERMISSIVE wherever it is said; istiod overlooks it at a port whose workload inherits STRICT.
#[test]
fn a_disabled_port_accepts_plaintext_also_where_strict_is_inherited() {
    hold(&[
        (modes("-", "STRICT", "UNSET", &[(80, "DISABLE")]), [true, false, false], By::Own),
        (modes("STRICT", "-", "UNSET", &[(80, "DISABLE")]), [true, false, false], By::Own),
    ]);
}
