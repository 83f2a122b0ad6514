//! PeerAuthentication -> DENY policies for plaintext.
//!
//! Wider ones give what narrower ones leave open: mesh, namespace, workload, port. Among equals the oldest counts.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU16;
use std::sync::Arc;

use authz::{Action, Clause, Match, Pattern, Policy, PolicyName, Rule, Scope};
use foldhash::fast::RandomState;

use super::namespaces::invalid;
use super::note::{Notes, Remark};
use super::selectors::Namespaced;
use super::{Settings, names};
use crate::objects::{Labels, Metadata, MtlsMode, ObjectRef, Objects, PeerAuthentication, Selector, Time};

/// Who accepts plaintext.
#[derive(Debug, Default)]
pub(super) struct PeerModes {
    mesh: bool,
    namespaces: HashMap<Arc<str>, bool, RandomState>,
    workloads: Namespaced<Arc<PeerMode>>,
    /// Names the policy of all that accept none.
    strict: Arc<str>,
}

/// What one PeerAuthentication says of the workloads that it selects.
#[derive(Debug)]
struct PeerMode {
    age: (Time, Arc<str>),
    /// Of ports that it doesn't list.
    strict: bool,
    /// Ports that are otherwise.
    exceptions: BTreeSet<u16>,
    /// Names the policy for that.
    policy: Option<Arc<str>>,
}

impl PeerModes {
    /// The modes, and the policies that enforce them.
    pub(super) fn new(objects: &Objects, settings: &Settings, notes: &mut Notes) -> (Self, Vec<Policy>) {
        let root = &settings.root_namespace;
        let mut modes = Self { strict: format!("{root}/{STATIC_STRICT}").into(), ..Self::default() };
        let mut wide: HashMap<&Arc<str>, &PeerAuthentication, RandomState> = HashMap::default();
        let mut narrow = Vec::new();
        for object in &objects.peer_authentications {
            match selector(object) {
                Some(_) if object.metadata.namespace == *root => {
                    let reference = ObjectRef::of(names::PEER_AUTHENTICATION, &object.metadata);
                    notes.add(reference, Remark::Unsupported { field: "spec.selector".into() });
                }
                Some(selector) => narrow.push((object, selector)),
                None => {
                    if !object.spec.port_level_mtls.is_empty() {
                        let reference = ObjectRef::of(names::PEER_AUTHENTICATION, &object.metadata);
                        notes.add(reference, Remark::Unsupported { field: "spec.portLevelMtls".into() });
                    }
                    let known = wide.entry(&object.metadata.namespace).or_insert(object);
                    if age(&object.metadata) < age(&known.metadata) {
                        *known = object;
                    }
                }
            }
        }
        modes.mesh = wide.remove(root).is_some_and(|object| is_strict(object.spec.mtls.mode, false));
        for (namespace, object) in wide {
            modes.namespaces.insert(namespace.clone(), is_strict(object.spec.mtls.mode, modes.mesh));
        }
        let mut policies = Vec::new();
        for (object, selector) in narrow {
            let mode = modes.mode(object, notes, &mut policies);
            modes.workloads.insert(&object.metadata.namespace, selector, mode);
        }
        policies.push(deny_plaintext(root, STATIC_STRICT, Match::default()));
        (modes, policies)
    }

    /// The policies of a workload, as `namespace/name`.
    pub(super) fn policies<'a>(&'a self, namespace: &str, labels: &'a Labels) -> Option<&'a Arc<str>> {
        match self.of(namespace, labels) {
            Some(mode) if mode.policy.is_some() => mode.policy.as_ref(),
            Some(mode) => mode.strict.then_some(&self.strict),
            None => self.wide(namespace).then_some(&self.strict),
        }
    }

    /// Whether a workload refuses plaintext at a port; without one, at any.
    pub(super) fn refuses_plaintext(&self, namespace: &str, labels: &Labels, port: Option<u16>) -> bool {
        match (self.of(namespace, labels), port) {
            (Some(mode), Some(port)) => mode.strict != mode.exceptions.contains(&port),
            (Some(mode), None) => mode.strict || !mode.exceptions.is_empty(),
            (None, _) => self.wide(namespace),
        }
    }

    fn of<'a>(&'a self, namespace: &str, labels: &'a Labels) -> Option<&'a PeerMode> {
        self.workloads
            .selecting(namespace, labels)
            .min_by(|one, other| one.age.cmp(&other.age))
            .map(|it| &**it)
    }

    fn wide(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).copied().unwrap_or(self.mesh)
    }

    fn mode(
        &self,
        object: &PeerAuthentication,
        notes: &mut Notes,
        policies: &mut Vec<Policy>,
    ) -> Arc<PeerMode> {
        let PeerAuthentication { metadata, spec } = object;
        let strict = is_strict(spec.mtls.mode, self.wide(&metadata.namespace));
        let mut exceptions = BTreeSet::new();
        for (port, mtls) in &spec.port_level_mtls {
            match port.parse::<NonZeroU16>() {
                Ok(port) if is_strict(mtls.mode, strict) != strict => {
                    exceptions.insert(port.get());
                }
                Ok(_) => {}
                Err(_) => {
                    let reference = ObjectRef::of(names::PEER_AUTHENTICATION, metadata);
                    notes.add(reference, invalid("spec.portLevelMtls", port));
                }
            }
        }
        let policy = (!exceptions.is_empty()).then(|| {
            let name = format!("converted_peer_authentication_{}", metadata.name);
            let ports = exceptions.iter().copied().collect();
            let at = match strict {
                true => Match { not_destination_ports: ports, ..Match::default() },
                false => Match { destination_ports: ports, ..Match::default() },
            };
            policies.push(deny_plaintext(&metadata.namespace, &name, at));
            format!("{}/{name}", metadata.namespace).into()
        });
        Arc::new(PeerMode { age: age(metadata), strict, exceptions, policy })
    }
}

/// Denies who has no identity, as far as `at` matches.
fn deny_plaintext(namespace: &str, name: &str, at: Match) -> Policy {
    let unauthenticated = Match { not_principals: vec![Pattern::Presence], ..at };
    Policy {
        name: PolicyName::new(namespace, name),
        scope: Scope::WorkloadSelector,
        action: Action::Deny,
        dry_run: false,
        rules: vec![Rule::of([Clause::of([unauthenticated])])],
    }
}

/// A mode that is not known is no reason to accept more than the strictest does.
const fn is_strict(mode: MtlsMode, otherwise: bool) -> bool {
    match mode {
        MtlsMode::Disable | MtlsMode::Permissive => false,
        MtlsMode::Strict | MtlsMode::Unknown => true,
        MtlsMode::Unset => otherwise,
    }
}

fn selector(object: &PeerAuthentication) -> Option<Selector> {
    let selector = object.spec.selector.as_ref().map(|selector| Selector::from(selector.labels()));
    selector.filter(|selector| !selector.is_empty())
}

fn age(metadata: &Metadata) -> (Time, Arc<str>) {
    (metadata.creation_timestamp, metadata.name.clone())
}

/// Istio's name for it; no object can have one with an underscore.
const STATIC_STRICT: &str = "istio_converted_static_strict";
