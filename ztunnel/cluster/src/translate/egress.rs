//! Where a namespace's pods may connect to outside of the mesh, and whether they speak UDP.

use mesh::{EgressEntry, EgressList, EgressMode};

use super::namespaces::invalid;
use super::note::{Notes, Remark};
use super::{misspelt, names};
use crate::objects::{Metadata, ObjectRef};

/// What a namespace's pods may do by UDP (`ambient.mesh/udp`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub enum UdpMode {
    /// It passes, outside of any tunnel, and is counted.
    #[default]
    Allow,
    /// Nothing passes but DNS that is captured.
    Deny,
}

/// The mode for destinations that the mesh does not know; or what is written and means none, and under which name.
fn mode(namespace: &Metadata) -> Result<EgressMode, (&str, &str)> {
    match namespace.setting(names::EGRESS) {
        Some("" | "allow") => Ok(EgressMode::Allow),
        Some("deny") => Ok(EgressMode::Deny),
        Some("log") => Ok(EgressMode::Log),
        Some(other) => Err((names::EGRESS, other)),
        None => misspelt::limit(namespace, names::EGRESS).map_or(Ok(EgressMode::Allow), Err),
    }
}

/// The setting by which a namespace bounds what its pods reach, if one does.
pub(super) fn limit(namespace: &Metadata) -> Option<&'static str> {
    match udp(namespace, &mut Notes::default()) {
        UdpMode::Deny => Some(names::UDP),
        UdpMode::Allow => is_denied(namespace).then_some(names::EGRESS),
    }
}

/// Whether unknown destinations are denied.
pub(super) fn is_denied(namespace: &Metadata) -> bool {
    settings(namespace, &mut Notes::default()).0 == EgressMode::Deny
}

/// Mode and list of a namespace, with what there is to say of them.
pub(super) fn settings(namespace: &Metadata, notes: &mut Notes) -> (EgressMode, EgressList) {
    let reference = || ObjectRef::of(names::NAMESPACE, namespace);
    let mode = mode(namespace).unwrap_or_else(|(field, value)| {
        notes.add(reference(), denied(field, value));
        EgressMode::Deny
    });
    let text = namespace.annotation(names::EGRESS_ALLOW).unwrap_or_default();
    let mut entries = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse::<EgressEntry>() {
            Ok(entry) => entries.push(entry),
            Err(_) => notes.add(reference(), invalid(names::EGRESS_ALLOW, part)),
        }
    }
    if mode == EgressMode::Allow && !text.is_empty() {
        notes.add(reference(), Remark::Unsupported { field: names::EGRESS_ALLOW.into() });
    }
    if udp(namespace, notes) == UdpMode::Allow && mode == EgressMode::Deny {
        notes.add(reference(), Remark::UdpUnbounded);
    }
    (mode, EgressList(entries))
}

/// What the pods of a namespace may do by UDP.
pub(super) fn udp(namespace: &Metadata, notes: &mut Notes) -> UdpMode {
    let (field, value) = match namespace.setting(names::UDP) {
        Some("" | "allow") => return UdpMode::Allow,
        Some("deny") => return UdpMode::Deny,
        Some(other) => (names::UDP, other),
        None => match misspelt::limit(namespace, names::UDP) {
            Some(limit) => limit,
            None => return UdpMode::Allow,
        },
    };
    notes.add(ObjectRef::of(names::NAMESPACE, namespace), denied(field, value));
    UdpMode::Deny
}

/// Who writes something wants less than everything, and must not get everything for a slip of the pen.
fn denied(field: &str, value: &str) -> Remark {
    Remark::ReadStrictly { field: field.into(), value: value.into(), instead: "deny" }
}
