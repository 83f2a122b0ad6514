//! Evaluates policies one by one, straight from their definition: no index, no sharing, no order to get wrong.

use std::net::IpAddr;
use std::sync::Arc;

use authz::{
    Action, Attributes, Clause, Denied, DenyReason, Match, Policy, PolicyName, Rule, Scope, ServiceAccount,
};
use ipnet::IpNet;

/// The policy that allowed, or the refusal.
pub(crate) fn evaluate(
    policies: &[Policy],
    namespace: &str,
    selected: &[Arc<str>],
    connection: &Attributes<'_>,
) -> Result<Option<PolicyName>, Denied> {
    let named = |policy: &Policy| selected.iter().any(|key| key.as_ref() == policy.name.to_string());
    for key in selected {
        if !policies.iter().any(|policy| policy.name.to_string() == key.as_ref()) {
            let policy = Some(PolicyName::parse(key));
            return Err(Denied { policy, rule: None, reason: DenyReason::UnknownPolicy });
        }
    }
    let mut applying: Vec<(u8, &Policy)> = Vec::new();
    for policy in policies.iter().filter(|policy| !policy.dry_run) {
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
    let first = |action: Action| {
        let of_action =
            applying.iter().map(|(_, policy)| *policy).filter(move |policy| policy.action == action);
        of_action.into_iter().find_map(|policy| {
            let place = policy.rules.iter().position(|rule| rule_matches(rule, connection))?;
            Some((policy.name.clone(), place))
        })
    };
    if let Some((policy, rule)) = first(Action::Deny) {
        return Err(Denied { policy: Some(policy), rule: Some(rule), reason: DenyReason::DenyMatched });
    }
    if !applying.iter().any(|(_, policy)| policy.action == Action::Allow) {
        return Ok(None);
    }
    match first(Action::Allow) {
        Some((policy, _)) => Ok(Some(policy)),
        None => Err(Denied { policy: None, rule: None, reason: DenyReason::NoAllowMatched }),
    }
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
    field(&one.principals, &one.not_principals, |form| id.is_some_and(|id| form.matches(id.principal())))
        && field(&one.namespaces, &one.not_namespaces, |form| {
            id.is_some_and(|id| form.matches(id.namespace()))
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
