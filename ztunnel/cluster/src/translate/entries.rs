//! WorkloadEntries, and endpoints that a ServiceEntry lists -> workloads.

use std::sync::Arc;

use mesh::{
    Capture, HostNode, Locality, Network, NetworkMembership, Profile, TunnelProtocol, WaypointRef, Workload,
    WorkloadUid,
};
use smallvec::SmallVec;

use super::namespaces::invalid;
use super::note::Notes;
use super::owners::Names;
use super::waypoints::Traffic;
use super::workloads::Profiles;
use super::{Scene, enrolment, names};
use crate::objects::{Labels, Metadata, ObjectRef, WorkloadEntry, WorkloadEntrySpec};

/// What there is to know of a workload that is no pod.
pub(super) struct Entry<'a> {
    /// Its uid, but for the cluster.
    pub(super) uid: String,
    pub(super) namespace: &'a Arc<str>,
    pub(super) name: &'a Arc<str>,
    pub(super) labels: &'a Labels,
    pub(super) spec: &'a WorkloadEntrySpec,
    pub(super) native: bool,
    pub(super) waypoint: Option<WaypointRef>,
    pub(super) terminating: bool,
}

/// The workload that a WorkloadEntry is, and its labels: those of the object and those of its `spec`. None without an
/// address, unless it is on another network.
pub(super) fn of_object(
    scene: &Scene<'_>,
    object: &WorkloadEntry,
    profiles: &mut Profiles<'_>,
    notes: &mut Notes,
) -> Option<(Workload, Labels)> {
    let WorkloadEntry { metadata, spec } = object;
    let labels = metadata.labels.with(&spec.labels);
    let all = Metadata { labels: labels.clone(), ..metadata.clone() };
    let entry = Entry {
        uid: format!("networking.istio.io/WorkloadEntry/{}/{}", metadata.namespace, metadata.name),
        namespace: &metadata.namespace,
        name: &metadata.name,
        labels: &labels,
        spec,
        native: enrolment::speaks_natively(&all),
        waypoint: scene.waypoint(&all, Traffic::Workload, notes),
        terminating: metadata.is_deleting(),
    };
    let reference = || ObjectRef::of(names::WORKLOAD_ENTRY, metadata);
    let Some(workload) = entry.workload(scene, profiles) else {
        notes.add(reference(), invalid("spec.address", &spec.address));
        return None;
    };
    if let Some(remark) = scene.networks.remark(workload.profile.network.as_str()) {
        notes.add(reference(), remark);
    }
    Some((workload, labels))
}

impl Entry<'_> {
    /// The workload; none without an address, unless it is on another network.
    pub(super) fn workload(self, scene: &Scene<'_>, profiles: &mut Profiles<'_>) -> Option<Workload> {
        let ip = self.spec.ip();
        let hostname = if ip.is_none() { hostname(&self.spec.address) } else { None };
        let network = self.network().map_or_else(|| scene.settings.network.clone(), Network::new);
        // On another network, its gateway knows where.
        let is_elsewhere = network != scene.settings.network && self.spec.address.is_empty();
        if ip.is_none() && hostname.is_none() && !is_elsewhere {
            return None;
        }
        let Names { kind, workload, canonical, revision, app, version } =
            Names::of_entry(self.name.clone(), self.labels);
        let settings = scene.settings;
        let (protocol, capture) = match self.native {
            true => (TunnelProtocol::Hbone, Capture::Enabled),
            false => (TunnelProtocol::Tcp, Capture::Off),
        };
        let profile = Profile {
            namespace: self.namespace.clone(),
            service_account: match &self.spec.service_account {
                name if name.is_empty() => "default".into(),
                name => name.clone(),
            },
            trust_domain: settings.trust_domain.clone(),
            network,
            cluster: settings.cluster_id.clone(),
            kind,
            workload_name: if workload == *self.name { Arc::default() } else { workload },
            canonical_name: canonical,
            canonical_revision: revision,
            app,
            version,
            protocol,
            host_network: false,
            native_ports: [].into(),
            waypoint: self.waypoint.clone(),
            policies: scene.guards.of(self.namespace, self.labels),
            network_policy_selected: false,
            network_gateway: scene.own_gateways.has(self.namespace, self.labels),
            // NetworkPolicies are about pods.
            network_membership: NetworkMembership::default(),
        };
        Some(Workload {
            uid: WorkloadUid(format!("{}/{}", settings.cluster_id.0, self.uid).into()),
            pod_uid: None,
            name: self.name.clone(),
            addresses: ip.into_iter().collect::<SmallVec<_>>(),
            hostname,
            node: profiles
                .kept
                .node(HostNode { locality: locality(&self.spec.locality), ..HostNode::default() }),
            profile: profiles.kept.profile(profile),
            capture,
            healthy: !self.terminating,
            terminating: self.terminating,
            // Istio cannot tell a weight of 0 from none.
            weight: self.spec.weight.filter(|weight| *weight > 0).unwrap_or(1),
            services: Arc::from([]),
        })
    }

    fn network(&self) -> Option<&str> {
        let own = (!self.spec.network.is_empty()).then_some(&*self.spec.network);
        own.or_else(|| self.labels.get(names::NETWORK).map(|network| &**network))
    }
}

/// A DNS name in the form in which the mesh has them; none for what is no name. May start with `*.` .
pub(super) fn hostname(text: &str) -> Option<Arc<str>> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let labels = name.strip_prefix("*.").unwrap_or(&name);
    let allowed = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(allowed);
    (name.len() <= 253 && labels.split('.').all(is_label)).then(|| name.into())
}

/// `region/zone/subzone`, of which the last may be missing.
fn locality(text: &str) -> Locality {
    let mut parts = text.split('/').map(Arc::from);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), subzone: next() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_lower_case_without_a_last_dot() {
        for (text, want) in [
            ("Example.COM.", Some("example.com")),
            ("*.example.com", Some("*.example.com")),
            ("_sip.example.com", Some("_sip.example.com")),
            ("", None),
            ("*", None),
            ("a.*.com", None),
            ("a..b", None),
            ("unix:///x", None),
            ("exämple.com", None),
        ] {
            assert_eq!(hostname(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_locality_may_be_cut_short() {
        let zone = locality("eu/eu-1");
        assert_eq!((&*zone.region, &*zone.zone, &*zone.subzone), ("eu", "eu-1", ""));
        assert_eq!(locality(""), Locality::default());
    }
}
