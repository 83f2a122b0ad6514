//! What is translated, and all that doing so looks up.

use mesh::{Service, Workload};

use super::extent::State;
use super::guards::Guards;
use super::kept::Kept;
use super::local::{self, LocalPod};
use super::namespaces::{Namespaces, Nodes};
use super::network_gateways::{Networks, OwnGateways};
use super::note::Notes;
use super::vips::Vips;
use super::waypoints::Waypoints;
use super::workloads::Workloads;
use super::{Settings, service_entries, services};
use crate::objects::Objects;
use crate::status::Reported;

/// What the translation of one object looks up.
pub(super) struct Scene<'a> {
    pub(super) settings: &'a Settings,
    /// Those that are translated.
    pub(super) objects: &'a Objects,
    pub(super) reported: &'a Reported,
    pub(super) namespaces: Namespaces<'a>,
    pub(super) nodes: Nodes,
    pub(super) waypoints: Waypoints<'a>,
    pub(super) own_gateways: OwnGateways<'a>,
    pub(super) networks: Networks<'a>,
    pub(super) vips: Vips<'a>,
    pub(super) guards: &'a Guards,
}

/// What became of a scene's objects.
pub(super) struct Made {
    pub(super) workloads: Vec<Workload>,
    pub(super) services: Vec<Service>,
    /// In order of namespace and name.
    pub(super) local_pods: Vec<LocalPod>,
}

impl<'a> Scene<'a> {
    /// The objects of `state`, in a cluster that has `all`.
    pub(super) fn new(
        state: State<'a>,
        all: &'a Objects,
        settings: &'a Settings,
        guards: &'a Guards,
        kept: &mut Kept,
    ) -> Self {
        let State { objects, reported } = state;
        Self {
            settings,
            objects,
            reported,
            namespaces: Namespaces::new(objects),
            nodes: Nodes::new(objects, kept),
            waypoints: Waypoints::new(all, settings),
            own_gateways: OwnGateways::new(all, settings),
            networks: Networks::new(all, settings),
            vips: Vips::new(all),
            guards,
        }
    }

    pub(super) fn translate(&self, kept: &mut Kept, notes: &mut Notes) -> Made {
        let mut workloads = Workloads::new(self, kept, notes);
        let mut services = services::all(self, &mut workloads, notes);
        service_entries::add(self, &mut workloads, &mut services, notes);
        Made {
            workloads: workloads.finish(),
            services: services.into_values().collect(),
            local_pods: local::pods(self, notes),
        }
    }
}
