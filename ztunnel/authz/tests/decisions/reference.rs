//! Evaluates policies one by one, straight from their definition: no index, no sharing, no order to get wrong.

use std::net::IpAddr;
use std::sync::Arc;

use authz::{
    Action, Attributes, Clause, Denied, DenyReason, Match, MatchedRule, Observed, Pattern, Policy,
    PolicyName, Rule, Scope, ServiceAccount, SourceClass,
};
use ipnet::IpNet;

/// The rule that allowed, or the refusal.
pub(crate) fn evaluate(
    policies: &[Policy],
    namespace: &str,
    selected: &[Arc<str>],
    connection: &Attributes<'_>,
) -> Result<Option<MatchedRule>, Denied> {
    if is_probe(connection) {
        return probe(policies, namespace, selected, connection);
    }
    for key in selected {
        if !policies.iter().any(|policy| policy.name.to_string() == key.as_ref()) {
            let policy = Some(PolicyName::parse(key));
            return Err(Denied { policy, rule: None, reason: DenyReason::UnknownPolicy });
        }
    }
    let applying = applying(policies, namespace, selected, |policy| !policy.dry_run);
    if let Some(MatchedRule { policy, rule }) = first_match(&applying, Action::Deny, connection) {
        return Err(Denied { policy: Some(policy), rule: Some(rule), reason: DenyReason::DenyMatched });
    }
    if !applying.iter().any(|policy| policy.action == Action::Allow) {
        return Ok(None);
    }
    match first_match(&applying, Action::Allow, connection) {
        Some(rule) => Ok(Some(rule)),
        None => Err(Denied { policy: None, rule: None, reason: DenyReason::NoAllowMatched }),
    }
}

/// What is said of a connection and never done: an AUDIT rule that matches, in force or not, and what refusal dry-run
/// policies would add to those in force.
pub(crate) fn observe(
    policies: &[Policy],
    namespace: &str,
    selected: &[Arc<str>],
    connection: &Attributes<'_>,
) -> Observed {
    let all = applying(policies, namespace, selected, |_| true);
    let (dry, in_force): (Vec<_>, Vec<_>) = all.iter().copied().partition(|policy| policy.dry_run);
    let denied = first_match(&dry, Action::Deny, connection);
    let denied = denied.map(|MatchedRule { policy, rule }| Denied {
        policy: Some(policy),
        rule: Some(rule),
        reason: DenyReason::DenyMatched,
    });
    let allows = !is_probe(connection) && dry.iter().any(|policy| policy.action == Action::Allow);
    let allowed = [dry, in_force].iter().any(|it| first_match(it, Action::Allow, connection).is_some());
    let not_allowed = Denied { policy: None, rule: None, reason: DenyReason::NoAllowMatched };
    Observed {
        audit: first_match(&all, Action::Audit, connection),
        dry_run: denied.or_else(|| (allows && !allowed).then_some(not_allowed)),
    }
}

fn first_match(applying: &[&Policy], action: Action, connection: &Attributes<'_>) -> Option<MatchedRule> {
    let of_action = applying.iter().filter(|policy| policy.action == action);
    of_action.into_iter().find_map(|policy| {
        let rule = policy.rules.iter().position(|rule| {
            if is_probe(connection) {
                is_about_probes(rule, connection)
            } else {
                rule_matches(rule, connection)
            }
        })?;
        Some(MatchedRule { policy: policy.name.clone(), rule })
    })
}

/// Nothing but a DENY rule that would not match without the class refuses a probe.
fn probe(
    policies: &[Policy],
    namespace: &str,
    selected: &[Arc<str>],
    probe: &Attributes<'_>,
) -> Result<Option<MatchedRule>, Denied> {
    for policy in applying(policies, namespace, selected, |policy| !policy.dry_run) {
        for (place, rule) in policy.rules.iter().enumerate() {
            if policy.action == Action::Deny && is_about_probes(rule, probe) {
                let policy = Some(policy.name.clone());
                return Err(Denied { policy, rule: Some(place), reason: DenyReason::DenyMatched });
            }
        }
    }
    Ok(None)
}

