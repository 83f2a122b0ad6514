//! Under which keys a rule is found.
//!
//! A rule can only match when each of its clauses does, so one clause is enough to find it: the one whose values are
//! the rarest. A connection looks up the handful of keys that it has; rules under other keys cost it nothing.

use std::sync::Arc;

use ipnet::IpNet;

use crate::policy::{Clause, Match, Rule};
use crate::rule::account_text;
use crate::{Pattern, SourceClass};

/// Something that a connection must have for a rule to match. Ordered from the rarest to the most common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A source of this class.
    Class(SourceClass),
    /// This very service account: `<namespace>/sa/<name>`.
    Account(Arc<str>),
    /// A principal of this form; never [`Pattern::Presence`].
    Principal(Pattern),
    /// An identity in a namespace of this form; never [`Pattern::Presence`].
    Namespace(Pattern),
    /// A source address in this network.
    Source(IpNet),
    /// A destination address in this network.
    Destination(IpNet),
    /// This destination port.
    Port(u16),
    /// No identity.
    Unauthenticated,
    /// An identity.
    Authenticated,
}

/// The keys of a rule: a connection that has none of them cannot match it. `None` when every connection may.
pub(crate) fn of_rule(rule: &Rule) -> Option<Vec<Key>> {
    let mut best: Option<Vec<Key>> = None;
    for keys in rule.clauses.iter().filter_map(of_clause) {
        if best.as_ref().is_none_or(|best| weight(&keys) < weight(best)) {
            best = Some(keys);
        }
    }
    best.map(|mut keys| {
        keys.sort_unstable();
        keys.dedup();
        keys
    })
}

/// All keys of the matches; `None` when one of them has no key, or when there are no matches (always true).
fn of_clause(clause: &Clause) -> Option<Vec<Key>> {
    if clause.matches.is_empty() {
        return None;
    }
    let mut keys = Vec::new();
    for one in clause.matches.iter().filter(|one| !one.is_empty()) {
        keys.extend(of_match(one)?);
    }
    Some(keys)
}

/// The keys of the match's rarest field.
fn of_match(one: &Match) -> Option<Vec<Key>> {
    let patterns = |patterns: &[Pattern], key: fn(Pattern) -> Key| -> Vec<Key> {
        let of = |pattern: &Pattern| match pattern {
            Pattern::Class(class) => Key::Class(*class),
            Pattern::Presence => Key::Authenticated,
            form => key(form.clone()),
        };
        patterns.iter().map(of).collect()
    };
    let unauthenticated =
        one.not_principals.contains(&Pattern::Presence) || one.not_namespaces.contains(&Pattern::Presence);
    let fields: [Vec<Key>; 7] = [
        one.service_accounts.iter().map(|account| Key::Account(account_text(account))).collect(),
        patterns(&one.principals, Key::Principal),
        patterns(&one.namespaces, Key::Namespace),
        one.source_ips.iter().map(|net| Key::Source(net.trunc())).collect(),
        one.destination_ips.iter().map(|net| Key::Destination(net.trunc())).collect(),
        one.destination_ports.iter().map(|port| Key::Port(*port)).collect(),
        unauthenticated.then_some(Key::Unauthenticated).into_iter().collect(),
    ];
    fields.into_iter().filter(|keys| !keys.is_empty()).min_by_key(|keys| weight(keys))
}

/// Smaller is rarer: the most common of the keys counts, then how many there are.
fn weight(keys: &[Key]) -> (u8, usize) {
    (keys.iter().map(commonness).max().unwrap_or_default(), keys.len())
}

fn commonness(key: &Key) -> u8 {
    match key {
        Key::Account(_) | Key::Class(_) | Key::Principal(Pattern::Exact(_)) => 1,
        Key::Principal(_) | Key::Namespace(Pattern::Exact(_)) => 2,
        Key::Namespace(_) => 3,
        Key::Source(net) | Key::Destination(net) if net.prefix_len() == 0 => 6,
        Key::Source(_) => 3,
        Key::Destination(_) | Key::Port(_) => 4,
        Key::Unauthenticated => 5,
        Key::Authenticated => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rarest_field_of_the_rarest_clause_is_the_key() {
        let port = Clause::of([Match { destination_ports: vec![80], ..Match::default() }]);
        let principal = Clause::of([Match {
            principals: vec![Pattern::parse("td/ns/a/sa/b")],
            source_ips: vec!["10.0.0.0/8".parse().unwrap()],
            ..Match::default()
        }]);
        let rule = Rule::of([port, principal]);
        assert_eq!(of_rule(&rule), Some(vec![Key::Principal(Pattern::parse("td/ns/a/sa/b"))]));
    }

    #[test]
    fn a_rule_that_anything_may_match_has_no_keys() {
        let negative = Match { not_destination_ports: vec![80], ..Match::default() };
        assert_eq!(of_rule(&Rule::default()), None);
        assert_eq!(of_rule(&Rule::of([Clause::default()])), None);
        assert_eq!(of_rule(&Rule::of([Clause::of([negative])])), None);
    }

    #[test]
    fn strict_mode_is_found_only_by_the_unauthenticated() {
        let strict = Match { not_principals: vec![Pattern::Presence], ..Match::default() };
        assert_eq!(of_rule(&Rule::of([Clause::of([strict])])), Some(vec![Key::Unauthenticated]));
    }

    #[test]
    fn a_clause_that_can_never_match_has_an_empty_list_of_keys() {
        assert_eq!(of_rule(&Rule::of([Clause::of([Match::default()])])), Some(vec![]));
    }
}
