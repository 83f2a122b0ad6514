//! Pods and Services as a test thinks of them, on their way to manifests.

use std::net::IpAddr;

use serde_json::{Value, json};

/// Address families of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stack {
    /// IPv4 only.
    #[default]
    V4,
    /// IPv6 only.
    V6,
    /// Both, IPv4 first.
    Dual,
}

/// A pod to be. Its service account is named like it, and its label `app` too.
#[derive(Clone, Debug)]
pub struct PodSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) account: String,
    pub(crate) stack: Option<Stack>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) uid: Option<String>,
    patches: Vec<Value>,
}

/// A Service to be.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) stack: Option<Stack>,
    pub(crate) headless: bool,
    app: String,
    ports: Vec<Value>,
    patches: Vec<Value>,
}

impl Stack {
    /// Whether it has IPv4.
    pub const fn v4(self) -> bool {
        matches!(self, Self::V4 | Self::Dual)
    }

    /// Whether it has IPv6.
    pub const fn v6(self) -> bool {
        matches!(self, Self::V6 | Self::Dual)
    }

    /// Those of the pair that it has.
    pub(crate) fn of<T>(self, v4: T, v6: T) -> Vec<T> {
        let both = [(self.v4(), v4), (self.v6(), v6)];
        both.into_iter().filter(|(has, _)| *has).map(|(_, it)| it).collect()
    }

    /// What Kubernetes calls its families.
    pub(crate) fn families(self) -> Vec<&'static str> {
        self.of("IPv4", "IPv6")
    }
}

impl PodSpec {
    /// A pod on `node1`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            node: "node1".to_owned(),
            account: name.to_owned(),
            stack: None,
            addresses: Vec::new(),
            uid: None,
            patches: Vec::new(),
        }
    }

    /// Where it runs.
    #[must_use]
    pub fn node(mut self, node: &str) -> Self {
        node.clone_into(&mut self.node);
        self
    }

    /// Who it is.
    #[must_use]
    pub fn account(mut self, account: &str) -> Self {
        account.clone_into(&mut self.account);
        self
    }

    /// Its address families, if not those of the cluster.
    #[must_use]
    pub const fn stack(mut self, stack: Stack) -> Self {
        self.stack = Some(stack);
        self
    }

    /// Its addresses, if not the next that are free.
    #[must_use]
    pub fn addresses(mut self, addresses: &[IpAddr]) -> Self {
        addresses.clone_into(&mut self.addresses);
        self
    }

    /// Its uid, if not the next.
    #[must_use]
    pub fn uid(mut self, uid: &str) -> Self {
        self.uid = Some(uid.to_owned());
        self
    }

    /// A label.
    #[must_use]
    pub fn label(self, key: &str, value: &str) -> Self {
        self.merge(json!({ "metadata": { "labels": { key: value } } }))
    }

    /// An annotation.
    #[must_use]
    pub fn annotation(self, key: &str, value: &str) -> Self {
        self.merge(json!({ "metadata": { "annotations": { key: value } } }))
    }

    /// Changes the manifest: objects are merged, all else replaces, null removes (RFC 7386).
    #[must_use]
    pub fn merge(mut self, patch: Value) -> Self {
        self.patches.push(patch);
        self
    }

    /// Captured by a proxy of its own, and not by its node's daemon.
    #[must_use]
    pub fn dedicated(self) -> Self {
        self.merge(json!({ "metadata": { "annotations": { "ambient.mesh/proxy": "dedicated" } } }))
    }

    pub(crate) fn manifest(self, uid: &str, addresses: &[IpAddr]) -> Value {
        let ips: Vec<_> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        let mut manifest = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name, "namespace": self.namespace, "uid": uid, "labels": { "app": self.name },
            },
            "spec": {
                "nodeName": self.node,
                "serviceAccountName": self.account,
                "containers": [{ "name": "app" }],
            },
            "status": {
                "phase": "Running",
                "conditions": [{ "type": "Ready", "status": "True" }],
                "podIP": addresses.first(),
                "podIPs": ips,
            },
        });
        self.patches.iter().for_each(|patch| merge(&mut manifest, patch));
        manifest
    }
}

impl ServiceSpec {
    /// A Service of the pods whose label `app` is its name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            stack: None,
            headless: false,
            app: name.to_owned(),
            ports: Vec::new(),
            patches: Vec::new(),
        }
    }

    /// The pods whose label `app` is this.
    #[must_use]
    pub fn app(mut self, app: &str) -> Self {
        app.clone_into(&mut self.app);
        self
    }

    /// A TCP port, and the port of the pods behind it.
    #[must_use]
    pub fn port(mut self, port: u16, target: u16) -> Self {
        self.ports.push(json!({ "name": format!("tcp-{port}"), "port": port, "targetPort": target }));
        self
    }

    /// Its address families, if not those of the cluster.
    #[must_use]
    pub const fn stack(mut self, stack: Stack) -> Self {
        self.stack = Some(stack);
        self
    }

    /// Without an address of its own.
    #[must_use]
    pub const fn headless(mut self) -> Self {
        self.headless = true;
        self
    }

    /// Changes the manifest: objects are merged, all else replaces, null removes (RFC 7386).
    #[must_use]
    pub fn merge(mut self, patch: Value) -> Self {
        self.patches.push(patch);
        self
    }

    pub(crate) fn manifest(self, addresses: &[IpAddr], stack: Stack) -> Value {
        let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
        let texts = if self.headless { vec!["None".to_owned()] } else { texts };
        let policy = if stack == Stack::Dual { "RequireDualStack" } else { "SingleStack" };
        let mut manifest = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": texts.first(),
                "clusterIPs": texts,
                "ipFamilies": stack.families(),
                "ipFamilyPolicy": policy,
                "selector": { "app": self.app },
                "ports": self.ports,
            },
        });
        self.patches.iter().for_each(|patch| merge(&mut manifest, patch));
        manifest
    }
}

/// Merges a patch into a value (RFC 7386).
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Value::Object(into) = into else { return };
    for (key, change) in patch {
        if change.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_merges_objects_replaces_values_and_removes_by_null() {
        let mut value = json!({ "a": { "b": 1, "c": 2 }, "d": [1, 2] });
        merge(&mut value, &json!({ "a": { "b": null, "e": { "f": 3 } }, "d": [4] }));
        assert_eq!(value, json!({ "a": { "c": 2, "e": { "f": 3 } }, "d": [4] }));
    }

    #[test]
    fn a_pod_has_what_kubernetes_would_have_filled_in() {
        let pod = PodSpec::new("shop", "client").label("tier", "front");
        let manifest = pod.manifest("u-1", &["10.244.1.10".parse().unwrap()]);
        assert_eq!(manifest["metadata"]["labels"], json!({ "app": "client", "tier": "front" }));
        assert_eq!(manifest["status"]["podIPs"], json!([{ "ip": "10.244.1.10" }]));
        assert_eq!(manifest["spec"]["serviceAccountName"], "client");
    }
}
