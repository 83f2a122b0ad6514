//! Connections that a pod wants kept from capture, as far as it may.

use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use super::namespaces::invalid;
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
        let allowed =
            scene.namespaces.of(&metadata.namespace).and_then(|it| it.setting(names::ALLOW_EXCLUSIONS));
        let reference = ObjectRef::of(names::POD, metadata);
        if allowed != Some("true") {
            let why = ExclusionRefusal::NamespaceForbids(metadata.namespace.clone());
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

/// Why connections to a port, or to all ports, may not be kept from capture.
fn refusal(scene: &Scene<'_>, metadata: &Metadata, port: Option<u16>) -> Option<ExclusionRefusal> {
    let Metadata { namespace, labels, .. } = metadata;
    let namespace: &Arc<str> = namespace;
    if scene.guards.refuses_plaintext(namespace, labels, port) {
        return Some(port.map_or(ExclusionRefusal::SourcesStrict, ExclusionRefusal::PortStrict));
    }
    if scene.guards.may_not_allow(namespace, labels, port) {
        return Some(port.map_or(ExclusionRefusal::SourcesAllow, ExclusionRefusal::PortAllow));
    }
    let denied = scene.guards.may_deny(namespace, labels, port);
    denied.then(|| port.map_or(ExclusionRefusal::SourcesDenied, ExclusionRefusal::PortDenied))
}

const INBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
const INBOUND_RANGES: &str = "traffic.sidecar.istio.io/excludeInboundIPRanges";
const OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
const OUTBOUND_RANGES: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
