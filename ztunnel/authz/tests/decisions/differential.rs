//! Compiled sets against the reference, over random policies, random changes of them, and random connections.

use std::sync::Arc;

use authz::{
    Action, Attributes, Clause, Match, Pattern, Policies, Policy, PolicyName, Rule, Scope, ServiceAccount,
};
use identity::SpiffeId;
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::reference;

/// One change of the store: a policy put in, or a name taken out.
#[derive(Clone, Debug)]
enum Change {
    Insert(Policy),
    Remove(PolicyName),
}

#[derive(Clone, Debug)]
struct Connection {
    source: Option<SpiffeId>,
    source_ip: &'static str,
    destination: &'static str,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compiled_sets_decide_and_name_what_the_reference_does(
        changes in vec(change(), 0..12),
        selected in vec(policy_name().prop_map(|name| Arc::from(name.to_string())), 0..3),
        connections in vec(connection(), 1..8),
    ) {
        let mut policies = Policies::default();
        let mut plain: Vec<Policy> = Vec::new();
        for change in changes {
            // Asked before each change, so that a set which is not forgotten when it should be shows.
            compare(&policies, &plain, &selected, &connections)?;
            apply(change, &mut policies, &mut plain);
        }
        compare(&policies, &plain, &selected, &connections)?;
    }
}

/// Compares what all namespaces' workloads decide, those that name the selected policies and those that name none.
fn compare(
    policies: &Policies,
    plain: &[Policy],
    selected: &[Arc<str>],
    connections: &[Connection],
) -> Result<(), TestCaseError> {
    for (namespace, selected) in
        NAMESPACES.iter().flat_map(|namespace| [(namespace, selected), (namespace, &[])])
    {
        let set = policies.set(namespace, selected);
        for connection in connections {
            let attributes = Attributes {
                source: connection.source.as_ref(),
                source_ip: connection.source_ip.parse().unwrap(),
                destination: connection.destination.parse().unwrap(),
            };
            let decided = set.evaluate(&attributes).map(|permit| permit.by().cloned());
            prop_assert_eq!(decided, reference::evaluate(plain, namespace, selected, &attributes));
        }
    }
    Ok(())
}

fn apply(change: Change, policies: &mut Policies, plain: &mut Vec<Policy>) {
    match change {
        Change::Insert(policy) => {
            plain.retain(|other| other.name != policy.name);
            plain.push(policy.clone());
            policies.insert(policy);
        }
        Change::Remove(name) => {
            plain.retain(|other| other.name != name);
            policies.remove(&name);
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![4 => policy().prop_map(Change::Insert), 1 => policy_name().prop_map(Change::Remove)]
}

fn policy() -> impl Strategy<Value = Policy> {
    let scope = select(&[Scope::Global, Scope::Namespace, Scope::WorkloadSelector][..]);
    let action = select(&[Action::Allow, Action::Allow, Action::Deny, Action::Audit][..]);
    let rule = vec(clause(), 0..3).prop_map(|clauses| Rule { clauses });
    (policy_name(), scope, action, prop::bool::weighted(0.1), vec(rule, 0..3))
        .prop_map(|(name, scope, action, dry_run, rules)| Policy { name, scope, action, dry_run, rules })
}

fn clause() -> impl Strategy<Value = Clause> {
    vec(one_match(), 0..3).prop_map(|matches| Clause { matches })
}

fn one_match() -> impl Strategy<Value = Match> {
    let principals = || vec(select(PRINCIPALS).prop_map(Pattern::parse), 0..2);
    let namespaces = || vec(select(NAMESPACE_FORMS).prop_map(Pattern::parse), 0..2);
    let accounts =
        || vec((select(NAMESPACES), select(ACCOUNTS)).prop_map(|(n, a)| ServiceAccount::new(n, a)), 0..2);
    let nets = || vec(select(NETS).prop_map(|net| net.parse::<IpNet>().unwrap()), 0..2);
    let ports = || vec(select(&[80_u16, 443][..]), 0..2);
    let rarely = |on: bool, one: Match| if on { one } else { Match::default() };
    let fields = (
        (principals(), principals(), namespaces(), namespaces()),
        (accounts(), accounts(), nets(), nets()),
        (nets(), nets(), ports(), ports()),
        // Which fields are used at all: with all of them nearly nothing would ever match.
        vec(prop::bool::weighted(0.2), 12),
    );
    fields.prop_map(move |((p, np, n, nn), (a, na, s, ns), (d, nd, o, no), on)| {
        fn keep<T>(on: bool, values: Vec<T>) -> Vec<T> {
            if on { values } else { Vec::new() }
        }
        rarely(
            on.iter().any(|on| *on),
            Match {
                principals: keep(on[0], p),
                not_principals: keep(on[1], np),
                namespaces: keep(on[2], n),
                not_namespaces: keep(on[3], nn),
                service_accounts: keep(on[4], a),
                not_service_accounts: keep(on[5], na),
                source_ips: keep(on[6], s),
                not_source_ips: keep(on[7], ns),
                destination_ips: keep(on[8], d),
                not_destination_ips: keep(on[9], nd),
                destination_ports: keep(on[10], o),
                not_destination_ports: keep(on[11], no),
            },
        )
    })
}

fn connection() -> impl Strategy<Value = Connection> {
    let id = (select(&["td", "other.td"][..]), select(NAMESPACES), select(ACCOUNTS))
        .prop_map(|(td, ns, sa)| SpiffeId::new(&td.parse().unwrap(), ns, sa).unwrap());
    let sources = select(&["10.0.0.1", "10.1.2.3", "192.168.0.9", "fd00::1", "2001:db8::1"][..]);
    let destinations = select(&["10.0.0.2:80", "10.0.0.2:443", "[fd00::2]:80", "10.9.9.9:8080"][..]);
    (option::weighted(0.7, id), sources, destinations)
        .prop_map(|(source, source_ip, destination)| Connection { source, source_ip, destination })
}

fn policy_name() -> impl Strategy<Value = PolicyName> {
    (select(NAMESPACES), select(&["p", "q"][..]))
        .prop_map(|(namespace, name)| PolicyName::new(namespace, name))
}

const NAMESPACES: &[&str] = &["a", "ab", "b"];
const ACCOUNTS: &[&str] = &["x", "y", "xy"];
const NAMESPACE_FORMS: &[&str] = &["*", "a", "ab", "a*", "*b", "c", ""];
const PRINCIPALS: &[&str] = &[
    "*",
    "",
    "td/ns/a/sa/x",
    "td/ns/ab/sa/y",
    "other.td/ns/b/sa/xy",
    "td/ns/a*",
    "td/*",
    "*td/ns/a/sa/x",
    "*/sa/x",
    "*/ns/b/sa/xy",
    "spiffe://td/ns/a/sa/x",
];
const NETS: &[&str] = &[
    "10.0.0.1/32",
    "10.0.0.0/24",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "::/0",
    "fd00::/8",
    "fd00::1/128",
    "10.0.0.77/24",
];
