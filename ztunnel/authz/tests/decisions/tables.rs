//! Single cases with their reason, as a reader of `AuthorizationPolicy` would put them.

use std::sync::Arc;

use authz::{
    Action, Attributes, Clause, DenyReason, Match, Pattern, Policies, Policy, PolicyName, PolicySet, Rule,
    Scope, SourceClass,
};
use identity::SpiffeId;

#[test]
fn a_set_without_policies_permits_everything() {
    let permit = PolicySet::allow_all().evaluate(&plaintext()).unwrap();
    assert_eq!(permit.by(), None);
}

#[test]
fn deny_beats_allow() {
    let policies =
        [policy("allow", Action::Allow, [Rule::default()]), policy("deny", Action::Deny, [on_port(80)])];
    let denied = set(policies).evaluate(&plaintext()).unwrap_err();
    assert_eq!(denied.reason, DenyReason::DenyMatched);
    assert_eq!(denied.to_string(), "denied by rule 0 of policy shop/deny");
}

#[test]
fn what_no_allow_policy_matches_is_denied() {
    let set = set([policy("allow", Action::Allow, [on_port(81)])]);
    assert_eq!(set.evaluate(&plaintext()).unwrap_err().reason, DenyReason::NoAllowMatched);
}

#[test]
fn an_allow_policy_without_rules_allows_nothing_and_a_deny_policy_without_rules_denies_nothing() {
    assert!(set([policy("nothing", Action::Allow, [])]).evaluate(&plaintext()).is_err());
    assert!(set([policy("nothing", Action::Deny, [])]).evaluate(&plaintext()).is_ok());
}

#[test]
fn an_audit_policy_decides_nothing_and_is_observed() {
    let set = set([policy("audit", Action::Audit, [on_port(81), on_port(80)])]);
    assert_eq!(set.evaluate(&plaintext()).unwrap().by(), None);
    assert!(set.has_observers());
    let seen = set.observe(&plaintext()).audit.unwrap();
    assert_eq!((seen.policy.to_string().as_str(), seen.rule), ("shop/audit", 1));
}

#[test]
fn a_dry_run_policy_decides_nothing_and_says_what_it_would_have_done() {
    let deny = Policy { dry_run: true, ..policy("try", Action::Deny, [on_port(80)]) };
    let refusal = set([deny.clone()]).observe(&plaintext()).dry_run.unwrap();
    assert_eq!(refusal.policy, Some(PolicyName::new("shop", "try")));
    assert!(set([deny]).evaluate(&plaintext()).is_ok());

    let allow = Policy { dry_run: true, ..policy("try", Action::Allow, [on_port(81)]) };
    assert!(set([allow.clone()]).evaluate(&plaintext()).is_ok());
    let refusal = set([allow.clone()]).observe(&plaintext()).dry_run.unwrap();
    assert_eq!(refusal.reason, DenyReason::NoAllowMatched);
    let in_force = policy("real", Action::Allow, [on_port(80)]);
    assert_eq!(set([allow, in_force]).observe(&plaintext()).dry_run, None);
}

#[test]
fn strict_mode_denies_plaintext_and_guards_its_port() {
    let strict = Match { not_principals: vec![Pattern::Presence], ..Match::default() };
    let on_80 = Rule::of([
        Clause::of([strict]),
        Clause::of([Match { destination_ports: vec![80], ..Match::default() }]),
    ]);
    let set = set([policy("strict", Action::Deny, [on_80])]);
    let at = |port: u16| set.admits_plaintext("10.0.0.1".parse().unwrap(), ([10, 0, 0, 2], port).into());
    assert!(at(80).is_err());
    assert!(at(81).is_ok());
    assert!(set.guards_port(80));
    assert!(!set.guards_port(81));
    let cart: SpiffeId = "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap();
    assert!(set.evaluate(&from_peer(&cart)).is_ok());
}

#[test]
fn a_class_is_meant_by_its_reserved_name_only() {
    let node = Attributes { class: Some(SourceClass::Node), ..plaintext() };
    for (principal, is_meant) in [
        ("ambient.mesh/node", true),
        ("ambient.mesh/probe", false),
        ("*", false),
        ("ambient.mesh*", false),
        ("*/node", false),
    ] {
        let rule = from(Match { principals: vec![of(principal)], ..Match::default() });
        let permitted = set([policy("allow", Action::Allow, [rule])]).evaluate(&node).is_ok();
        assert_eq!(permitted, is_meant, "{principal}");
    }
}