fn is_probe(connection: &Attributes<'_>) -> bool {
    connection.source.is_none() && connection.class == Some(SourceClass::Probe)
}

/// Whether a rule matches a probe, and would not if it were none.
fn is_about_probes(rule: &Rule, probe: &Attributes<'_>) -> bool {
    rule_matches(rule, probe) && !rule_matches(rule, &Attributes { class: None, ..probe.clone() })
}

/// The policies that apply, in the order in which the first of several that match is told.
fn applying<'a>(
    policies: &'a [Policy],
    namespace: &str,
    selected: &[Arc<str>],
    wanted: impl Fn(&Policy) -> bool,
) -> Vec<&'a Policy> {
    let named = |policy: &Policy| selected.iter().any(|key| key.as_ref() == policy.name.to_string());
    let mut applying: Vec<(u8, &Policy)> = Vec::new();
    for policy in policies.iter().filter(|policy| wanted(policy)) {
        match policy.scope {
            Scope::Global => applying.push((0, policy)),
            Scope::Namespace if policy.name.namespace.as_ref() == namespace => applying.push((1, policy)),
            _ => {}
        }
        if named(policy) {
            applying.push((2, policy));
        }
    }
    applying.sort_by_key(|(layer, policy)| (*layer, policy.name.clone()));
    applying.into_iter().map(|(_, policy)| policy).collect()
}

fn rule_matches(rule: &Rule, connection: &Attributes<'_>) -> bool {
    rule.clauses.iter().all(|clause| clause_matches(clause, connection))
}

fn clause_matches(clause: &Clause, connection: &Attributes<'_>) -> bool {
    clause.matches.is_empty()
        || clause.matches.iter().any(|one| !one.is_empty() && match_matches(one, connection))
}

fn match_matches(one: &Match, connection: &Attributes<'_>) -> bool {
    let id = connection.source;
    let account = |want: &ServiceAccount| {
        id.is_some_and(|id| {
            id.namespace() == want.namespace.as_ref() && id.service_account() == want.name.as_ref()
        })
    };
    let within = |ip: IpAddr| move |net: &IpNet| net.contains(&ip);
    let (from, to) = (within(connection.source_ip), within(connection.destination.ip()));
    let principal = |form: &Pattern| match (form, id) {
        (Pattern::Class(class), None) => connection.class == Some(*class),
        (form, id) => id.is_some_and(|id| has_form(id.principal(), form)),
    };
    field(&one.principals, &one.not_principals, principal)
        && field(&one.namespaces, &one.not_namespaces, |form| {
            id.is_some_and(|id| has_form(id.namespace(), form))
        })
        && field(&one.service_accounts, &one.not_service_accounts, account)
        && field(&one.source_ips, &one.not_source_ips, from)
        && field(&one.destination_ips, &one.not_destination_ips, to)
        && field(&one.destination_ports, &one.not_destination_ports, |port| {
            *port == connection.destination.port()
        })
}

fn field<T>(any_of: &[T], none_of: &[T], is: impl Fn(&T) -> bool) -> bool {
    (any_of.is_empty() || any_of.iter().any(&is)) && !none_of.iter().any(&is)
}

/// Letter by letter, from the words of `AuthorizationPolicy`: "exact", "prefix", "suffix" and "presence" match.
fn has_form(text: &str, form: &Pattern) -> bool {
    let (text, form) = (text.as_bytes(), form.to_string().into_bytes());
    match (form.first(), form.last()) {
        _ if form == b"*" => !text.is_empty(),
        (Some(b'*'), _) => (0..=text.len()).any(|start| text[start..] == form[1..]),
        (_, Some(b'*')) => (0..=text.len()).any(|end| text[..end] == form[..form.len() - 1]),
        _ => text == form,
    }
}
