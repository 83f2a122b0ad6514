//! AuthorizationPolicy -> what can be decided of it about a connection, and what cannot.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use authz::{Action, Clause, Match, Pattern, Policy, PolicyName, Rule, Scope, ServiceAccount};
use ipnet::IpNet;

use super::namespaces::invalid;
use super::note::{Notes, Remark};
use super::{Settings, names, trust_domains};
use crate::objects::rules::{Condition, Operation, Source, Unknown};
use crate::objects::{AuthorizationPolicy, ObjectRef, PolicyAction, Selector, rules};

/// The policy and the workloads that it selects (none: all of its scope); nothing where it isn't the node's to enforce.
pub(super) fn policy(
    object: &AuthorizationPolicy,
    settings: &Settings,
    notes: &mut Notes,
) -> Option<(Policy, Option<Selector>)> {
    let AuthorizationPolicy { metadata, spec } = object;
    let reference = ObjectRef::of(names::AUTHORIZATION_POLICY, metadata);
    if spec.target_ref.is_some() || !spec.target_refs.is_empty() {
        notes.add(reference, Remark::TargetsWaypoint);
        return None;
    }
    let action = match spec.action {
        PolicyAction::Allow => Action::Allow,
        PolicyAction::Audit => Action::Audit,
        PolicyAction::Deny => Action::Deny,
        PolicyAction::Custom => {
            notes.add(reference, Remark::ActionUnsupported { action: "CUSTOM" });
            return None;
        }
        PolicyAction::Unknown => Action::Deny,
    };
    let selector = spec.selector.as_ref().map(|selector| Selector::from(selector.labels()));
    let selector = selector.filter(|selector| !selector.is_empty());
    let scope = match &selector {
        Some(_) => Scope::WorkloadSelector,
        None if metadata.namespace == settings.root_namespace => Scope::Global,
        None => Scope::Namespace,
    };
    let dry_run = is_dry_run(object, notes);
    let rules = match spec.action {
        // Whatever its rules are for, a policy asks for less than everything.
        PolicyAction::Unknown => {
            notes.add(reference, Remark::ActionUnknown);
            vec![Rule::of([])]
        }
        _ => rules(object, action, settings, notes),
    };
    let name = PolicyName { namespace: metadata.namespace.clone(), name: metadata.name.clone() };
    Some((Policy { name, scope, action, dry_run, rules }, selector))
}

fn rules(object: &AuthorizationPolicy, action: Action, settings: &Settings, notes: &mut Notes) -> Vec<Rule> {
    let AuthorizationPolicy { metadata, spec } = object;
    let translated = spec.rules.iter().enumerate().filter_map(|(at, rule)| {
        let (translated, remark) = Reading::new(action, &metadata.namespace, settings).rule(at, rule);
        if let Some(remark) = remark {
            notes.add(ObjectRef::of(names::AUTHORIZATION_POLICY, metadata), remark);
        }
        translated
    });
    translated.collect()
}

/// One rule while it is read.
struct Reading<'a> {
    action: Action,
    namespace: &'a str,
    settings: &'a Settings,
    /// What no connection has, or what is not understood.
    unmet: BTreeSet<Arc<str>>,
}

/// One alternative of a clause.
struct Alternative {
    is: Match,
    /// It asks for something else as well.
    more: bool,
}

impl<'a> Reading<'a> {
    const fn new(action: Action, namespace: &'a str, settings: &'a Settings) -> Self {
        Self { action, namespace, settings, unmet: BTreeSet::new() }
    }

    fn rule(mut self, at: usize, rule: &rules::Rule) -> (Option<Rule>, Option<Remark>) {
        self.unmet.extend(rule.unknown.names().cloned());
        let whole = !self.unmet.is_empty();
        let to = self.each(&rule.to, |it, to| {
            it.alternative("operation", &to.unknown, |it| it.operation(&to.operation))
        });
        let from = self.each(&rule.from, |it, from| {
            it.alternative("source", &from.unknown, |it| it.source(&from.source))
        });
        let when = self.each(&rule.when, |it, condition| {
            it.alternative(&condition.key, &Unknown::default(), |it| it.condition(condition))
        });
        let when = when.into_iter().map(|condition| vec![condition]);
        let clauses: Vec<_> = [to, from].into_iter().filter(|it| !it.is_empty()).chain(when).collect();
        if self.unmet.is_empty() {
            return (Some(Rule::of(clauses.into_iter().map(clause))), None);
        }
        let fields = self.unmet.iter().map(|field| &**field).collect::<Vec<_>>().join(", ");
        if self.action != Action::Deny {
            return (None, Some(Remark::RuleDropped { rule: at, fields }));
        }
        match wider(clauses, whole) {
            Some(wider) => (Some(wider), Some(Remark::RuleWidened { rule: at, fields })),
            None => (None, Some(Remark::RuleEmpty { rule: at, fields })),
        }
    }

    fn each<T>(&mut self, parts: &[T], read: impl Fn(&mut Self, &T) -> Alternative) -> Vec<Alternative> {
        parts.iter().map(|part| read(self, part)).collect()
    }

    /// One that says nothing at all is not understood either: Istio doesn't admit it, and documents it as anything where
    /// its proxy takes it for nothing.
    fn alternative(
        &mut self,
        name: &str,
        unknown: &Unknown,
        read: impl FnOnce(&mut Self) -> Match,
    ) -> Alternative {
        let before = std::mem::take(&mut self.unmet);
        self.unmet.extend(unknown.names().cloned());
        let is = read(self);
        if is.is_empty() && self.unmet.is_empty() {
            self.unmet.insert(name.into());
        }
        let more = !self.unmet.is_empty();
        self.unmet.extend(before);
        Alternative { is, more }
    }

