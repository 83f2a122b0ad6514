//! A client, and three pods of one Service: one beside the client, two on the other node.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use e2e::calls::{greeted, shop};
use harness::serve::Server;
use harness::{Cluster, LabError, Mesh, Pod, PodSpec, Stack, eventually, serve};
use serde_json::json;

/// The pods that are endpoints.
pub(crate) const WEBS: [&str; 3] = ["web-1", "web-2", "web-3"];

/// Where they serve.
pub(crate) const PORT: u16 = 8080;

/// Where they serve what they call `http`: each elsewhere.
pub(crate) const NAMED_PORTS: [u16; 3] = [9001, 9002, 9003];

/// The usual pods, and those of the Service.
pub(crate) fn mall(stack: Stack) -> Cluster {
    let mut cluster = shop(stack);
    for ((name, node), port) in WEBS.into_iter().zip(["node1", "node2", "node2"]).zip(NAMED_PORTS) {
        let ports = json!([{ "name": "http", "containerPort": port }]);
        let spec = json!({ "spec": { "containers": [{ "name": "app", "ports": ports }] } });
        cluster.pod(PodSpec::new("shop", name).node(node).label("app", "web").merge(spec));
    }
    cluster
}

/// Has each pod of the Service say its name.
pub(crate) fn serve_names(mesh: &Mesh) -> Result<Vec<Server>, LabError> {
    WEBS.iter().map(|name| mesh.pod(&format!("shop/{name}")).serve(PORT, serve::banner(*name))).collect()
}

/// Who answers so many calls, and how often.
pub(crate) fn answers(from: &Pod, to: SocketAddr, calls: usize) -> Result<BTreeMap<String, usize>, LabError> {
    let mut counts = BTreeMap::new();
    for _ in 0..calls {
        *counts.entry(greeted(from, to)?.0).or_default() += 1;
    }
    Ok(counts)
}

/// Waits until these, and nobody else, answer: twenty calls miss one of three in one of a thousand rounds.
pub(crate) fn until_answered_by(from: &Pod, to: SocketAddr, wanted: &[&str]) -> Result<(), LabError> {
    let mut last = Vec::new();
    let answered = eventually("others answer", || {
        let answers: BTreeMap<_, _> =
            (0..20).filter_map(|_| greeted(from, to).ok()).map(|(name, _)| (name, ())).collect();
        last = answers.into_keys().collect();
        Ok((last == wanted).then_some(()))
    });
    answered.map_err(|error| LabError::Unreadable {
        what: format!("{last:?} answer instead of {wanted:?}"),
        problem: error.to_string(),
    })
}

/// A Service `web` of the three pods, in one address family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Web(pub(crate) Stack);

impl Web {
    /// Where it is.
    pub(crate) fn address(self) -> SocketAddr {
        match self.0 {
            Stack::V4 | Stack::Dual => ([10, 96, 9, 1], 80).into(),
            Stack::V6 => ([0xfd00, 0x96, 0, 0, 0, 0, 9, 1], 80).into(),
        }
    }

    /// It, with more in its `spec`.
    pub(crate) fn manifest(self, spec: &str) -> String {
        let ip = self.address().ip();
        let family = family(ip);
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\n\
             spec:\n  clusterIP: \"{ip}\"\n  clusterIPs: [\"{ip}\"]\n  ipFamilies: [{family}]\n  selector: {{app: web}}\n  \
             ports: [{{name: tcp, port: 80, targetPort: 8080}}]\n{spec}"
        )
    }
}

/// The endpoints of that Service, with conditions.
pub(crate) fn slice(mesh: &Mesh, endpoints: &[(&str, &str)]) -> String {
    let family = family(mesh.pod("shop/web-1").ip());
    let mut text = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: web-x, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}\n\
         addressType: {family}\nports: [{{name: tcp, port: 8080}}]\nendpoints:\n"
    );
    for (name, conditions) in endpoints {
        let ip = mesh.pod(&format!("shop/{name}")).ip();
        let _infallible = writeln!(
            text,
            "- {{addresses: [\"{ip}\"], conditions: {{{conditions}}}, \
             targetRef: {{kind: Pod, name: {name}, namespace: shop}}}}"
        );
    }
    text
}

/// What Kubernetes calls the family of an address.
const fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}
