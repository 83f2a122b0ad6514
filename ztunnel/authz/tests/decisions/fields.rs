//! What each field of a policy matches: a pod's connection, another pod's to elsewhere, and one without identity.

use authz::{Action, Attributes, Clause, Match, Pattern, Rule, ServiceAccount};
use identity::SpiffeId;
use ipnet::IpNet;

use crate::tables::{policy, set};

/// From shop/cart at 10.0.0.1 to 10.0.0.2:80, from bank/vault of another domain at 10.0.1.3 to 10.0.1.4:90, and from
/// nobody, again from 10.0.0.1 to 10.0.0.2:80: which of them match. ALLOW and DENY policies agree on it.
#[track_caller]
fn matches(rules: &[Rule], want: [bool; 3]) {
    let cart: SpiffeId = "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap();
    let vault: SpiffeId = "spiffe://partner/ns/bank/sa/vault".parse().unwrap();
    let connections = [
        (Some(&cart), "10.0.0.1", "10.0.0.2:80"),
        (Some(&vault), "10.0.1.3", "10.0.1.4:90"),
        (None, "10.0.0.1", "10.0.0.2:80"),
    ];
    let allow = set([policy("p", Action::Allow, rules.to_vec())]);
    let deny = set([policy("p", Action::Deny, rules.to_vec())]);
    for ((source, source_ip, destination), want) in connections.into_iter().zip(want) {
        let (source_ip, destination) = (source_ip.parse().unwrap(), destination.parse().unwrap());
        let connection = Attributes { source, class: None, source_ip, destination };
        assert_eq!(allow.evaluate(&connection).is_ok(), want, "ALLOW {rules:?}, {connection:?}");
        assert_eq!(deny.evaluate(&connection).is_err(), want, "DENY {rules:?}, {connection:?}");
    }
}

fn alone(one: Match) -> [Rule; 1] {
    [Rule::of([Clause::of([one])])]
}

