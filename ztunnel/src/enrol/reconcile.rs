//! What the mesh wants and what an earlier process left, against what is.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use certs::describe;

use super::enrolled::Enrolled;
use super::error::EnrolError;
use super::registry::Registry;
use super::state::Record;
use super::{DesiredPod, PodUid, StateError};
use crate::netns::{Discovery, Namespaces, PodNetns};
use crate::redirect::{Capture, CapturePhase, PodListeners};

impl Registry {
    /// Takes up the pods that an earlier process captured. Those that are gone meanwhile are forgotten.
    pub(super) fn restore(&mut self) -> Result<(), StateError> {
        let (records, broken) = self.means.state.read()?;
        for error in broken {
            tracing::warn!(error = describe(&error), "record of a captured pod cannot be read");
        }
        let mut found = self.namespaces.look().unwrap_or_default();
        for record in records {
            self.restore_one(record, &mut found);
        }
        Ok(())
    }

    /// Compares with what the mesh wants, and acts on the difference.
    pub(super) fn desire(&mut self, pods: Vec<DesiredPod>) {
        let pods: BTreeMap<PodUid, DesiredPod> =
            pods.into_iter().map(|it| (it.pod.uid.clone(), it)).collect();
        let before = std::mem::replace(&mut self.desired, pods);
        let wanted = |uid: &PodUid| self.desired.get(uid).is_some_and(|it| it.enrolled);
        self.let_go.retain(&wanted);
        self.lost.retain(|uid, at| self.desired.get(uid).is_some_and(|it| it.pod.addresses == *at));
        // One that the mesh has never spoken of was added before any watch could tell, and stays. Of a daemon's only pod,
        // no more than a word about itself has it let go: neither that it is not known any more, nor that another one
        // has its name.
        let is_only = self.is_inside();
        let unwanted: Vec<PodUid> = self
            .enrolled
            .iter()
            .filter(|(uid, pod)| !pod.is_draining() && !wanted(uid))
            .filter(|(uid, _)| self.desired.contains_key(uid) || (!is_only && before.contains_key(uid)))
            .map(|(uid, _)| uid.clone())
            .collect();
        let forgotten: Vec<PodUid> = self.failed.keys().filter(|uid| !wanted(uid)).cloned().collect();
        for uid in unwanted {
            self.drain_or_note(&uid);
        }
        for uid in forgotten {
            if self.failed.get(&uid).is_some_and(|it| it.record.is_none()) {
                self.failed.remove(&uid);
                self.changed = true;
            }
        }
        self.take_up();
        self.clear_or_note();
    }

    /// [`Self::clear_own`], which is tried again when it fails.
    fn clear_or_note(&mut self) {
        let cleared = self.clear_own();
        if let (Err(error), false) = (&cleared, self.uncleared) {
            let error = describe(error);
            tracing::warn!(error, "rules of an earlier proxy are left in the pod, which is shut");
        }
        self.uncleared = cleared.is_err();
    }

    /// Takes away what a killed predecessor left, of which nobody has a record, once the daemon's only pod is not to be
    /// captured any more.
    fn clear_own(&self) -> Result<(), EnrolError> {
        let is_left = self.is_inside() && self.enrolled.is_empty() && !self.desired.is_empty();
        if !is_left || self.desired.values().any(|it| it.enrolled) {
            return Ok(());
        }
        let path = || self.namespaces.path().to_owned();
        let found = self.namespaces.look().map_err(|source| EnrolError::Netns { path: path(), source });
        let netns = found?.take(&[]).ok_or(EnrolError::NetnsUnknown)?;
        if Capture::is_left(&netns) {
            // Whoever else captures the pod holds these ports, and its rules are not ours to take.
            let listeners = PodListeners::open(&netns, false, &self.means.tuning)?;
            Capture::clear(&netns, &listeners)?;
            tracing::info!("rules of an earlier proxy were taken away");
        }
        Ok(())
    }

    /// Whether the daemon is inside of its only pod.
    const fn is_inside(&self) -> bool {
        matches!(self.namespaces, Namespaces::Own)
    }

