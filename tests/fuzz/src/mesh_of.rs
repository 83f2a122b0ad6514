//! A small mesh to ask about.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use cluster::{Reported, Settings, translate};
use mesh::{Snapshot, Store};

/// A mesh of a few Services, Pods and a ServiceEntry with a wildcard.
pub fn world() -> &'static Arc<Snapshot> {
    static WORLD: OnceLock<Arc<Snapshot>> = OnceLock::new();
    WORLD.get_or_init(|| {
        let (objects, problems) = cluster::read(Path::new("world.yaml"), MANIFESTS);
        assert_eq!(problems, []);
        let mut store = Store::new();
        store.apply(translate(&objects, &Reported::default(), &Settings::default()).update);
        store.snapshot()
    })
}

const MANIFESTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIPs: [10.96.0.1, 'fd00::1'], selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: nodes, namespace: shop}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
status: {podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::a'}], conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: all, namespace: shop}
spec: {hosts: ['*.example.com'], addresses: [240.240.0.1], resolution: NONE, ports: [{number: 443, name: tls, protocol: TLS}]}
";
