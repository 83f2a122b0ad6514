//! Change by change, the mesh is what all of the objects would make it.

use std::path::Path;
use std::sync::Arc;

use cluster::{LocalPod, Objects, Reported, Scope, Settings, Translator, translate};
use mesh::{NetworkAddress, Snapshot, Store};
use proptest::prelude::*;

/// What an object may be, besides absent. Objects of one place replace each other.
const PLACES: &[&[&str]] = &[
    &[
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}}",
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio.io/use-waypoint: way, ambient.mesh/egres: deny}}}",
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {ambient.mesh/allow-exclusions: \"true\", ambient.mesh/udp: deny}}}",
    ],
    &[
        "{apiVersion: v1, kind: Namespace, metadata: {name: bank, labels: {istio.io/dataplane-mode: ambient}}}",
    ],
    &[
        "{apiVersion: v1, kind: Node, metadata: {name: node-1, labels: {topology.kubernetes.io/zone: z}}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}",
    ],
    &[
        "{apiVersion: v1, kind: Pod, metadata: {name: cart, namespace: shop, labels: {app: cart}}, spec: {nodeName: node-1}, status: {podIP: 10.0.0.1}}",
        "{apiVersion: v1, kind: Pod, metadata: {name: cart, namespace: shop, labels: {app: web}}, spec: {nodeName: node-1}, status: {podIP: 10.0.0.2}}",
        "{apiVersion: v1, kind: Pod, metadata: {name: cart, namespace: shop, labels: {app: cart}}, spec: {nodeName: node-9}, status: {podIP: 10.0.0.3}}",
        "{apiVersion: v1, kind: Pod, metadata: {name: cart, namespace: shop}, spec: {nodeName: node-1, hostNetwork: true}}",
    ],
    &[
        "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {istio.io/dataplane-mode: Ambient}, annotations: {ambient.mesh/udp: deny}}, spec: {nodeName: node-1}, status: {podIP: 10.0.0.4}}",
        "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: cart}, annotations: {ambient.istio.io/bypass-inbound-capture: \"true\", ambient.istio.io/dns-capture: \"false\"}}, spec: {nodeName: node-1}, status: {podIP: 10.0.0.4}}",
    ],
    &[
        "{apiVersion: v1, kind: Pod, metadata: {name: ledger, namespace: bank}, spec: {nodeName: node-9}, status: {podIP: 10.0.0.1}}",
        "{apiVersion: v1, kind: Pod, metadata: {name: ledger, namespace: bank}, spec: {nodeName: node-1}, status: {podIP: 10.0.0.5}}",
    ],
    &[
        "{apiVersion: v1, kind: Pod, metadata: {name: batch, namespace: legacy, labels: {app: cart}}, spec: {nodeName: node-8}, status: {podIP: 10.0.0.6}}",
    ],
    &[
        "{apiVersion: v1, kind: Pod, metadata: {name: agent, namespace: shop, labels: {networking.istio.io/tunnel: http}}, spec: {nodeName: node-1, hostNetwork: true, containers: [{ports: [{containerPort: 15020}]}]}, status: {podIP: 192.0.2.1}}",
        "{apiVersion: v1, kind: Pod, metadata: {name: agent, namespace: shop, labels: {networking.istio.io/tunnel: http}}, spec: {nodeName: node-1, hostNetwork: true, containers: [{ports: [{containerPort: 15021}]}]}, status: {podIP: 192.0.2.1}}",
    ],
    &[
        "{apiVersion: v1, kind: Pod, metadata: {name: agent, namespace: legacy, labels: {networking.istio.io/tunnel: http}}, spec: {nodeName: node-1, hostNetwork: true, containers: [{ports: [{containerPort: 15020}]}]}, status: {podIP: 192.0.2.1}}",
    ],
    &[
        "{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {clusterIP: 10.96.0.1, selector: {app: cart}, ports: [{port: 80}]}}",
        "{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {clusterIP: 10.96.0.2, selector: {app: web}, ports: [{port: 81}]}}",
    ],
    &[
        "{apiVersion: v1, kind: Service, metadata: {name: way, namespace: bank}, spec: {clusterIP: 10.96.0.3, ports: [{port: 15008}]}}",
    ],
    &[
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}, addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: cart}}]}",
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}, addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [10.0.0.5]}]}",
    ],
    &[
        "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: way, namespace: shop}, spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}, status: {addresses: [{type: Hostname, value: way.bank.svc.cluster.local}]}}",
    ],
    &[
        "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: own, namespace: shop}, spec: {hosts: [own.example.com], resolution: STATIC, workloadSelector: {labels: {app: cart}}, ports: [{number: 80, name: http, protocol: HTTP}]}}",
    ],
    &[
        "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: far, namespace: bank}, spec: {hosts: [far.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}}",
    ],
    &[
        "{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: vm, namespace: shop}, spec: {address: 10.0.0.7, labels: {app: cart}}}",
    ],
    &[
        "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p, namespace: shop}, spec: {selector: {matchLabels: {app: cart}}, action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}}",
        "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p, namespace: istio-system}, spec: {selector: {matchLabels: {app: cart}}}}",
    ],
    &[
        "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: p, namespace: bank}, spec: {mtls: {mode: STRICT}}}",
    ],
    &[
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n, namespace: bank}, spec: {podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: legacy}}}]}]}}",
    ],
    &["{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}}"],
    &["{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy, metadata: {name: a}}"],
];

