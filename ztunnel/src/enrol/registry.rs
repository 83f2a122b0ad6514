//! All pods of the node: which should be captured, which are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::describe;

use super::enrolled::{Enrolled, Means};
use super::error::EnrolError;
use super::lease::{Command, Left};
use super::state::Record;
use super::{AddPod, CaptureEvents, DesiredPod, Pod, PodPhase, PodStatus, PodUid};
use crate::netns::{Namespaces, PodNetns};
use crate::redirect::CaptureOptions;

/// Every pod that is or should be captured.
pub(super) struct Registry {
    pub(super) events: Box<dyn CaptureEvents>,
    pub(super) means: Means,
    /// Where namespaces are that nobody handed over.
    pub(super) namespaces: Namespaces,
    pub(super) enrolled: BTreeMap<PodUid, Enrolled>,
    /// Should be captured and could not be.
    pub(super) failed: BTreeMap<PodUid, Failure>,
    /// What the mesh says, and has said.
    pub(super) desired: BTreeMap<PodUid, DesiredPod>,
    /// Released on request although the mesh still wants them: they are not taken up again by themselves.
    pub(super) let_go: BTreeSet<PodUid>,
    /// Namespaces of theirs are gone although the mesh still has them, at these addresses. Whatever has an address of
    /// theirs next is some other pod's: addresses are given out again before the mesh has heard of it.
    pub(super) lost: BTreeMap<PodUid, Vec<IpAddr>>,
    pub(super) enrolments: u64,
    retry_at: Instant,
    count_at: Instant,
    pub(super) changed: bool,
    /// The daemon ends and leaves no pod captured: none is taken up any more.
    pub(super) leaving: bool,
    /// What an earlier process left in the daemon's only pod could not be taken away.
    pub(super) uncleared: bool,
}

/// A pod that could not be captured.
pub(super) struct Failure {
    pod: Pod,
    reason: String,
    /// What an earlier process left, if it did.
    pub(super) record: Option<Record>,
}

impl Registry {
    pub(super) fn new(means: Means, namespaces: Namespaces, events: Box<dyn CaptureEvents>) -> Self {
        Self {
            events,
            means,
            namespaces,
            enrolled: BTreeMap::new(),
            failed: BTreeMap::new(),
            desired: BTreeMap::new(),
            let_go: BTreeSet::new(),
            lost: BTreeMap::new(),
            enrolments: 0,
            retry_at: Instant::now() + RETRY_PERIOD,
            count_at: Instant::now() + COUNT_PERIOD,
            changed: true,
            leaving: false,
            uncleared: false,
        }
    }

    /// Captures a pod that somebody asked for; `fd` is its namespace, else the path counts.
    pub(super) fn add(&mut self, add: AddPod, fd: Option<OwnedFd>) -> Result<(), EnrolError> {
        let AddPod { pod, netns: path, options } = add;
        let netns = match (fd, path) {
            (Some(fd), path) => self.handed_over(fd, path)?,
            (None, Some(path)) => {
                PodNetns::open(&path).map_err(|source| EnrolError::Netns { path, source })?
            }
            (None, None) => self.find_netns(&pod)?,
        };
        self.let_go.remove(&pod.uid);
        self.lost.remove(&pod.uid);
        let wanted = self.desired.get(&pod.uid).map(|it| it.options.clone());
        self.ensure(&pod, netns, wanted.or(options).unwrap_or_default())
    }

    /// Releases a pod: at once, or when its connections have ended. True when nothing is left.
    pub(super) fn remove(&mut self, uid: &PodUid, now: bool) -> Result<bool, EnrolError> {
        if self.desired.contains_key(uid) {
            self.let_go.insert(uid.clone());
        }
        let failed = self.failed.remove(uid).is_some();
        match self.enrolled.get_mut(uid) {
            None if failed => Ok(true),
            None => Err(EnrolError::Unknown(uid.clone())),
            Some(_) if now => self.finish(uid).map(|()| true),
            Some(_) => self.start_drain(uid).map(|()| false),
        }
    }

    /// How every pod fares.
    pub(super) fn status(&self) -> Vec<PodStatus> {
        let failed = self.failed.values().map(|it| PodStatus {
            pod: it.pod.clone(),
            phase: PodPhase::Failed,
            problem: Some(it.reason.clone()),
            repairs: 0,
        });
        self.enrolled.values().map(Enrolled::status).chain(failed).collect()
    }