#[test]
fn a_class_is_no_authentication() {
    let node = Attributes { class: Some(SourceClass::Node), ..plaintext() };
    let strict = from(Match { not_principals: vec![Pattern::Presence], ..Match::default() });
    assert!(set([policy("strict", Action::Deny, [strict])]).evaluate(&node).is_err());
    let but_nodes =
        Match { not_principals: vec![Pattern::Presence, of("ambient.mesh/node")], ..Match::default() };
    let but_nodes = set([policy("strict", Action::Deny, [from(but_nodes)])]);
    assert!(but_nodes.evaluate(&node).is_ok());
    assert!(but_nodes.evaluate(&plaintext()).is_err());
}

#[test]
fn an_identity_is_of_no_class() {
    let id: SpiffeId = "spiffe://td/ns/shop/sa/cart".parse().unwrap();
    let rule = from(Match { principals: vec![of("ambient.mesh/node")], ..Match::default() });
    let set = set([policy("deny", Action::Deny, [rule])]);
    let attributes = Attributes { class: Some(SourceClass::Node), ..from_peer(&id) };
    assert!(set.evaluate(&attributes).is_ok());
}

#[test]
fn a_probe_is_refused_by_nothing_but_a_rule_that_means_probes() {
    let probe = Attributes { class: Some(SourceClass::Probe), ..plaintext() };
    let everyone = [policy("all", Action::Deny, [Rule::default()]), policy("none", Action::Allow, [])];
    assert!(set(everyone.clone()).evaluate(&probe).is_ok());
    let tried = set(everyone.map(|policy| Policy { dry_run: true, ..policy }));
    assert_eq!(tried.observe(&probe).dry_run, None, "nor would it be");
    assert!(tried.observe(&plaintext()).dry_run.is_some());
    let rule = from(Match { principals: vec![of("ambient.mesh/probe")], ..Match::default() });
    let set = set([policy("no-probes", Action::Deny, [rule])]);
    assert_eq!(set.evaluate(&probe).unwrap_err().policy, Some(PolicyName::new("shop", "no-probes")));
    assert!(set.evaluate(&plaintext()).is_ok());
}

#[test]
fn an_ipv4_address_written_as_ipv6_is_that_ipv4_address() {
    let from = Match { source_ips: vec!["10.0.0.0/8".parse().unwrap()], ..Match::default() };
    let set = set([policy("p", Action::Deny, [rule([from])])]);
    let attributes = Attributes { source_ip: "::ffff:10.0.0.1".parse().unwrap(), ..plaintext() };
    assert!(set.evaluate(&attributes).is_err());
}

#[test]
fn a_namespaces_policy_does_not_reach_another_and_the_meshs_reaches_all() {
    let mut policies = Policies::default();
    policies.insert(policy("wall", Action::Deny, [Rule::default()]));
    assert!(policies.set("shop", &[]).evaluate(&plaintext()).is_err());
    assert!(policies.set("bank", &[]).evaluate(&plaintext()).is_ok());
    policies.insert(Policy { scope: Scope::Global, ..policy("wall", Action::Deny, [Rule::default()]) });
    assert!(policies.set("bank", &[]).evaluate(&plaintext()).is_err());
}

#[test]
fn a_selecting_policy_reaches_only_those_who_name_it() {
    let mut policies = Policies::default();
    policies
        .insert(Policy { scope: Scope::WorkloadSelector, ..policy("wall", Action::Deny, [Rule::default()]) });
    assert!(policies.set("shop", &[]).evaluate(&plaintext()).is_ok());
    let named: [Arc<str>; 1] = ["shop/wall".into()];
    assert!(policies.set("shop", &named).evaluate(&plaintext()).is_err());
}

pub(crate) fn set(policies: impl IntoIterator<Item = Policy>) -> Arc<PolicySet> {
    let mut store = Policies::default();
    for policy in policies {
        store.insert(policy);
    }
    store.set("shop", &[])
}

pub(crate) fn policy(name: &str, action: Action, rules: impl IntoIterator<Item = Rule>) -> Policy {
    let name = PolicyName::new("shop", name);
    Policy { name, scope: Scope::Namespace, action, dry_run: false, rules: rules.into_iter().collect() }
}

fn from(one: Match) -> Rule {
    rule([one])
}

fn of(principal: &str) -> Pattern {
    Pattern::parse_principal(principal).expect("a principal")
}

fn rule(matches: impl IntoIterator<Item = Match>) -> Rule {
    Rule::of([Clause::of(matches)])
}

fn on_port(port: u16) -> Rule {
    rule([Match { destination_ports: vec![port], ..Match::default() }])
}

pub(crate) fn plaintext() -> Attributes<'static> {
    let source_ip = "10.0.0.1".parse().unwrap();
    Attributes { source: None, class: None, source_ip, destination: "10.0.0.2:80".parse().unwrap() }
}

fn from_peer(id: &SpiffeId) -> Attributes<'_> {
    Attributes { source: Some(id), ..plaintext() }
}
