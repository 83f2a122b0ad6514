//! All workloads, and how services find them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use mesh::{Network, Profile, ServiceKey, TunnelProtocol, Workload, WorkloadKind};

use super::kept::Kept;
use super::note::Notes;
use super::{Scene, entries, pods};
use crate::objects::{Labels, Pod, WorkloadEntrySpec};

/// All workloads while services are made of them.
pub(super) struct Workloads<'a> {
    all: Vec<Placed<'a>>,
    pods: HashMap<(&'a str, &'a str), usize, RandomState>,
    addresses: HashMap<IpAddr, usize, RandomState>,
    profiles: Profiles<'a>,
    /// The network that the mesh is looked at from.
    network: &'a Network,
    /// Whether there is any on another one.
    has_remote: bool,
}

/// A workload, and what it was made of.
pub(super) struct Placed<'a> {
    pub(super) workload: Workload,
    pub(super) labels: Labels,
    pub(super) origin: Origin<'a>,
    /// On another network: reached by that network's gateway only, whatever its address.
    pub(super) remote: bool,
    /// Services that it is an endpoint of.
    services: Vec<ServiceKey>,
}

/// What a workload was made of.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    Entry(&'a WorkloadEntrySpec),
    /// Listed by a ServiceEntry: no selector finds it.
    Listed,
    Pod(&'a Pod),
}

/// Profiles, each once.
pub(super) struct Profiles<'a> {
    pub(super) kept: &'a mut Kept,
    /// Those of pods that are alike in all that makes a profile.
    alike: HashMap<Kin<'a>, Arc<Profile>, RandomState>,
}

/// What pods of one profile have in common. Labels, templates and owners are compared by where they are: the reader keeps equal
/// ones once; where it does not, the profile is made again, and found to be the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kin<'a> {
    pub(super) namespace: &'a str,
    pub(super) labels: usize,
    /// Service account and ports are in it, which NetworkPolicies call by name.
    pub(super) template: usize,
    pub(super) owners: usize,
    pub(super) protocol: TunnelProtocol,
}

impl<'a> Workloads<'a> {
    pub(super) fn new(scene: &Scene<'a>, kept: &'a mut Kept, notes: &mut Notes) -> Self {
        let mut workloads = Self {
            all: Vec::with_capacity(scene.objects.pods.len()),
            pods: HashMap::default(),
            addresses: HashMap::default(),
            profiles: Profiles { kept, alike: HashMap::default() },
            network: &scene.settings.network,
            has_remote: false,
        };
        for pod in &scene.objects.pods {
            let metadata = &pod.metadata;
            let notes = notes.of(&metadata.namespace);
            let Some(workload) = pods::workload(scene, pod, &mut workloads.profiles, notes) else { continue };
            let at = workloads.all.len();
            workloads.pods.insert((&metadata.namespace, &metadata.name), at);
            if !workload.profile.host_network && !workload.terminating {
                workloads.addresses.extend(workload.addresses.iter().map(|ip| (*ip, at)));
            }
            workloads.add(workload, metadata.labels.clone(), Origin::Pod(pod));
        }
        for object in &scene.objects.workload_entries {
            let notes = notes.of(&object.metadata.namespace);
            let made = entries::of_object(scene, object, &mut workloads.profiles, notes);
            let Some((workload, labels)) = made else { continue };
            workloads.add(workload, labels, Origin::Entry(&object.spec));
        }
        workloads
    }

    /// Adds a workload; its place.
    pub(super) fn add(&mut self, workload: Workload, labels: Labels, origin: Origin<'a>) -> usize {
        let is_entry = workload.profile.kind == WorkloadKind::Entry;
        let remote = is_entry && workload.profile.network != *self.network;
        self.has_remote |= remote;
        self.all.push(Placed { workload, labels, origin, remote, services: Vec::new() });
        self.all.len() - 1
    }

    /// Whether there is any on another network.
    pub(super) const fn has_remote(&self) -> bool {
        self.has_remote
    }

    pub(super) fn at(&self, place: usize) -> &Placed<'a> {
        &self.all[place]
    }

    /// Those that selectors may find, with their places.
    pub(super) fn selectable(&self) -> impl Iterator<Item = (usize, &Placed<'a>)> {
        self.all.iter().enumerate().filter(|(_, placed)| !matches!(placed.origin, Origin::Listed))
    }

    /// The place of a pod that has the address.
    pub(super) fn pod(&self, namespace: &str, name: &str, ip: IpAddr) -> Option<usize> {
        let place = *self.pods.get(&(namespace, name))?;
        self.all[place].workload.addresses.contains(&ip).then_some(place)
    }

    /// The place of the pod at an address.
    pub(super) fn pod_at(&self, ip: IpAddr) -> Option<usize> {
        self.addresses.get(&ip).copied()
    }

    /// Says that the workload at a place is an endpoint of a service.
    pub(super) fn serves(&mut self, place: usize, service: &ServiceKey) {
        let services = &mut self.all[place].services;
        if services.last() != Some(service) {
            services.push(service.clone());
        }
    }

    pub(super) const fn profiles(&mut self) -> &mut Profiles<'a> {
        &mut self.profiles
    }

    /// The workloads, with the services that they are endpoints of.
    pub(super) fn finish(self) -> Vec<Workload> {
        let kept = self.profiles.kept;
        let finished = self.all.into_iter().map(|mut placed| {
            placed.services.sort();
            placed.services.dedup();
            placed.workload.services = kept.services(&placed.services);
            placed.workload
        });
        finished.collect()
    }
}

impl<'a> Profiles<'a> {
    /// The profile of a pod, made once for all of its kin.
    pub(super) fn of_kin(&mut self, kin: Kin<'a>, make: impl FnOnce() -> Profile) -> Arc<Profile> {
        if let Some(known) = self.alike.get(&kin) {
            return known.clone();
        }
        let profile = self.kept.profile(make());
        self.alike.insert(kin, profile.clone());
        profile
    }
}