/// What nodes may report.
fn reports() -> [Reported; 3] {
    let uid = |name: &str| {
        let text = PLACES
            .iter()
            .flat_map(|it| *it)
            .find(|it| it.contains(&format!("kind: Pod, metadata: {{name: {name},")));
        let (objects, _) = cluster::read(Path::new("a.yaml"), text.unwrap());
        let update = translate(&objects, &Reported::default(), &settings()).update;
        let mesh::Change::Upsert(workload) = &update.workloads[0] else { unreachable!() };
        workload.pod_uid.clone().unwrap().0
    };
    [
        Reported::default(),
        Reported::default().with("node-1", [uid("cart")]),
        Reported::default().with("node-1", [uid("cart"), uid("ledger")]).with("node-9", [uid("ledger")]),
    ]
}

fn settings() -> Settings {
    Settings { scope: Scope::Node("node-1".into()), network_policies: true, ..Settings::default() }
}

/// All variants of all places, each read once: an object that stays is the same one.
fn variants() -> Vec<Vec<Objects>> {
    let read = |text: &&str| {
        let (objects, problems) = cluster::read(Path::new("a.yaml"), text);
        assert_eq!(problems, [], "{text}");
        objects
    };
    PLACES.iter().map(|place| place.iter().map(read).collect()).collect()
}

fn together<'a>(parts: impl Iterator<Item = &'a Objects>) -> Objects {
    let mut all = Objects::default();
    for part in parts.cloned() {
        all.authorization_policies.extend(part.authorization_policies);
        all.endpoint_slices.extend(part.endpoint_slices);
        all.gateways.extend(part.gateways);
        all.namespaces.extend(part.namespaces);
        all.network_policies.extend(part.network_policies);
        all.nodes.extend(part.nodes);
        all.peer_authentications.extend(part.peer_authentications);
        all.pods.extend(part.pods);
        all.service_entries.extend(part.service_entries);
        all.services.extend(part.services);
        all.workload_entries.extend(part.workload_entries);
        all.ignored.extend(part.ignored);
        all.unread.extend(part.unread);
        all.skipped += part.skipped;
    }
    all
}

