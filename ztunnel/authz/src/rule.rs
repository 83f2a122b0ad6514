//! A rule in the form that evaluation reads.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::attributes::Facts;
use crate::policy::{Match, PolicyName, Rule, ServiceAccount};
use crate::{Pattern, SourceClass};

/// One rule of one policy. Rules of a kind are ordered by policy name and place, so that the one that is reported
/// does not depend on the order of arrival.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) policy: PolicyName,
    /// Its place among the policy's rules.
    pub(crate) place: usize,
    clauses: Box<[Box<[CompiledMatch]>]>,
}

#[derive(Debug)]
struct CompiledMatch {
    principals: Field<Texts>,
    namespaces: Field<Texts>,
    accounts: Field<Texts>,
    source_ips: Field<Box<[IpNet]>>,
    destination_ips: Field<Box<[IpNet]>>,
    ports: Field<Box<[u16]>>,
}

/// Positive and negative values; none where the policy names none.
#[derive(Debug)]
struct Field<T> {
    any_of: Option<T>,
    none_of: Option<T>,
}

/// Patterns by form; exact ones sorted, because a rule may list thousands.
#[derive(Debug)]
struct Texts {
    presence: bool,
    classes: Box<[SourceClass]>,
    exact: Box<[Arc<str>]>,
    prefixes: Box<[Arc<str>]>,
    suffixes: Box<[Arc<str>]>,
}

impl CompiledRule {
    pub(crate) fn new(policy: &PolicyName, place: usize, rule: &Rule) -> Self {
        let clauses = rule.clauses.iter().filter(|clause| !clause.matches.is_empty());
        let clauses = clauses.map(|clause| {
            let matches = clause.matches.iter().filter(|one| !one.is_empty());
            matches.map(CompiledMatch::new).collect()
        });
        Self { policy: policy.clone(), place, clauses: clauses.collect() }
    }

    /// Whether it matches a connection; a probe only because it is one.
    pub(crate) fn matches(&self, facts: &Facts<'_>) -> bool {
        let all =
            |class| self.clauses.iter().all(|clause| clause.iter().any(|one| one.matches(facts, class)));
        all(facts.class) && (!facts.is_probe() || !all(None))
    }

    pub(crate) fn order(&self) -> (&PolicyName, usize) {
        (&self.policy, self.place)
    }

    /// Whether it can match a connection to that port, as far as the port alone tells.
    pub(crate) fn can_match_port(&self, port: u16) -> bool {
        let admits = |one: &CompiledMatch| one.ports.holds(|ports| ports.binary_search(&port).is_ok());
        self.clauses.iter().all(|clause| clause.iter().any(admits))
    }
}

impl CompiledMatch {
    fn new(one: &Match) -> Self {
        let boxed = |nets: &[IpNet]| nets.to_vec().into_boxed_slice();
        let sorted = |ports: &[u16]| {
            let mut ports = ports.to_vec();
            ports.sort_unstable();
            ports.into_boxed_slice()
        };
        Self {
            principals: Field::new(&one.principals, &one.not_principals, Texts::new),
            namespaces: Field::new(&one.namespaces, &one.not_namespaces, Texts::new),
            accounts: Field::new(&one.service_accounts, &one.not_service_accounts, Texts::of_accounts),
            source_ips: Field::new(&one.source_ips, &one.not_source_ips, boxed),
            destination_ips: Field::new(&one.destination_ips, &one.not_destination_ips, boxed),
            ports: Field::new(&one.destination_ports, &one.not_destination_ports, sorted),
        }
    }

    fn matches(&self, facts: &Facts<'_>, class: Option<SourceClass>) -> bool {
        let source = facts.source.as_ref();
        let text = |texts: &Texts, text: Option<&str>| text.is_some_and(|text| texts.contain(text));
        let within = |nets: &[IpNet], ip: IpAddr| nets.iter().any(|net| net.contains(&ip));
        self.ports.holds(|ports| ports.binary_search(&facts.port).is_ok())
            && self.principals.holds(|all| {
                text(all, source.map(|source| source.principal))
                    || class.is_some_and(|class| all.classes.contains(&class))
            })
            && self.namespaces.holds(|all| text(all, source.map(|source| source.namespace)))
            && self.accounts.holds(|all| text(all, source.map(|source| source.account)))
            && self.source_ips.holds(|nets| within(nets, facts.source_ip))
            && self.destination_ips.holds(|nets| within(nets, facts.destination_ip))
    }
}

impl<T> Field<T> {
    fn new<V>(any_of: &[V], none_of: &[V], compile: impl Fn(&[V]) -> T) -> Self {
        let some = |values: &[V]| (!values.is_empty()).then(|| compile(values));
        Self { any_of: some(any_of), none_of: some(none_of) }
    }

    fn holds(&self, mut contains: impl FnMut(&T) -> bool) -> bool {
        self.any_of.as_ref().is_none_or(&mut contains) && !self.none_of.as_ref().is_some_and(&mut contains)
    }
}

impl Texts {
    fn new(patterns: &[Pattern]) -> Self {
        let mut exact = Vec::new();
        let mut prefixes = Vec::new();
        let mut suffixes = Vec::new();
        let mut classes = Vec::new();
        for pattern in patterns {
            match pattern {
                Pattern::Class(class) => classes.push(*class),
                Pattern::Exact(text) => exact.push(text.clone()),
                Pattern::Presence => {}
                Pattern::Prefix(text) => prefixes.push(text.clone()),
                Pattern::Suffix(text) => suffixes.push(text.clone()),
            }
        }
        exact.sort_unstable();
        let presence = patterns.contains(&Pattern::Presence);
        Self {
            presence,
            classes: classes.into(),
            exact: exact.into(),
            prefixes: prefixes.into(),
            suffixes: suffixes.into(),
        }
    }

    fn of_accounts(accounts: &[ServiceAccount]) -> Self {
        let exact: Vec<_> = accounts.iter().map(|account| Pattern::Exact(account_text(account))).collect();
        Self::new(&exact)
    }

    /// `text` is never empty: it is a part of an identity.
    fn contain(&self, text: &str) -> bool {
        self.presence
            || self.exact.binary_search_by(|exact| exact.as_ref().cmp(text)).is_ok()
            || self.prefixes.iter().any(|prefix| text.starts_with(prefix.as_ref()))
            || self.suffixes.iter().any(|suffix| text.ends_with(suffix.as_ref()))
    }
}

/// A service account as it ends a principal.
pub(crate) fn account_text(account: &ServiceAccount) -> Arc<str> {
    format!("{}/sa/{}", account.namespace, account.name).into()
}