    /// Carries out a command of the rest of the daemon.
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Desire(pods) => self.desire(pods),
            Command::Drained { uid, enrolment } => {
                if self.enrolled.get(&uid).is_some_and(|it| it.enrolment() == enrolment && it.is_draining()) {
                    self.finish_or_note(&uid);
                }
            }
            Command::Finish(done) => {
                let draining = self.enrolled.iter().filter(|(_, pod)| pod.is_draining());
                let uids: Vec<PodUid> = draining.map(|(uid, _)| uid.clone()).collect();
                uids.iter().for_each(|uid| self.finish_or_note(uid));
                // Before the answer: whoever asked ends the process.
                self.report();
                let left = match (self.enrolled.is_empty(), self.enrolled.values().any(Enrolled::is_draining))
                {
                    (true, _) => Left::Nothing,
                    (false, false) => Left::Captured,
                    (false, true) => Left::Remains,
                };
                // Whoever asked may have given up.
                let _nobody_waits = done.send(left);
            }
            Command::Leave => self.leave(),
            Command::Stop => {}
        }
    }

    /// Has all pods drain for good.
    fn leave(&mut self) {
        self.leaving = true;
        let uids: Vec<PodUid> = self.enrolled.keys().cloned().collect();
        uids.iter().for_each(|uid| self.drain_or_note(uid));
    }

    /// What is to be done from time to time: namespaces that vanished, pods that drained, rules that somebody changed,
    /// pods that could not be captured.
    pub(super) fn tick(&mut self, now: Instant) {
        let uids: Vec<PodUid> = self.enrolled.keys().cloned().collect();
        for uid in uids {
            let Some(pod) = self.enrolled.get_mut(&uid) else { continue };
            let is_alive = pod.is_alive();
            if !is_alive || pod.is_drained(now) {
                if let Some(desired) = self.desired.get(&uid).filter(|_| !is_alive) {
                    self.lost.insert(uid.clone(), desired.pod.addresses.clone());
                }
                self.finish_or_note(&uid);
            } else {
                self.changed |= pod.check(&self.means, now);
            }
        }
        if now >= self.count_at {
            self.count_at = now + COUNT_PERIOD;
            let Self { enrolled, events, .. } = self;
            for pod in enrolled.values_mut() {
                if let Some(seen) = pod.take_udp() {
                    events.udp(&pod.pod, seen);
                }
            }
        }
        if now >= self.retry_at {
            self.retry_at = now + RETRY_PERIOD;
            self.retry();
        }
    }

    /// Tells how pods fare if that has changed since it was last told.
    pub(super) fn report(&mut self) {
        if std::mem::take(&mut self.changed) {
            let status = self.status();
            self.events.report(&status);
        }
    }

    /// The pods by which rules are watched.
    pub(super) fn enrolled(&self) -> impl Iterator<Item = (&PodUid, &Enrolled)> {
        self.enrolled.iter()
    }

    /// Something was announced in that pod's namespace.
    pub(super) fn announced(&mut self, uid: &PodUid, now: Instant) {
        if let Some(pod) = self.enrolled.get_mut(uid) {
            pod.check_soon(now);
        }
    }

    /// Makes sure that the pod is captured in that namespace.
    pub(super) fn ensure(
        &mut self,
        pod: &Pod,
        netns: PodNetns,
        options: CaptureOptions,
    ) -> Result<(), EnrolError> {
        let uid = pod.uid.clone();
        let mut holders = self.enrolled.iter().filter(|(_, it)| it.inode() == netns.inode());
        match holders.next().map(|(holder, _)| holder.clone()) {
            Some(holder) if holder != uid => return Err(EnrolError::NetnsTaken(holder)),
            Some(_) if self.resume(&uid)? => {
                if let Some(enrolled) = self.enrolled.get_mut(&uid) {
                    self.changed |= enrolled.update(&self.means, pod, &options)?;
                    enrolled.check_now(&self.means)?;
                }
                return Ok(());
            }
            _ => {}
        }
        if self.enrolled.contains_key(&uid) {
            // Drained this moment, or its sandbox was made anew.
            self.finish(&uid)?;
        }
        self.enrolments += 1;
        let enrolled = Enrolled::enrol(&self.means, self.enrolments, pod, Arc::new(netns), options)?;
        self.admit(uid, enrolled);
        Ok(())
    }

    pub(super) fn admit(&mut self, uid: PodUid, enrolled: Enrolled) {
        tracing::info!(pod = %uid, "pod is captured");
        self.changed = true;
        self.failed.remove(&uid);
        self.events.captured(enrolled.handed_over());
        self.enrolled.insert(uid, enrolled);
    }

    /// Redirects again if the pod drains. False when it is too late for that.
    pub(super) fn resume(&mut self, uid: &PodUid) -> Result<bool, EnrolError> {
        let Some(pod) = self.enrolled.get_mut(uid) else { return Ok(false) };
        if !pod.is_draining() {
            return Ok(true);
        }
        self.changed = true;
        pod.resume(&self.means)
    }

    pub(super) fn start_drain(&mut self, uid: &PodUid) -> Result<(), EnrolError> {
        let Some(pod) = self.enrolled.get_mut(uid) else { return Ok(()) };
        if pod.is_draining() {
            return Ok(());
        }
        let drained = pod.drain(&self.means);
        // Also where that could not be written down: it is so nevertheless.
        if pod.is_draining() {
            tracing::info!(pod = %uid, "pod drains");
            self.changed = true;
            self.events.draining(uid);
        }
        drained
    }

    /// Takes the pod's rules away and has its sockets closed.
    fn finish(&mut self, uid: &PodUid) -> Result<(), EnrolError> {
        let Some(pod) = self.enrolled.get_mut(uid) else { return Ok(()) };
        if let Some(seen) = pod.take_udp() {
            self.events.udp(&pod.pod, seen);
        }
        pod.remove(&self.means)?;
        self.enrolled.remove(uid);
        tracing::info!(pod = %uid, "pod is released");
        self.changed = true;
        self.events.gone(uid);
        Ok(())
    }

    fn finish_or_note(&mut self, uid: &PodUid) {
        if let Err(error) = self.finish(uid) {
            self.note_enrolled(uid, &error);
        }
    }

    pub(super) fn drain_or_note(&mut self, uid: &PodUid) {
        if let Err(error) = self.start_drain(uid) {
            self.note_enrolled(uid, &error);
        }
    }

    /// The namespace that came as a descriptor. The caller's path may be one of another mount namespace: it counts only
    /// where it leads to the same namespace here.
    fn handed_over(&self, fd: OwnedFd, path: Option<PathBuf>) -> Result<PodNetns, EnrolError> {
        let netns = PodNetns::from_fd(fd, path.clone());
        let netns = netns.map_err(|source| EnrolError::Netns { path: path.unwrap_or_default(), source })?;
        if netns.path().is_some() && netns.is_mounted() {
            return Ok(netns);
        }
        let is_it = |it: &PodNetns| it.inode() == netns.inode();
        let found = self.namespaces.look().ok().and_then(|mut it| it.take_known(is_it));
        Ok(found.unwrap_or_else(|| netns.without_path()))
    }

    fn find_netns(&self, pod: &Pod) -> Result<PodNetns, EnrolError> {
        let found = self.namespaces.look();
        let path = || self.namespaces.path().to_owned();
        let found = found.map_err(|source| EnrolError::Netns { path: path(), source });
        found?.take(&pod.addresses).ok_or(EnrolError::NetnsUnknown)
    }

    /// Notes why a pod is not captured as it should be.
    pub(super) fn note(&mut self, pod: Pod, error: &EnrolError) {
        let uid = pod.uid.clone();
        if self.enrolled.contains_key(&uid) {
            return self.note_enrolled(&uid, error);
        }
        let reason = describe(error);
        let known = self.failed.get(&uid).is_some_and(|it| it.reason == reason);
        if !known {
            tracing::warn!(pod = %uid, name = pod.name, error = reason, "pod is not captured");
            self.changed = true;
            let record = self.failed.remove(&uid).and_then(|it| it.record);
            self.failed.insert(uid, Failure { pod, reason, record });
        }
    }

    fn note_enrolled(&mut self, uid: &PodUid, error: &EnrolError) {
        if let Some(pod) = self.enrolled.get_mut(uid) {
            let problem = describe(error);
            tracing::warn!(pod = %uid, error = problem, "capture is not as it should be");
            pod.note_problem(problem);
            self.changed = true;
        }
    }
}

/// How often counters of UDP are read: a tenth of a millisecond for each pod.
const COUNT_PERIOD: Duration = Duration::from_secs(5);
/// How often capture is tried again where it failed.
const RETRY_PERIOD: Duration = Duration::from_secs(2);