    /// Captures what the mesh wants and is not captured yet.
    fn take_up(&mut self) {
        if self.leaving {
            return;
        }
        let wanted: Vec<DesiredPod> = self
            .desired
            .values()
            .filter(|it| it.enrolled && !self.let_go.contains(&it.pod.uid))
            .cloned()
            .collect();
        let missing = wanted.iter().any(|it| !self.enrolled.contains_key(&it.pod.uid));
        let mut found =
            if missing { self.namespaces.look().unwrap_or_default() } else { Discovery::default() };
        for DesiredPod { pod, options, .. } in wanted {
            let uid = pod.uid.clone();
            let done = match self.enrolled.get_mut(&uid) {
                Some(enrolled) if enrolled.is_draining() => self.resume(&uid).map(|_| ()),
                Some(enrolled) => {
                    enrolled.update(&self.means, &pod, &options).map(|is_news| self.changed |= is_news)
                }
                None if self.lost.contains_key(&uid) => Err(EnrolError::NetnsGone),
                None => match found.take(&pod.addresses) {
                    Some(netns) => self.ensure(&pod, netns, options),
                    None => Err(EnrolError::NetnsUnknown),
                },
            };
            if let Err(error) = done {
                self.note(pod, &error);
            }
        }
    }

    /// Tries again what failed, and what was too late to resume.
    pub(super) fn retry(&mut self) {
        let records: Vec<Record> = self.failed.values().filter_map(|it| it.record.clone()).collect();
        if !records.is_empty() {
            let mut found = self.namespaces.look().unwrap_or_default();
            for record in records {
                self.restore_one(record, &mut found);
            }
        }
        self.take_up();
        if self.uncleared {
            self.clear_or_note();
        }
    }

    fn restore_one(&mut self, record: Record, found: &mut Discovery) {
        let uid = record.pod.uid.clone();
        let (at_path, unseen) = match record.netns_path.as_deref().map_or(Ok(None), opened) {
            Ok(netns) => (netns, None),
            Err(error) => (None, Some(error)),
        };
        let known = |netns: &PodNetns| record.is_of(netns);
        let netns = at_path.filter(known).or_else(|| found.take_known(known));
        let Some(netns) = netns.map(Arc::new) else {
            if let Some(error) = unseen {
                // Not to be able to look is not to see that it is gone.
                return self.note_record(record, &error);
            }
            tracing::info!(pod = %uid, "pod went while no daemon ran");
            self.failed.remove(&uid);
            self.changed = true;
            if let Err(error) = self.means.state.forget(&uid) {
                tracing::warn!(pod = %uid, error = describe(&error), "record cannot be removed");
            }
            return;
        };
        self.enrolments += 1;
        let restored = match (record.phase, record.digest) {
            // Its connections died with the earlier process: nothing is left to drain.
            (CapturePhase::Draining, Some(digest)) => {
                Capture::adopt(netns, record.marks, record.options.clone(), record.phase, digest)
                    .remove()
                    .map_err(EnrolError::from)
                    .and_then(|()| Ok(self.means.state.forget(&uid)?))
                    .map(|()| None)
            }
            _ => Enrolled::restore(&self.means, self.enrolments, record.clone(), netns).map(Some),
        };
        match restored {
            Ok(Some(enrolled)) => self.admit(uid, enrolled),
            Ok(None) => {
                self.failed.remove(&uid);
            }
            Err(error) => self.note_record(record, &error),
        }
    }

    /// Notes why a pod of an earlier process is not taken up, and keeps what is known of it until it is.
    fn note_record(&mut self, record: Record, error: &EnrolError) {
        self.note(record.pod.clone(), error);
        if let Some(failure) = self.failed.get_mut(&record.pod.uid) {
            failure.record = Some(record);
        }
    }
}

/// The namespace at a path; nothing where nothing is, or something else.
fn opened(path: &Path) -> Result<Option<PodNetns>, EnrolError> {
    match PodNetns::open(path) {
        Ok(netns) => Ok(Some(netns)),
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => Ok(None),
        Err(source) => Err(EnrolError::Netns { path: path.to_owned(), source }),
    }
}
