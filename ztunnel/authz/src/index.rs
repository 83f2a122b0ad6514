//! Rules of one action by their keys. Persistent: a clone shares everything, a change copies a logarithmic part.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use ipnet::IpNet;

use crate::attributes::Facts;
use crate::keys::{self, Key};
use crate::policy::Rule;
use crate::rule::CompiledRule;
use crate::{Pattern, SourceClass};

/// The rules of one action in one layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    classes: Postings<SourceClass>,
    accounts: Postings<Arc<str>>,
    principals: TextPostings,
    namespaces: TextPostings,
    sources: NetPostings,
    destinations: NetPostings,
    ports: Postings<u16>,
    unauthenticated: List,
    authenticated: List,
    always: List,
    /// How many rules there are, wherever they are found.
    rules: usize,
}

/// Rules in order of policy name and place.
#[derive(Clone, Debug, Default)]
struct List(Arc<Vec<Arc<CompiledRule>>>);

/// Lists by key.
#[derive(Clone, Debug)]
struct Postings<K>(GenericHashMap<K, List, foldhash::fast::RandomState, DefaultSharedPtr>);

/// Lists by the form of a text. Prefixes and suffixes are found by trying the lengths in use.
#[derive(Clone, Debug, Default)]
struct TextPostings {
    exact: Postings<Arc<str>>,
    prefix: Postings<Arc<str>>,
    prefix_lengths: Lengths<usize>,
    suffix: Postings<Arc<str>>,
    suffix_lengths: Lengths<usize>,
}

/// Lists by network, found by trying the prefix lengths in use; v4 and v6 apart.
#[derive(Clone, Debug, Default)]
struct NetPostings {
    nets: Postings<IpNet>,
    v4_lengths: Lengths<u8>,
    v6_lengths: Lengths<u8>,
}

/// Lengths in use, and by how many rules each.
#[derive(Clone, Debug, Default)]
struct Lengths<L>(Vec<(L, usize)>);

/// The first rule that matched so far.
#[derive(Default)]
struct First<'a>(Option<&'a CompiledRule>);

impl Index {
    pub(crate) fn insert(&mut self, rule: &Rule, compiled: &Arc<CompiledRule>) {
        self.rules += 1;
        self.at(rule, |list| list.insert(compiled), true);
    }

    /// Takes out a rule that was put in; `compiled` may be another copy of it.
    pub(crate) fn remove(&mut self, rule: &Rule, compiled: &Arc<CompiledRule>) {
        self.rules -= 1;
        self.at(rule, |list| list.remove(compiled), false);
    }

    /// The first rule that matches, in order of policy name and place.
    pub(crate) fn first_match(&self, facts: &Facts<'_>) -> Option<&CompiledRule> {
        if self.rules == 0 {
            return None;
        }
        let mut first = First::default();
        self.look_up(facts, |list| first.look_at(list, facts));
        first.0
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rules == 0
    }

    /// Calls `found` for each list under a key that the connection has.
    fn look_up<'a>(&'a self, facts: &Facts<'_>, mut found: impl FnMut(&'a List)) {
        match &facts.source {
            Some(source) => {
                self.accounts.0.get(source.account).map(&mut found);
                self.principals.look_up(source.principal, &mut found);
                self.namespaces.look_up(source.namespace, &mut found);
                found(&self.authenticated);
            }
            None => {
                facts.class.and_then(|class| self.classes.0.get(&class)).map(&mut found);
                found(&self.unauthenticated);
            }
        }
        self.sources.look_up(facts.source_ip, &mut found);
        self.destinations.look_up(facts.destination_ip, &mut found);
        self.ports.0.get(&facts.port).map(&mut found);
        found(&self.always);
    }

    fn at(&mut self, rule: &Rule, mut change: impl FnMut(&mut List), add: bool) {
        let Some(keys) = keys::of_rule(rule) else {
            return change(&mut self.always);
        };
        for key in keys {
            match key {
                Key::Class(class) => self.classes.at(class, &mut change),
                Key::Account(text) => self.accounts.at(text, &mut change),
                Key::Principal(pattern) => self.principals.at(pattern, &mut change, add),
                Key::Namespace(pattern) => self.namespaces.at(pattern, &mut change, add),
                Key::Source(net) => self.sources.at(net, &mut change, add),
                Key::Destination(net) => self.destinations.at(net, &mut change, add),
                Key::Port(port) => self.ports.at(port, &mut change),
                Key::Unauthenticated => change(&mut self.unauthenticated),
                Key::Authenticated => change(&mut self.authenticated),
            }
        }
    }
}

impl List {
    fn insert(&mut self, rule: &Arc<CompiledRule>) {
        let rules = Arc::make_mut(&mut self.0);
        if let Err(place) = rules.binary_search_by(|other| other.order().cmp(&rule.order())) {
            rules.insert(place, rule.clone());
        }
    }

    fn remove(&mut self, rule: &Arc<CompiledRule>) {
        let rules = Arc::make_mut(&mut self.0);
        if let Ok(place) = rules.binary_search_by(|other| other.order().cmp(&rule.order())) {
            rules.remove(place);
        }
    }
}

