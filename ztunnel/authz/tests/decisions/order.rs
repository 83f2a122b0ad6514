//! Which of several policies decides: by action, by scope, and when some of them are only tried.

use std::sync::Arc;

use authz::{
    Action, Attributes, Clause, DenyReason, Match, Pattern, Policies, Policy, PolicyName, Rule, Scope,
};
use identity::SpiffeId;

use crate::tables::{plaintext, policy};

const SCOPES: [Scope; 3] = [Scope::Global, Scope::Namespace, Scope::WorkloadSelector];

fn about(account: &str) -> Rule {
    let principals = vec![Pattern::parse(&format!("td/ns/shop/sa/{account}"))];
    Rule::of([Clause::of([Match { principals, ..Match::default() }])])
}

fn dry(policy: Policy) -> Policy {
    Policy { dry_run: true, ..policy }
}

fn scoped(scope: Scope, policy: Policy) -> Policy {
    Policy { scope, ..policy }
}

/// What becomes of an account's connection to a workload of shop that names all policies that select any.
fn outcome(policies: &[Policy], account: &str) -> Result<Option<String>, (DenyReason, Option<String>)> {
    let mut store = Policies::default();
    let mut selected: Vec<Arc<str>> = Vec::new();
    for policy in policies {
        if policy.scope == Scope::WorkloadSelector {
            selected.push(policy.name.to_string().into());
        }
        store.insert(policy.clone());
    }
    let id: SpiffeId = format!("spiffe://td/ns/shop/sa/{account}").parse().unwrap();
    let text = |name: &PolicyName| name.to_string();
    match store.set("shop", &selected).evaluate(&Attributes { source: Some(&id), ..plaintext() }) {
        Ok(permit) => Ok(permit.by().map(|by| text(&by.policy))),
        Err(denied) => Err((denied.reason, denied.policy.as_ref().map(text))),
    }
}

fn by(policy: &str) -> Option<String> {
    Some(format!("shop/{policy}"))
}

#[test]
fn deny_is_asked_first_then_allow_and_what_is_only_tried_is_not() {
    let everybody = |name, action| policy(name, action, [Rule::default()]);
    let nobody = |name, action| policy(name, action, []);
    let allow = policy("allow", Action::Allow, [about("anna")]);
    let deny = policy("deny", Action::Deny, [about("mallory")]);
    let refused = Err((DenyReason::NoAllowMatched, None));
    for (policies, account, want) in [
        (vec![], "anna", Ok(None)),
        (vec![allow.clone()], "anna", Ok(by("allow"))),
        (vec![allow.clone()], "bert", refused.clone()),
        (vec![deny.clone()], "bert", Ok(None)),
        (vec![deny.clone()], "mallory", Err((DenyReason::DenyMatched, by("deny")))),
        (vec![allow.clone(), deny.clone()], "anna", Ok(by("allow"))),
        (vec![allow.clone(), deny.clone()], "bert", refused.clone()),
        (
            vec![everybody("all", Action::Allow), deny.clone()],
            "mallory",
            Err((DenyReason::DenyMatched, by("deny"))),
        ),
        (vec![nobody("none", Action::Allow), allow.clone()], "anna", Ok(by("allow"))),
        (vec![nobody("none", Action::Allow), deny.clone()], "anna", refused.clone()),
        (vec![nobody("none", Action::Deny)], "anna", Ok(None)),
        (vec![everybody("audit", Action::Audit), allow.clone()], "bert", refused.clone()),
        (vec![dry(everybody("try", Action::Deny)), allow.clone()], "anna", Ok(by("allow"))),
        (vec![dry(everybody("try", Action::Allow)), allow], "bert", refused),
        (vec![dry(nobody("try", Action::Allow))], "bert", Ok(None)),
        (
            vec![dry(everybody("try", Action::Allow)), deny],
            "mallory",
            Err((DenyReason::DenyMatched, by("deny"))),
        ),
    ] {
        assert_eq!(outcome(&policies, account), want, "{account}, {policies:?}");
    }
}

