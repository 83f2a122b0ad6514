//! Translating a cluster that changes all the time: only what a change is about.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use mesh::{Change, HostNode, ServiceKey, Update, WorkloadUid};

use super::extent::{Changed, Extent, State};
use super::guards::Guards;
use super::host_ports::Claim;
use super::kept::Kept;
use super::note::{Note, Notes, NotesOf};
use super::scene::{Made, Scene};
use super::{LocalPod, Settings, Translation, host_ports, misspelt, network_gateways};
use crate::objects::Objects;
use crate::status::Reported;

/// Translates objects time after time. What it says is to be put on top of what it said before: the first time, and after
/// [`forget`](Self::forget), that is all of the mesh.
#[derive(Debug)]
pub struct Translator {
    settings: Settings,
    last: Option<Last>,
    kept: Kept,
}

/// What was translated last, and what came of it.
#[derive(Debug)]
struct Last {
    objects: Objects,
    reported: Reported,
    outcome: Outcome,
}

#[derive(Debug)]
struct Outcome {
    guards: Guards,
    /// What there is to say of objects that are about many namespaces.
    notes: BTreeSet<Note>,
    namespaces: BTreeMap<Arc<str>, Part>,
}

/// What came of one namespace.
#[derive(Debug, Default)]
struct Part {
    workloads: Vec<WorkloadUid>,
    services: Vec<ServiceKey>,
    local_pods: Vec<LocalPod>,
    /// Of their nodes' ports.
    claims: Vec<Claim>,
    notes: BTreeSet<Note>,
}

impl Translator {
    /// Has said nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, last: None, kept: Kept::default() }
    }

    /// Has the next translation say everything: what was last said did not arrive.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// What is different about the mesh. `reported` says which pods are captured.
    pub fn translate(&mut self, objects: Objects, reported: Reported) -> Translation {
        let state = State { objects: &objects, reported: &reported };
        let (update, outcome) = match self.last.take() {
            None => self.all(state),
            Some(Last { objects, reported, outcome }) => {
                match Extent::between(State { objects: &objects, reported: &reported }, state) {
                    Extent::All => self.all(state),
                    Extent::Some(changed) => self.some(&changed, outcome, state),
                }
            }
        };
        self.kept.sweep();
        let mut ignored = objects.ignored.clone();
        ignored.sort();
        let translation = Translation {
            update,
            local_pods: outcome.parts().flat_map(|part| &part.local_pods).cloned().collect(),
            problems: Vec::new(),
            notes: outcome.notes(),
            ignored,
            skipped: objects.skipped,
        };
        self.last = Some(Last { objects, reported, outcome });
        translation
    }

    fn all(&mut self, state: State<'_>) -> (Update, Outcome) {
        let mut notes = Notes::default();
        let guards = Guards::new(state.objects, &self.settings, &mut notes);
        let scene = Scene::new(state, state.objects, &self.settings, &guards, &mut self.kept);
        misspelt::note(state.objects, &mut notes);
        let namespaces = scene.namespaces.settings(notes.wide());
        let nodes: Vec<_> = scene.nodes.all().collect();
        let gateways = network_gateways::all(state.objects, &self.settings, notes.wide());
        let made = scene.translate(&mut self.kept, &mut notes);
        let mut notes = notes.finish();
        let wide = notes.remove(&None).unwrap_or_default();
        let mut outcome = Outcome { guards, notes: wide, namespaces: BTreeMap::new() };
        outcome.add(&made, notes);
        let update = Update {
            workloads: upserts(made.workloads),
            services: upserts(made.services),
            namespaces: upserts(namespaces),
            nodes: upserts(nodes),
            gateways: upserts(gateways),
            network_policies: upserts(outcome.guards.network.enforced()),
            policies: upserts(outcome.guards.policies.iter().cloned()),
            replace: true,
        };
        (update, outcome)
    }

    fn some(&mut self, changed: &Changed<'_>, mut outcome: Outcome, state: State<'_>) -> (Update, Outcome) {
        let objects = changed.objects(state.objects);
        let part = State { objects: &objects, reported: state.reported };
        let mut notes = Notes::default();
        let scene = Scene::new(part, state.objects, &self.settings, &outcome.guards, &mut self.kept);
        misspelt::note(&objects, &mut notes);
        let made = scene.translate(&mut self.kept, &mut notes);
        // Of what is not of these namespaces nothing changed.
        let mut notes = notes.finish();
        notes.remove(&None);
        let before = changed.namespaces.iter().filter_map(|name| outcome.namespaces.remove(*name));
        let before: Vec<_> = before.collect();
        outcome.add(&made, notes);
        // Removals come first: an address may pass from what goes to what comes.
        let workloads = before.iter().flat_map(|part| &part.workloads);
        let services = before.iter().flat_map(|part| &part.services);
        let update = Update {
            workloads: replaced(workloads, made.workloads, |workload| &workload.uid),
            services: replaced(services, made.services, |service| &service.key),
            nodes: undescribed(&changed.nodes, state.objects),
            ..Update::default()
        };
        (update, outcome)
    }
}