    fn source(&mut self, source: &Source) -> Match {
        self.unmet.extend(source.unknown.asked().cloned());
        Match {
            principals: self.principals("principals", &source.principals),
            not_principals: self.principals("notPrincipals", &source.not_principals),
            namespaces: self.parsed("namespaces", &source.namespaces, pattern),
            not_namespaces: self.parsed("notNamespaces", &source.not_namespaces, pattern),
            service_accounts: self.service_accounts("serviceAccounts", &source.service_accounts),
            not_service_accounts: self.service_accounts("notServiceAccounts", &source.not_service_accounts),
            source_ips: self.parsed("ipBlocks", &source.ip_blocks, net),
            not_source_ips: self.parsed("notIpBlocks", &source.not_ip_blocks, net),
            ..Match::default()
        }
    }

    fn operation(&mut self, operation: &Operation) -> Match {
        self.unmet.extend(operation.unknown.asked().cloned());
        Match {
            destination_ports: self.parsed("ports", &operation.ports, port),
            not_destination_ports: self.parsed("notPorts", &operation.not_ports, port),
            ..Match::default()
        }
    }

    fn condition(&mut self, condition: &Condition) -> Match {
        let Condition { key, values, not_values } = condition;
        let mut is = Match::default();
        match &**key {
            "destination.ip" => {
                is.destination_ips = self.parsed(key, values, net);
                is.not_destination_ips = self.parsed(key, not_values, net);
            }
            "destination.port" => {
                is.destination_ports = self.parsed(key, values, port);
                is.not_destination_ports = self.parsed(key, not_values, port);
            }
            "source.ip" => {
                is.source_ips = self.parsed(key, values, net);
                is.not_source_ips = self.parsed(key, not_values, net);
            }
            "source.namespace" => {
                is.namespaces = self.parsed(key, values, pattern);
                is.not_namespaces = self.parsed(key, not_values, pattern);
            }
            "source.principal" => {
                is.principals = self.principals(key, values);
                is.not_principals = self.principals(key, not_values);
            }
            _ => {
                self.unmet.insert(key.clone());
            }
        }
        is
    }

    fn parsed<T>(&mut self, field: &str, values: &[Arc<str>], parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let parsed: Vec<T> = values.iter().filter_map(|value| parse(value)).collect();
        if parsed.len() < values.len() {
            self.unmet.insert(field.into());
        }
        parsed
    }

    fn principals(&mut self, field: &str, values: &[Arc<str>]) -> Vec<Pattern> {
        let names = values.iter().flat_map(|value| trust_domains::names(value, self.settings));
        let names: Vec<Arc<str>> = names.map(Arc::from).collect();
        self.parsed(field, &names, |name| pattern(name).and_then(|_| Pattern::parse_principal(name)))
    }

    fn service_accounts(&mut self, field: &str, names: &[Arc<str>]) -> Vec<ServiceAccount> {
        let own = self.namespace;
        self.parsed(field, names, |text| {
            let (namespace, name) = text.split_once('/').unwrap_or((own, text));
            let is_name = |part: &str| !part.is_empty() && !part.contains(['*', '/']);
            (is_name(namespace) && is_name(name)).then(|| ServiceAccount::new(namespace, name))
        })
    }
}

/// A DENY rule without what cannot be met: never narrower than what is left of it. None when nothing is left, for then
/// it would deny everything.
fn wider(clauses: Vec<Vec<Alternative>>, whole: bool) -> Option<Rule> {
    let is_open = |alternative: &Alternative| alternative.more && alternative.is.is_empty();
    let (open, closed): (Vec<_>, Vec<_>) = clauses.into_iter().partition(|it| it.iter().any(is_open));
    if !closed.is_empty() {
        return Some(Rule::of(closed.into_iter().map(clause)));
    }
    let left = open.into_iter().map(|alternatives| {
        alternatives.into_iter().filter(|alternative| !is_open(alternative)).collect::<Vec<_>>()
    });
    let left: Vec<_> = left.filter(|it| !it.is_empty()).map(clause).collect();
    (!left.is_empty() && !whole).then(|| Rule::of(left))
}

fn clause(alternatives: Vec<Alternative>) -> Clause {
    Clause::of(alternatives.into_iter().map(|alternative| alternative.is))
}

/// Whether the policy only reports, in the words that Istio takes for yes.
fn is_dry_run(object: &AuthorizationPolicy, notes: &mut Notes) -> bool {
    match object.metadata.annotation(names::DRY_RUN) {
        None | Some("" | "0" | "f" | "F" | "false" | "False" | "FALSE") => false,
        Some("1" | "t" | "T" | "true" | "True" | "TRUE") => true,
        Some(other) => {
            let reference = ObjectRef::of(names::AUTHORIZATION_POLICY, &object.metadata);
            notes.add(reference, invalid(names::DRY_RUN, other));
            false
        }
    }
}

/// Nobody's name is empty, so an empty text would never match.
fn pattern(text: &str) -> Option<Pattern> {
    (!text.is_empty()).then(|| Pattern::parse(text))
}

/// An address, or a range.
fn net(text: &str) -> Option<IpNet> {
    IpNet::from_str(text).ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}

/// A number without a sign.
fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}