#[test]
fn the_order_is_the_same_whatever_the_scopes() {
    for denying in SCOPES {
        for allowing in SCOPES {
            let deny = scoped(denying, policy("deny", Action::Deny, [about("anna")]));
            let allow = scoped(allowing, policy("allow", Action::Allow, [about("anna"), about("bert")]));
            let policies = [deny, allow];
            let denied = Err((DenyReason::DenyMatched, by("deny")));
            assert_eq!(outcome(&policies, "anna"), denied, "{denying:?} {allowing:?}");
            assert_eq!(outcome(&policies, "bert"), Ok(by("allow")), "{denying:?} {allowing:?}");
            let refused = Err((DenyReason::NoAllowMatched, None));
            assert_eq!(outcome(&policies, "carl"), refused, "{denying:?} {allowing:?}");
        }
    }
}

#[test]
fn allow_policies_of_all_scopes_count_together() {
    let allow = |scope, name, account| scoped(scope, policy(name, Action::Allow, [about(account)]));
    let policies = [
        allow(Scope::Global, "a", "anna"),
        allow(Scope::Namespace, "b", "bert"),
        allow(Scope::WorkloadSelector, "c", "carl"),
    ];
    for (account, want) in [("anna", "a"), ("bert", "b"), ("carl", "c")] {
        assert_eq!(outcome(&policies, account), Ok(by(want)));
    }
    assert_eq!(outcome(&policies, "dora"), Err((DenyReason::NoAllowMatched, None)));
}

#[test]
fn a_policy_of_another_scope_takes_the_place_of_its_former_self() {
    for before in SCOPES {
        for after in SCOPES {
            let wall = |scope| scoped(scope, policy("wall", Action::Deny, [Rule::default()]));
            let mut store = Policies::default();
            store.insert(wall(before));
            store.insert(wall(after));
            let refused = |namespace: &str, selected: &[Arc<str>]| {
                store.set(namespace, selected).evaluate(&plaintext()).is_err()
            };
            let reached =
                [refused("shop", &[]), refused("bank", &[]), refused("shop", &["shop/wall".into()])];
            let want = match after {
                Scope::Global => [true, true, true],
                Scope::Namespace => [true, false, true],
                Scope::WorkloadSelector => [false, false, true],
            };
            assert_eq!(reached, want, "{before:?} {after:?}");
        }
    }
}

#[test]
fn what_is_tried_is_observed_beside_what_is_in_force() {
    let mut store = Policies::default();
    for policy in [
        policy("deny", Action::Deny, [about("mallory")]),
        policy("allow", Action::Allow, [about("anna")]),
        dry(policy("try-deny", Action::Deny, [about("anna"), about("mallory")])),
        dry(policy("try-allow", Action::Allow, [about("bert")])),
    ] {
        store.insert(policy);
    }
    let set = store.set("shop", &[]);
    for (account, permitted, policy, rule) in [
        ("anna", true, Some("try-deny"), Some(0)),
        ("mallory", false, Some("try-deny"), Some(1)),
        ("carl", false, None, None),
    ] {
        let id: SpiffeId = format!("spiffe://td/ns/shop/sa/{account}").parse().unwrap();
        let connection = Attributes { source: Some(&id), ..plaintext() };
        assert_eq!(set.evaluate(&connection).is_ok(), permitted, "{account}");
        let seen = set.observe(&connection).dry_run.unwrap();
        let policy = policy.map(|name| PolicyName::new("shop", name));
        assert_eq!((seen.policy, seen.rule), (policy, rule), "{account}");
    }
    let bert: SpiffeId = "spiffe://td/ns/shop/sa/bert".parse().unwrap();
    let connection = Attributes { source: Some(&bert), ..plaintext() };
    assert!(set.evaluate(&connection).is_err());
    assert_eq!(set.observe(&connection).dry_run, None, "the tried ALLOW policy would have let him in");
}