impl Outcome {
    fn add(&mut self, made: &Made, notes: NotesOf) {
        for workload in &made.workloads {
            let part = self.part(&workload.profile.namespace);
            part.workloads.push(workload.uid.clone());
            part.claims.extend(host_ports::claims(workload));
        }
        for service in &made.services {
            self.part(&service.key.namespace).services.push(service.key.clone());
        }
        for pod in &made.local_pods {
            self.part(&pod.namespace).local_pods.push(pod.clone());
        }
        for (namespace, notes) in notes {
            self.part(&namespace.unwrap_or_default()).notes.extend(notes);
        }
    }

    fn part(&mut self, namespace: &Arc<str>) -> &mut Part {
        if !self.namespaces.contains_key(namespace) {
            self.namespaces.insert(namespace.clone(), Part::default());
        }
        self.namespaces.get_mut(namespace).expect("inserted above")
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.namespaces.values()
    }

    fn notes(&self) -> Vec<Note> {
        let of_parts = self.parts().flat_map(|part| &part.notes);
        let mut all: BTreeSet<_> = self.notes.iter().chain(of_parts).cloned().collect();
        host_ports::note(self.parts().flat_map(|part| &part.claims), &mut all);
        all.into_iter().collect()
    }
}

/// Removals of what was there and is no more, then what is there.
fn replaced<'k, K: Clone + Eq + std::hash::Hash + 'k, V>(
    before: impl Iterator<Item = &'k K>,
    now: Vec<V>,
    key: impl Fn(&V) -> &K,
) -> Vec<Change<K, V>> {
    let there: HashSet<&K, RandomState> = now.iter().map(key).collect();
    let gone = before.filter(|known| !there.contains(known)).cloned();
    let mut changes: Vec<_> = gone.map(Change::Remove).collect();
    changes.extend(now.into_iter().map(Change::Upsert));
    changes
}

/// What became of nodes that are known from pods only.
fn undescribed(names: &BTreeSet<&Arc<str>>, objects: &Objects) -> Vec<Change<Arc<str>, HostNode>> {
    let is_described = |name: &Arc<str>| objects.nodes.iter().any(|node| node.metadata.name == *name);
    let named: BTreeSet<_> =
        objects.pods.iter().map(|pod| &pod.spec.node_name).filter(|name| names.contains(name)).collect();
    let names = names.iter().filter(|name| !name.is_empty() && !is_described(name));
    names
        .map(|name| match named.contains(name) {
            true => Change::Upsert(HostNode { name: (*name).clone(), ..HostNode::default() }),
            false => Change::Remove((*name).clone()),
        })
        .collect()
}

fn upserts<K, V>(values: impl IntoIterator<Item = V>) -> Vec<Change<K, V>> {
    values.into_iter().map(Change::Upsert).collect()
}
