//! Connections that a pod wants kept from capture, as far as it may.

use std::str::FromStr;
use std::sync::Arc;

use authz::PolicyName;
use ipnet::IpNet;

use super::namespaces::{invalid, truth};
use super::note::{ExclusionRefusal, Notes, Remark};
use super::{Scene, egress, names};
use crate::objects::{Metadata, ObjectRef, Pod};

/// Connections that stay untouched.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exclusions {
    /// Ports of the pod.
    pub inbound_ports: Vec<u16>,
    /// Sources of inbound connections.
    pub inbound_ranges: Vec<IpNet>,
    /// Ports of destinations.
    pub outbound_ports: Vec<u16>,
    /// Addresses of destinations.
    pub outbound_ranges: Vec<IpNet>,
}

impl Exclusions {
    /// Those of a pod: only where its namespace's operator allows any, and never so that they open what STRICT mutual
    /// TLS, a DENY policy, any ALLOW policy or the namespace's egress mode keeps shut.
    pub(super) fn of(scene: &Scene<'_>, pod: &Pod, notes: &mut Notes) -> Self {
        let metadata = &pod.metadata;
        let asked = [INBOUND_PORTS, INBOUND_RANGES, OUTBOUND_PORTS, OUTBOUND_RANGES];
        if asked.iter().all(|annotation| metadata.annotation(annotation).is_none()) {
            return Self::default();
        }
        let reference = ObjectRef::of(names::POD, metadata);
        if let Some(why) = forbidden(scene, metadata) {
            for annotation in asked.into_iter().filter(|it| metadata.annotation(it).is_some()) {
                notes.add(reference.clone(), Remark::ExclusionRefused { annotation, why: why.clone() });
            }
            return Self::default();
        }
        let mut wish = Wish { metadata, notes, reference };
        let mut exclusions = Self {
            inbound_ports: wish.list(INBOUND_PORTS),
            inbound_ranges: wish.list(INBOUND_RANGES),
            outbound_ports: wish.list(OUTBOUND_PORTS),
            outbound_ranges: wish.list(OUTBOUND_RANGES),
        };
        exclusions.inbound_ports.retain(|port| match refusal(scene, metadata, Some(*port)) {
            Some(why) => wish.refuse(INBOUND_PORTS, why),
            None => true,
        });
        if !exclusions.inbound_ranges.is_empty()
            && let Some(why) = refusal(scene, metadata, None)
        {
            wish.refuse(INBOUND_RANGES, why);
            exclusions.inbound_ranges.clear();
        }
        if scene.namespaces.of(&metadata.namespace).is_some_and(egress::is_denied) {
            let why = || ExclusionRefusal::EgressDenied(metadata.namespace.clone());
            exclusions.outbound_ports.retain(|_| wish.refuse(OUTBOUND_PORTS, why()));
            exclusions.outbound_ranges.retain(|_| wish.refuse(OUTBOUND_RANGES, why()));
        }
        exclusions
    }
}

/// Whether a pod's inbound plaintext stays untouched: that excludes all ports, and for all it takes what it takes for one.
pub(super) fn bypasses_inbound(scene: &Scene<'_>, pod: &Pod, notes: &mut Notes) -> bool {
    let metadata = &pod.metadata;
    if truth(metadata, names::POD, names::BYPASS_INBOUND, notes) != Some(true) {
        return false;
    }
    let why = forbidden(scene, metadata).or_else(|| refusal(scene, metadata, None));
    let Some(why) = why else { return true };
    let remark = Remark::ExclusionRefused { annotation: names::BYPASS_INBOUND, why };
    notes.add(ObjectRef::of(names::POD, metadata), remark);
    false
}

struct Wish<'a> {
    metadata: &'a Metadata,
    notes: &'a mut Notes,
    reference: ObjectRef,
}

impl Wish<'_> {
    /// The parts of a comma list.
    fn list<T: FromStr>(&mut self, annotation: &str) -> Vec<T> {
        let text = self.metadata.annotation(annotation).unwrap_or_default();
        let mut parsed = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.parse() {
                Ok(value) => parsed.push(value),
                Err(_) => self.notes.add(self.reference.clone(), invalid(annotation, part)),
            }
        }
        parsed
    }

    /// Always false: what is refused is not kept.
    fn refuse(&mut self, annotation: &'static str, why: ExclusionRefusal) -> bool {
        self.notes.add(self.reference.clone(), Remark::ExclusionRefused { annotation, why });
        false
    }
}

/// Why a pod's namespace gives no leave for any exclusion.
fn forbidden(scene: &Scene<'_>, metadata: &Metadata) -> Option<ExclusionRefusal> {
    let namespace = &metadata.namespace;
    let said = scene.namespaces.of(namespace).and_then(|it| it.setting(names::ALLOW_EXCLUSIONS));
    (said != Some("true")).then(|| ExclusionRefusal::NamespaceForbids(namespace.clone()))
}

/// Why connections to a port, or to all ports, may not be kept from capture.
fn refusal(scene: &Scene<'_>, metadata: &Metadata, port: Option<u16>) -> Option<ExclusionRefusal> {
    let Metadata { namespace, labels, .. } = metadata;
    let namespace: &Arc<str> = namespace;
    if scene.guards.refuses_plaintext(namespace, labels, port) {
        return Some(port.map_or(ExclusionRefusal::AllStrict, ExclusionRefusal::PortStrict));
    }
    let named = |policy: &PolicyName| Arc::from(policy.to_string());
    if let Some(policy) = scene.guards.may_not_allow(namespace, labels, port) {
        let all = || ExclusionRefusal::AllAllow(named(policy));
        return Some(port.map_or_else(all, ExclusionRefusal::PortAllow));
    }
    let policy = scene.guards.may_deny(namespace, labels, port)?;
    let all = || ExclusionRefusal::AllDenied(named(policy));
    Some(port.map_or_else(all, ExclusionRefusal::PortDenied))
}

const INBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
const INBOUND_RANGES: &str = "traffic.sidecar.istio.io/excludeInboundIPRanges";
const OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
const OUTBOUND_RANGES: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
