//! No text brings the reader down.

use std::path::Path;

use cluster::{Reported, translate};
use proptest::prelude::*;

use crate::mesh_of::{pod, settings};

/// A manifest of many kinds.
fn sample() -> String {
    let objects = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: w}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: cart}, ports: [{port: 80, targetPort: web}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: shop}
spec: {hosts: [db.example.com], resolution: DNS, ports: [{number: 5432, name: sql, protocol: TCP}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec: {action: DENY, rules: [{from: [{source: {namespaces: [x]}}], to: [{operation: {ports: [\"80\"], methods: [GET]}}]}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: p, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, portLevelMtls: {80: {mode: STRICT}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: w, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
";
    let container = "spec: {nodeName: node-1, containers: [{ports: [{name: web, containerPort: 8080}]}]}";
    objects.to_owned() + &pod("shop/cart", "10.0.0.1", "app: cart", container)
}

fn digest(text: &str) {
    for name in ["a.yaml", "a.json"] {
        let (objects, problems) = cluster::read(Path::new(name), text);
        translate(&objects, &Reported::default(), &settings());
        for problem in problems {
            assert!(problem.to_string().starts_with(name));
            // To YAML, a carriage return ends a line by itself.
            let ends = text.matches(['\n', '\r']).count() - text.matches("\r\n").count();
            let lines = u64::try_from(ends).unwrap();
            assert!(problem.line <= lines + 1, "{problem} of {lines} lines");
        }
    }
}

#[test]
fn lines_are_counted_as_yaml_ends_them() {
    let text = ["# of shop", "", "---", "apiVersion: v1", "kind: Service", "metadata: {name: [cart]}", ""];
    for end in ["\n", "\r", "\r\n"] {
        let (_, problems) = cluster::read(Path::new("a.yaml"), &text.join(end));
        let places: Vec<_> = problems.iter().map(|it| (it.line, it.field.as_str())).collect();
        assert_eq!(places, [(6, "metadata.name")], "{end:?}");
    }
    digest(" \r\r\0");
}

#[test]
fn what_makes_small_files_large_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = level - 1;
        bomb += &format!("a{level}: &a{level} [{}]\n", [format!("*a{before}").as_str(); 10].join(", "));
    }
    let (objects, problems) = cluster::read(Path::new("bomb.yaml"), &bomb);
    assert_eq!((objects.pods.len(), problems.len()), (0, 1));
    for deep in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(10_000)] {
        digest(&deep);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
        digest(&text);
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(text in "([a-z]{1,4}: |- |\\[|\\]|\\{|\\}|,|\n|  |---|'|\"|#|&a|\\*a|<<: |!!str |\\||>|1|~|\t){0,60}") {
        digest(&text);
    }

    #[test]
    fn any_damage_to_a_manifest_is_survived(at in 0_usize..3000, cut in 0_usize..40, put in "(?s).{0,8}") {
        let text = sample();
        let mut from = at.min(text.len());
        while !text.is_char_boundary(from) { from -= 1; }
        let to = (from + cut).min(text.len());
        digest(&format!("{}{put}{}", &text[..from], &text[to..]));
    }
}
