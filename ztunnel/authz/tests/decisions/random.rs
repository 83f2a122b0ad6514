//! Random policies and connections over a few names, so that much of it meets.

use authz::{Action, Clause, Match, Pattern, Policy, PolicyName, Rule, Scope, ServiceAccount, SourceClass};
use identity::SpiffeId;
use ipnet::IpNet;

/// A stream of choices; the same seed makes the same ones, so that a difference can be looked at again.
pub(crate) struct Random(u64);

/// One change of the store: a policy put in, or a name taken out.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Insert(Policy),
    Remove(PolicyName),
}

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) source: Option<SpiffeId>,
    pub(crate) class: Option<SourceClass>,
    pub(crate) source_ip: &'static str,
    pub(crate) destination: &'static str,
}

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn change(&mut self) -> Change {
        if self.one_in(5) { Change::Remove(self.name()) } else { Change::Insert(self.policy()) }
    }

    pub(crate) fn name(&mut self) -> PolicyName {
        PolicyName::new(self.of(NAMESPACES), self.of(&["p", "q"]))
    }

    pub(crate) fn connection(&mut self) -> Connection {
        let id = |this: &mut Self| {
            let domain = this.of(&["td", "other.td"]).parse().unwrap();
            SpiffeId::new(&domain, this.of(NAMESPACES), this.of(ACCOUNTS)).unwrap()
        };
        let source = (!self.one_in(3)).then(|| id(self));
        // Beside an identity a class must mean nothing.
        let class = self.of(&[None, Some(SourceClass::Node), Some(SourceClass::Probe)]);
        let source_ip = self.of(&["10.0.0.1", "10.1.2.3", "192.168.0.9", "fd00::1", "2001:db8::1"]);
        let destination = self.of(&["10.0.0.2:80", "10.0.0.2:443", "[fd00::2]:80", "10.9.9.9:8080"]);
        Connection { source, class, source_ip, destination }
    }

    /// A number from 0 up to `most`.
    pub(crate) fn upto(&mut self, most: usize) -> usize {
        usize::try_from(self.bits() % (u64::try_from(most).unwrap() + 1)).unwrap()
    }

    fn policy(&mut self) -> Policy {
        Policy {
            name: self.name(),
            scope: self.of(&[Scope::Global, Scope::Namespace, Scope::WorkloadSelector]),
            action: self.of(&[Action::Allow, Action::Allow, Action::Deny, Action::Audit]),
            dry_run: self.one_in(3),
            rules: self.rules(),
        }
    }

    /// Most have what tells them from others.
    fn rules(&mut self) -> Vec<Rule> {
        self.few(|this| Rule { clauses: this.few(|this| Clause { matches: this.few(Self::one_match) }) })
    }

    /// Few of its fields are used: with all of them nearly nothing would ever match.
    fn one_match(&mut self) -> Match {
        Match {
            principals: self.rarely(|it| Pattern::parse_principal(it.of(PRINCIPALS)).unwrap()),
            not_principals: self.rarely(|it| Pattern::parse_principal(it.of(PRINCIPALS)).unwrap()),
            namespaces: self.rarely(|it| Pattern::parse(it.of(NAMESPACE_FORMS))),
            not_namespaces: self.rarely(|it| Pattern::parse(it.of(NAMESPACE_FORMS))),
            service_accounts: self.rarely(|it| ServiceAccount::new(it.of(NAMESPACES), it.of(ACCOUNTS))),
            not_service_accounts: self.rarely(|it| ServiceAccount::new(it.of(NAMESPACES), it.of(ACCOUNTS))),
            source_ips: self.rarely(Self::net),
            not_source_ips: self.rarely(Self::net),
            destination_ips: self.rarely(Self::net),
            not_destination_ips: self.rarely(Self::net),
            destination_ports: self.rarely(|it| it.of(&[80, 443])),
            not_destination_ports: self.rarely(|it| it.of(&[80, 443])),
        }
    }

    fn net(&mut self) -> IpNet {
        self.of(NETS).parse().unwrap()
    }

    fn rarely<T>(&mut self, make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        if self.one_in(5) { self.one_or_two(make) } else { Vec::new() }
    }

    /// One or two, and now and then none.
    fn few<T>(&mut self, make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        if self.one_in(10) { Vec::new() } else { self.one_or_two(make) }
    }

    fn one_or_two<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..=self.upto(1)).map(|_| make(self)).collect()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.upto(all.len() - 1)]
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.upto(many - 1) == 0
    }

    /// SplitMix64.
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

pub(crate) const NAMESPACES: &[&str] = &["a", "ab", "b"];
const ACCOUNTS: &[&str] = &["x", "y", "xy"];
const NAMESPACE_FORMS: &[&str] = &["*", "a", "ab", "a*", "*b", "c", "", "ambient.mesh/node"];
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
    "ambient.mesh/node",
    "ambient.mesh/probe",
    "*/node",
    "ambient*",
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
