//! Random AuthorizationPolicies and PeerAuthentications, as manifests, against their definition: which apply to a pod,
//! and what they decide together.

use std::net::{IpAddr, SocketAddr};

use authz::Attributes;
use identity::SpiffeId;
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::mesh_of::{mesh_of, pod};

/// Labels of a selector, or of a pod.
type Labels = &'static [(&'static str, &'static str)];

/// Values that one must be among, and those that it must not be.
#[derive(Clone, Debug, Default)]
struct Field {
    any_of: Vec<&'static str>,
    none_of: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct Authorization {
    namespace: &'static str,
    selector: Labels,
    action: &'static str,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// Principals, namespaces and address blocks.
    from: Vec<[Field; 3]>,
    /// Ports.
    to: Vec<Field>,
    /// A key and its values.
    when: Vec<(&'static str, Field)>,
}

#[derive(Clone, Debug)]
struct Authentication {
    namespace: &'static str,
    selector: Labels,
    mode: &'static str,
    port_8080: Option<&'static str>,
    day: u8,
}

/// Who calls what.
#[derive(Clone, Debug)]
struct Call {
    to: (&'static str, Labels),
    peer: Option<SpiffeId>,
    source: IpAddr,
    port: u16,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn manifests_of_policies_decide_as_they_are_defined(
        authorizations in vec(authorization(), 0..5),
        authentications in vec(authentication(), 0..5),
    ) {
        let named = |at: usize, spec: &dyn Fn(&str) -> Value| spec(&format!("p{at}")).to_string();
        let mut texts: Vec<_> = PODS.iter().map(|(name, ip, labels)| {
            let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            pod(name, ip, &labels.join(", "), "")
        }).collect();
        texts.extend(authorizations.iter().enumerate().map(|(at, it)| named(at, &|name| it.manifest(name))));
        texts.extend(authentications.iter().enumerate().map(|(at, it)| named(at, &|name| it.manifest(name))));
        let text = texts.join("\n---\n");
        let mesh = mesh_of(&text);
        for (name, ip, labels) in PODS {
            let set = mesh.snapshot.policies_for(mesh.pod(name));
            let namespace = name.split_once('/').unwrap().0;
            for (account, source, port) in CALLS {
                let id = || format!("spiffe://cluster.local/{account}").parse().unwrap();
                let peer = (!account.is_empty()).then(id);
                let call = Call { to: (namespace, labels), peer, source: source.parse().unwrap(), port };
                let decided = set.evaluate(&Attributes {
                    source: call.peer.as_ref(),
                    class: None,
                    source_ip: call.source,
                    destination: SocketAddr::new(ip.parse().unwrap(), port),
                });
                let expected = is_let_in(&authorizations, &authentications, &call);
                prop_assert_eq!(decided.is_ok(), expected, "{:?}: {:?} by\n{}", call, decided, text);
            }
        }
    }
}

/// By the definitions of both kinds: plaintext only where no mode forbids it, no DENY that matches, and an ALLOW that does
/// where there is any.
fn is_let_in(authorizations: &[Authorization], authentications: &[Authentication], call: &Call) -> bool {
    let applying = |action: &'static str| {
        authorizations.iter().filter(move |it| it.action == action && it.applies_to(call.to))
    };
    let matches = |it: &Authorization| it.rules.iter().any(|rule| rule.matches(call));
    let is_denied = call.peer.is_none() && is_strict(authentications, call) || applying("DENY").any(matches);
    !is_denied && (applying("ALLOW").next().is_none() || applying("ALLOW").any(matches))
}

/// The narrowest mode that is set: of the port, the workload, the namespace, the mesh. Among equals the oldest counts. In the
/// root namespace none is about single workloads.
fn is_strict(authentications: &[Authentication], call: &Call) -> bool {
    let oldest = |wanted: &dyn Fn(&Authentication) -> bool| {
        let all = authentications.iter().enumerate().filter(|(_, it)| wanted(it));
        all.min_by_key(|(at, it)| (it.day, *at)).map(|it| it.1)
    };
    let (namespace, labels) = call.to;
    let workload = oldest(&|it| {
        namespace != ROOT
            && it.namespace == namespace
            && !it.selector.is_empty()
            && selects(it.selector, labels)
    });
    let wide = |namespace| oldest(&|it| it.namespace == namespace && it.selector.is_empty());
    let of_port = workload.and_then(|it| it.port_8080).filter(|_| call.port == 8080);
    let modes = [
        of_port,
        workload.map(|it| it.mode),
        wide(namespace).map(|it| it.mode),
        wide(ROOT).map(|it| it.mode),
    ];
    modes.into_iter().flatten().find(|mode| *mode != "UNSET") == Some("STRICT")
}

fn selects(selector: Labels, labels: Labels) -> bool {
    selector.iter().all(|label| labels.contains(label))
}

impl Authorization {
    fn applies_to(&self, (namespace, labels): (&str, Labels)) -> bool {
        [namespace, ROOT].contains(&self.namespace) && selects(self.selector, labels)
    }

    fn manifest(&self, name: &str) -> Value {
        let source = |[principals, namespaces, blocks]: &[Field; 3]| {
            let parts = [
                principals.entries("principals", "notPrincipals"),
                namespaces.entries("namespaces", "notNamespaces"),
                blocks.entries("ipBlocks", "notIpBlocks"),
            ];
            json!({ "source": parts.concat().into_iter().collect::<serde_json::Map<_, _>>() })
        };
        let operation = |ports: &Field| {
            let ports = ports.entries("ports", "notPorts").into_iter().collect::<serde_json::Map<_, _>>();
            json!({ "operation": ports })
        };
        let condition = |(key, field): &(&str, Field)| {
            let mut entries = field.entries("values", "notValues");
            entries.push(("key".to_owned(), json!(key)));
            Value::Object(entries.into_iter().collect())
        };
        let rule = |rule: &Rule| {
            let mut parts = serde_json::Map::new();
            let mut put = |key: &str, all: Vec<Value>| {
                if !all.is_empty() {
                    parts.insert(key.to_owned(), Value::Array(all));
                }
            };
            put("from", rule.from.iter().map(source).collect());
            put("to", rule.to.iter().map(operation).collect());
            put("when", rule.when.iter().map(condition).collect());
            Value::Object(parts)
        };
        manifest(
            "AuthorizationPolicy",
            self.namespace,
            name,
            1,
            &json!({
                "selector": { "matchLabels": labels(self.selector) },
                "action": self.action,
                "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            }),
        )
    }
}

impl Authentication {
    fn manifest(&self, name: &str) -> Value {
        let ports = self.port_8080.map(|mode| ("8080".to_owned(), json!({ "mode": mode })));
        manifest(
            "PeerAuthentication",
            self.namespace,
            name,
            self.day,
            &json!({
                "selector": { "matchLabels": labels(self.selector) },
                "mtls": { "mode": self.mode },
                "portLevelMtls": ports.into_iter().collect::<serde_json::Map<_, _>>(),
            }),
        )
    }
}

impl Rule {
    fn matches(&self, call: &Call) -> bool {
        let principal =
            call.peer.as_ref().map(|id| id.to_string().trim_start_matches("spiffe://").to_owned());
        let namespace = call.peer.as_ref().map(|id| id.namespace().to_owned());
        let text = |own: &Option<String>, form: &str| own.as_ref().is_some_and(|own| has_form(own, form));
        let is = |key: &str, value: &str| match key {
            "source.principal" => text(&principal, value),
            "source.namespace" => text(&namespace, value),
            "source.ip" => value.parse().is_ok_and(|net: IpNet| net.contains(&call.source)),
            "destination.port" => value == call.port.to_string(),
            _ => unreachable!("{key}"),
        };
        let from = |[principals, namespaces, blocks]: &[Field; 3]| {
            principals.holds(|it| is("source.principal", it))
                && namespaces.holds(|it| is("source.namespace", it))
                && blocks.holds(|it| is("source.ip", it))
        };
        (self.from.is_empty() || self.from.iter().any(from))
            && (self.to.is_empty()
                || self.to.iter().any(|ports| ports.holds(|it| is("destination.port", it))))
            && self.when.iter().all(|(key, field)| field.holds(|it| is(key, it)))
    }
}

impl Field {
    fn holds(&self, is: impl Fn(&str) -> bool) -> bool {
        (self.any_of.is_empty() || self.any_of.iter().any(|it| is(it)))
            && !self.none_of.iter().any(|it| is(it))
    }

    fn is_empty(&self) -> bool {
        self.any_of.is_empty() && self.none_of.is_empty()
    }

    fn entries(&self, any_of: &str, none_of: &str) -> Vec<(String, Value)> {
        let both = [(any_of, &self.any_of), (none_of, &self.none_of)];
        both.iter()
            .filter(|it| !it.1.is_empty())
            .map(|(key, values)| ((*key).to_owned(), json!(values)))
            .collect()
    }
}

fn has_form(text: &str, form: &str) -> bool {
    match (form.strip_suffix('*'), form.strip_prefix('*')) {
        _ if form == "*" => !text.is_empty(),
        (Some(start), _) => text.starts_with(start),
        (_, Some(end)) => text.ends_with(end),
        _ => text == form,
    }
}

fn manifest(kind: &str, namespace: &str, name: &str, day: u8, spec: &Value) -> Value {
    let created = format!("2020-01-0{day}T00:00:00Z");
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": kind,
        "metadata": { "namespace": namespace, "name": name, "creationTimestamp": created },
        "spec": spec,
    })
}

fn labels(all: Labels) -> Value {
    Value::Object(all.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect())
}

fn authorization() -> impl Strategy<Value = Authorization> {
    let action = select(&["ALLOW", "ALLOW", "DENY", "AUDIT"][..]);
    (select(NAMESPACES), select(SELECTORS), action, vec(rule(), 0..3))
        .prop_map(|(namespace, selector, action, rules)| Authorization { namespace, selector, action, rules })
}

fn rule() -> impl Strategy<Value = Rule> {
    // One that says nothing is nothing that Istio admits.
    let source = (field(PRINCIPALS), field(NAMESPACE_FORMS), field(BLOCKS))
        .prop_map(|(one, two, three)| [one, two, three]);
    let source = source.prop_filter("it says something", |it| !it.iter().all(Field::is_empty));
    let ports = || field(PORTS).prop_filter("it says something", |it| !it.is_empty());
    let condition = prop_oneof![
        field(PRINCIPALS).prop_map(|it| ("source.principal", it)),
        field(NAMESPACE_FORMS).prop_map(|it| ("source.namespace", it)),
        field(BLOCKS).prop_map(|it| ("source.ip", it)),
        field(PORTS).prop_map(|it| ("destination.port", it)),
    ];
    let condition = condition.prop_filter("it says something", |it| !it.1.is_empty());
    (vec(source, 0..3), vec(ports(), 0..2), vec(condition, 0..2)).prop_map(|(from, to, when)| Rule {
        from,
        to,
        when,
    })
}

fn field(values: &'static [&'static str]) -> impl Strategy<Value = Field> {
    let few = move || prop_oneof![2 => Just(Vec::new()), 1 => vec(select(values), 1..3)];
    (few(), few()).prop_map(|(any_of, none_of)| Field { any_of, none_of })
}

fn authentication() -> impl Strategy<Value = Authentication> {
    let port = proptest::option::of(select(MODES));
    (select(NAMESPACES), select(SELECTORS), select(MODES), port, 1_u8..4).prop_map(
        |(namespace, selector, mode, port_8080, day)| Authentication {
            namespace,
            selector,
            mode,
            port_8080,
            day,
        },
    )
}

const ROOT: &str = "istio-system";
const NAMESPACES: &[&str] = &["shop", "shop", "bank", ROOT];
const SELECTORS: &[Labels] =
    &[&[], &[("app", "cart")], &[("app", "web")], &[("app", "cart"), ("tier", "db")]];
const MODES: &[&str] = &["UNSET", "DISABLE", "PERMISSIVE", "STRICT"];
const PRINCIPALS: &[&str] =
    &["*", "cluster.local/ns/shop/sa/x", "cluster.local/ns/bank/*", "*/sa/x", "cluster.local/ns/shop*"];
const NAMESPACE_FORMS: &[&str] = &["*", "shop", "bank", "sh*", "*nk"];
const BLOCKS: &[&str] = &["10.9.0.0/16", "10.9.0.1/32", "10.0.0.0/8", "::/0"];
const PORTS: &[&str] = &["80", "8080"];

const PODS: [(&str, &str, Labels); 4] = [
    ("shop/cart", "10.0.0.1", &[("app", "cart")]),
    ("shop/web", "10.0.0.2", &[("app", "web")]),
    ("bank/cart", "10.0.0.3", &[("app", "cart"), ("tier", "db")]),
    ("istio-system/web", "10.0.0.4", &[("app", "web")]),
];

/// Identity behind the trust domain, address and port.
const CALLS: [(&str, &str, u16); 7] = [
    ("", "10.9.0.1", 80),
    ("", "10.8.0.1", 8080),
    ("", "fd00::1", 8080),
    ("ns/shop/sa/x", "10.9.0.1", 80),
    ("ns/shop/sa/y", "10.9.0.2", 8080),
    ("ns/bank/sa/x", "10.8.0.1", 8080),
    ("ns/shopping/sa/z", "10.9.0.1", 80),
];