fn patterns(forms: &[&str]) -> Vec<Pattern> {
    forms.iter().map(|form| Pattern::parse(form)).collect()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn principals() {
    const CART: &str = "cluster.local/ns/shop/sa/cart";
    for (any_of, none_of, want) in [
        (&[CART][..], &[][..], [true, false, false]),
        (&["spiffe://cluster.local/ns/shop/sa/cart"], &[], [false; 3]),
        (&["cluster.local/ns/shop/*"], &[], [true, false, false]),
        (&["*/sa/cart"], &[], [true, false, false]),
        (&["*"], &[], [true, true, false]),
        (&["other/ns/shop/sa/cart"], &[], [false; 3]),
        (&["other/ns/shop/sa/cart", "*/sa/vault", "cluster.local/ns/s*"], &[], [true, true, false]),
        (&[], &[CART], [false, true, true]),
        (&[], &["*"], [false, false, true]),
        (&[], &["cluster.local/ns/bank/*"], [true; 3]),
        (&[], &["partner/*", "*/sa/cart"], [false, false, true]),
        (&["*"], &[CART], [false, true, false]),
        (&["*"], &["*"], [false; 3]),
        (&[CART], &["*/sa/vault"], [true, false, false]),
    ] {
        let (principals, not_principals) = (patterns(any_of), patterns(none_of));
        matches(&alone(Match { principals, not_principals, ..Match::default() }), want);
    }
}

#[test]
fn namespaces() {
    for (any_of, none_of, want) in [
        (&["shop"][..], &[][..], [true, false, false]),
        (&["sh*"], &[], [true, false, false]),
        (&["*op"], &[], [true, false, false]),
        (&["*"], &[], [true, true, false]),
        (&["hop"], &[], [false; 3]),
        (&["bank", "shop"], &[], [true, true, false]),
        (&[], &["shop"], [false, true, true]),
        (&[], &["*"], [false, false, true]),
        (&[], &["other"], [true; 3]),
        (&["*"], &["b*"], [true, false, false]),
    ] {
        let (namespaces, not_namespaces) = (patterns(any_of), patterns(none_of));
        matches(&alone(Match { namespaces, not_namespaces, ..Match::default() }), want);
    }
}

#[test]
fn service_accounts_in_any_trust_domain() {
    let account = |(namespace, name): &(&str, &str)| ServiceAccount::new(namespace, name);
    for (any_of, none_of, want) in [
        (&[("shop", "cart")][..], &[][..], [true, false, false]),
        (&[("bank", "vault")], &[], [false, true, false]),
        (&[("shop", "cart"), ("bank", "vault")], &[], [true, true, false]),
        (&[("bank", "cart"), ("shop", "vault")], &[], [false; 3]),
        (&[("shop", "car"), ("hop", "cart")], &[], [false; 3]),
        (&[], &[("shop", "cart")], [false, true, true]),
        (&[], &[("shop", "vault")], [true; 3]),
        (&[("shop", "cart")], &[("shop", "cart")], [false; 3]),
    ] {
        let service_accounts = any_of.iter().map(account).collect();
        let not_service_accounts = none_of.iter().map(account).collect();
        matches(&alone(Match { service_accounts, not_service_accounts, ..Match::default() }), want);
    }
}

#[test]
fn source_addresses() {
    for (any_of, none_of, want) in [
        (&["10.0.0.1/32"][..], &[][..], [true, false, true]),
        (&["10.0.0.0/24"], &[], [true, false, true]),
        (&["10.0.0.77/16"], &[], [true; 3]),
        (&["10.0.0.2/32"], &[], [false; 3]),
        (&["0.0.0.0/0"], &[], [true; 3]),
        (&["::/0"], &[], [false; 3]),
        (&["fd00::/8", "10.0.1.0/30"], &[], [false, true, false]),
        (&[], &["10.0.0.1/32"], [false, true, false]),
        (&["10.0.0.0/8"], &["10.0.1.0/24"], [true, false, true]),
    ] {
        let (source_ips, not_source_ips) = (nets(any_of), nets(none_of));
        matches(&alone(Match { source_ips, not_source_ips, ..Match::default() }), want);
    }
}

#[test]
fn destination_addresses() {
    for (any_of, none_of, want) in [
        (&["10.0.0.2/32"][..], &[][..], [true, false, true]),
        (&["10.0.0.1/24"], &[], [true, false, true]),
        (&["10.0.0.1/32"], &[], [false; 3]),
        (&["10.0.0.2/32", "10.0.1.4/32"], &[], [true; 3]),
        (&[], &["10.0.0.2/32"], [false, true, false]),
        (&[], &["10.0.0.0/8"], [false; 3]),
    ] {
        let (destination_ips, not_destination_ips) = (nets(any_of), nets(none_of));
        matches(&alone(Match { destination_ips, not_destination_ips, ..Match::default() }), want);
    }
}

#[test]
fn destination_ports() {
    for (any_of, none_of, want) in [
        (&[80][..], &[][..], [true, false, true]),
        (&[90, 80], &[], [true; 3]),
        (&[8080], &[], [false; 3]),
        (&[], &[80], [false, true, false]),
        (&[], &[90, 80], [false; 3]),
        (&[80, 90], &[90], [true, false, true]),
    ] {
        let (destination_ports, not_destination_ports) = (any_of.to_vec(), none_of.to_vec());
        matches(&alone(Match { destination_ports, not_destination_ports, ..Match::default() }), want);
    }
}

#[test]
fn a_policy_matches_by_any_rule_a_rule_by_all_clauses_a_clause_by_any_match_a_match_by_all_fields() {
    let namespace = |name: &str| Match { namespaces: patterns(&[name]), ..Match::default() };
    let port = |port| Match { destination_ports: vec![port], ..Match::default() };
    let one = |one| Clause::of([one]);
    let both = Match { destination_ports: vec![90], ..namespace("shop") };
    for (rules, want) in [
        (vec![Rule::of([one(namespace("shop"))]), Rule::of([one(namespace("bank"))])], [true, true, false]),
        (vec![Rule::of([one(namespace("shop"))]), Rule::of([one(port(80))])], [true, false, true]),
        (vec![Rule::of([one(namespace("other"))]), Rule::of([one(namespace("more"))])], [false; 3]),
        (vec![Rule::of([Clause::of([namespace("shop"), namespace("bank")])])], [true, true, false]),
        (
            vec![Rule::of([Clause::of([namespace("shop"), namespace("bank")]), one(port(80))])],
            [true, false, false],
        ),
        (vec![Rule::of([one(namespace("shop")), one(port(90))])], [false; 3]),
        (vec![Rule::of([one(both.clone())])], [false; 3]),
        (vec![Rule::of([Clause::of([both, port(90)])])], [false, true, false]),
    ] {
        matches(&rules, want);
    }
}

#[test]
fn what_has_no_parts_matches_everything_but_a_policy_and_a_match() {
    let port = Match { destination_ports: vec![80], ..Match::default() };
    let nothing = Match::default;
    for (rules, want) in [
        (vec![], [false; 3]),
        (vec![Rule::default()], [true; 3]),
        (vec![Rule::of([Clause::default()])], [true; 3]),
        (vec![Rule::of([Clause::default(), Clause::of([port.clone()])])], [true, false, true]),
        (vec![Rule::of([Clause::of([nothing()])])], [false; 3]),
        (vec![Rule::of([Clause::of([nothing(), port.clone()])])], [true, false, true]),
        (vec![Rule::of([Clause::of([nothing()]), Clause::of([port])])], [false; 3]),
    ] {
        matches(&rules, want);
    }
}

#[test]
fn forms_of_texts() {
    for (form, text, want) in [
        ("cart", "cart", true),
        ("cart", "carts", false),
        ("cart", "", false),
        ("cart*", "cart", true),
        ("cart*", "cart-v2", true),
        ("cart*", "my-cart", false),
        ("cart*", "", false),
        ("*cart", "cart", true),
        ("*cart", "my-cart", true),
        ("*cart", "cart-v2", false),
        ("*cart", "", false),
        ("*", "cart", true),
        ("*", "", false),
        ("c*t", "cart", false),
    ] {
        assert_eq!(Pattern::parse(form).matches(text), want, "{form} {text}");
    }
}