impl<K: Hash + Eq + Clone> Postings<K> {
    fn at(&mut self, key: K, change: &mut impl FnMut(&mut List)) {
        let mut list = self.0.remove(&key).unwrap_or_default();
        change(&mut list);
        if !list.0.is_empty() {
            self.0.insert(key, list);
        }
    }
}

impl<K> Default for Postings<K> {
    fn default() -> Self {
        Self(GenericHashMap::default())
    }
}

impl TextPostings {
    fn at(&mut self, pattern: Pattern, change: &mut impl FnMut(&mut List), add: bool) {
        match pattern {
            Pattern::Exact(text) => self.exact.at(text, change),
            Pattern::Prefix(text) => {
                self.prefix_lengths.count(text.len(), add);
                self.prefix.at(text, change);
            }
            Pattern::Suffix(text) => {
                self.suffix_lengths.count(text.len(), add);
                self.suffix.at(text, change);
            }
            Pattern::Class(_) | Pattern::Presence => unreachable!("these have keys of their own"),
        }
    }

    fn look_up<'a>(&'a self, text: &str, mut found: impl FnMut(&'a List)) {
        self.exact.0.get(text).map(&mut found);
        for (length, _) in &self.prefix_lengths.0 {
            text.get(..*length).and_then(|start| self.prefix.0.get(start)).map(&mut found);
        }
        for (length, _) in &self.suffix_lengths.0 {
            let start = text.len().checked_sub(*length);
            start.and_then(|start| text.get(start..)).and_then(|end| self.suffix.0.get(end)).map(&mut found);
        }
    }
}

impl NetPostings {
    fn at(&mut self, net: IpNet, change: &mut impl FnMut(&mut List), add: bool) {
        match net {
            IpNet::V4(_) => self.v4_lengths.count(net.prefix_len(), add),
            IpNet::V6(_) => self.v6_lengths.count(net.prefix_len(), add),
        }
        self.nets.at(net, change);
    }

    fn look_up<'a>(&'a self, ip: IpAddr, mut found: impl FnMut(&'a List)) {
        let lengths = if ip.is_ipv4() { &self.v4_lengths } else { &self.v6_lengths };
        for (length, _) in &lengths.0 {
            let net = IpNet::new(ip, *length).expect("the length is one of a network of this family");
            self.nets.0.get(&net.trunc()).map(&mut found);
        }
    }
}

impl<L: PartialEq> Lengths<L> {
    fn count(&mut self, length: L, add: bool) {
        match self.0.iter().position(|(used, _)| *used == length) {
            Some(place) if add => self.0[place].1 += 1,
            Some(place) if self.0[place].1 == 1 => drop(self.0.swap_remove(place)),
            Some(place) => self.0[place].1 -= 1,
            None => self.0.push((length, 1)),
        }
    }
}

impl<'a> First<'a> {
    fn look_at(&mut self, list: &'a List, facts: &Facts<'_>) {
        for rule in list.0.iter() {
            if self.0.is_some_and(|first| first.order() <= rule.order()) {
                return;
            }
            if rule.matches(facts) {
                self.0 = Some(rule);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::policy::{Clause, Match, PolicyName, ServiceAccount};
    use crate::{Attributes, Pattern};

    #[test]
    fn ten_thousand_rules_about_others_are_not_looked_at() {
        let net = |place: usize| IpNet::new(format!("fd00::{place:x}").parse().unwrap(), 128).unwrap();
        let forms: [fn(usize) -> Match; 6] = [
            |n| Match { principals: vec![Pattern::parse(&format!("td/ns/n{n}/sa/x"))], ..Match::default() },
            |n| Match { principals: vec![Pattern::parse(&format!("td/ns/n{n}/*"))], ..Match::default() },
            |n| Match { principals: vec![Pattern::parse(&format!("*/sa/a{n}"))], ..Match::default() },
            |n| Match { namespaces: vec![Pattern::parse(&format!("n{n}"))], ..Match::default() },
            |n| Match { namespaces: vec![Pattern::parse(&format!("n{n}-*"))], ..Match::default() },
            |n| Match {
                service_accounts: vec![ServiceAccount::new(&format!("n{n}"), "x")],
                ..Match::default()
            },
        ];
        let mut index = Index::default();
        for place in 0..10_000 {
            let mut one = forms[place % forms.len()](place);
            if place % 10 == 0 {
                one = Match { source_ips: vec![net(place)], ..Match::default() };
            }
            let rule = Rule::of([Clause::of([one])]);
            let name = PolicyName::new("shop", "p");
            index.insert(&rule, &Arc::new(CompiledRule::new(&name, place, &rule)));
        }
        let id = "spiffe://td/ns/n3/sa/x".parse().unwrap();
        let source_ip = "10.0.0.1".parse().unwrap();
        let destination = "10.0.0.2:80".parse().unwrap();
        let facts = |source| Facts::of(&Attributes { source, class: None, source_ip, destination });
        assert_eq!(index.candidates(&facts(Some(&id))), 1);
        assert_eq!(index.candidates(&facts(None)), 0);
    }

    impl Index {
        fn candidates(&self, facts: &Facts<'_>) -> usize {
            let count = Cell::new(0);
            self.look_up(facts, |list| count.set(count.get() + list.0.len()));
            count.get()
        }
    }
}