/// All that a mesh is, in an order that does not depend on how it came to be so.
fn contents(snapshot: &Snapshot, local: &[LocalPod]) -> Vec<String> {
    let mut lines: Vec<_> = snapshot.workloads().map(|it| format!("{it:?}")).collect();
    lines.extend(snapshot.services().map(|it| format!("{it:?}")));
    lines.extend(snapshot.nodes().map(|it| format!("{it:?}")));
    lines.extend(snapshot.network_policies().map(|it| format!("{it:?}")));
    lines.extend(["shop", "bank", "legacy"].map(|name| format!("{name}: {:?}", snapshot.namespace(name))));
    for workload in snapshot.workloads() {
        let policies = snapshot.policies_for(workload);
        lines.push(format!("{:?} {:?}", workload.uid, policies));
    }
    for last in 1..8 {
        let address = NetworkAddress::from(std::net::IpAddr::from([10, 0, 0, last]));
        let uids: Vec<_> = snapshot.workloads_by_address(&address).iter().map(|it| &it.uid).collect();
        lines.push(format!("{address}: {uids:?}"));
    }
    lines.sort();
    lines.extend(local.iter().map(|it| format!("{it:?}")));
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_change_makes_the_mesh_what_all_objects_make_it(
        steps in prop::collection::vec((prop::collection::vec((0..PLACES.len(), 0_usize..5), 1..3), 0_usize..3, 0_u8..20), 1..20),
        start in prop::collection::vec(0_usize..5, PLACES.len()),
    ) {
        let (variants, reports) = (variants(), reports());
        let (mut translator, mut store, mut chosen) = (Translator::new(settings()), Store::new(), start);
        for (changes, report, lost) in steps {
            for (place, variant) in changes {
                chosen[place] = variant;
            }
            let parts = chosen.iter().zip(&variants).filter_map(|(variant, place)| place.get(*variant));
            let (objects, reported) = (together(parts), reports[report].clone());
            if lost == 0 {
                translator.translate(objects.clone(), reported.clone());
                translator.forget();
            }
            let next = translator.translate(objects.clone(), reported.clone());
            store.apply(next.update);
            let whole = translate(&objects, &reported, &settings());
            let mut anew = Store::new();
            anew.apply(whole.update);
            let is = contents(&store.snapshot(), &next.local_pods);
            let should_be = contents(&anew.snapshot(), &whole.local_pods);
            let only = |one: &[String], other: &[String]| {
                one.iter().filter(|line| !other.contains(line)).cloned().collect::<Vec<_>>()
            };
            prop_assert_eq!(only(&is, &should_be), only(&should_be, &is));
            prop_assert_eq!(is.len(), should_be.len());
            prop_assert_eq!((next.notes, next.ignored), (whole.notes, whole.ignored));
        }
    }
}

#[test]
fn a_pod_that_changes_is_all_that_is_told() {
    let variants = variants();
    let objects = |pod: usize| {
        together([&variants[0][0], &variants[1][0], &variants[3][pod], &variants[5][1]].into_iter())
    };
    let mut translator = Translator::new(settings());
    assert!(translator.translate(objects(0), Reported::default()).update.replace);
    let update = translator.translate(objects(1), Reported::default()).update;
    assert!(!update.replace);
    let told: Vec<_> = update
        .workloads
        .iter()
        .map(|it| match it {
            mesh::Change::Upsert(workload) => &*workload.name,
            mesh::Change::Remove(_) => "gone",
        })
        .collect();
    assert_eq!((told, update.namespaces.len(), update.policies.len()), (vec!["cart"], 0, 0));
    assert!(translator.translate(objects(1), Reported::default()).update.is_empty());
}

#[test]
fn pods_that_come_and_go_share_what_they_have_in_common() {
    let pod = |number: usize| {
        let text = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: web-{number}, namespace: shop, labels: {{app: web}}, \
             ownerReferences: [{{kind: ReplicaSet, name: web, controller: true}}]}}, status: {{podIP: 10.0.1.{number}}}}}"
        );
        cluster::read(Path::new("a.yaml"), &text).0
    };
    let pods: Vec<_> = (0..3).map(pod).collect();
    let (mut translator, mut store) = (Translator::new(settings()), Store::new());
    for count in 1..=3 {
        store.apply(translator.translate(together(pods[..count].iter()), Reported::default()).update);
    }
    let snapshot = store.snapshot();
    let profiles: Vec<_> = snapshot.workloads().map(|it| Arc::as_ptr(&it.profile)).collect();
    assert!(profiles.len() == 3 && profiles.iter().all(|it| *it == profiles[0]));
}
