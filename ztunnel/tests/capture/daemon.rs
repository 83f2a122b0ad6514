//! Enrolment as a daemon runs it, with its events recorded.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use tempfile::TempDir;
use ztunnel::enrol::{
    CaptureEvents, CapturedPod, DesiredPod, EnrolConfig, EnrolHandle, Pod, PodStatus, PodUid, start,
};
use ztunnel::redirect::CaptureOptions;

use crate::lab::{Lab, PATIENCE};

/// A daemon's enrolment with its files in a folder of its own.
pub(crate) struct Daemon {
    folder: TempDir,
    events: Receiver<Event>,
    handle: Option<EnrolHandle>,
}

#[derive(Debug)]
pub(crate) enum Event {
    Captured(Box<CapturedPod>),
    Draining(PodUid),
    Gone(PodUid),
    Report(Vec<PodStatus>),
}

struct Recorder(Sender<Event>);

impl CaptureEvents for Recorder {
    fn captured(&mut self, pod: CapturedPod) {
        self.note(Event::Captured(Box::new(pod)));
    }

    fn draining(&mut self, uid: &PodUid) {
        self.note(Event::Draining(uid.clone()));
    }

    fn gone(&mut self, uid: &PodUid) {
        self.note(Event::Gone(uid.clone()));
    }

    fn report(&mut self, pods: &[PodStatus]) {
        self.note(Event::Report(pods.to_vec()));
    }
}

impl Recorder {
    fn note(&self, event: Event) {
        let _test_is_over = self.0.send(event);
    }
}

impl Daemon {
    /// A daemon that finds the pod's namespace in its folder.
    pub(crate) fn new(lab: &Lab) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("netns")).unwrap();
        std::os::unix::fs::symlink(lab.pod_path(), folder.path().join("netns/pod")).unwrap();
        let mut this = Self { folder, events: channel().1, handle: None };
        this.start();
        this
    }

    pub(crate) fn start(&mut self) {
        let path = |name: &str| self.folder.path().join(name);
        let (sender, events) = channel();
        let config = EnrolConfig {
            socket: path("enrol.sock"),
            state: path("state"),
            netns: path("netns"),
            ..EnrolConfig::default()
        };
        self.events = events;
        self.handle = Some(start(config, Recorder(sender)).unwrap());
    }

    /// Ends without tidying up, as a killed process does.
    pub(crate) fn stop(&mut self) {
        self.handle = None;
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("enrol.sock")
    }

    pub(crate) fn records(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("state")).unwrap().count()
    }

    /// Takes the folder away in which pods are remembered.
    pub(crate) fn lose_state_folder(&self) {
        std::fs::remove_dir_all(self.folder.path().join("state")).unwrap();
    }

    /// Forges what is remembered of a pod.
    pub(crate) fn rewrite_record(&self, uid: &str, forge: impl FnOnce(&str) -> String) {
        let path = self.folder.path().join("state").join(uid);
        let record = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, forge(&record)).unwrap();
    }

    pub(crate) fn desire(&self, pod: Pod, enrolled: bool, options: CaptureOptions) {
        self.handle.as_ref().unwrap().desire(vec![DesiredPod { pod, enrolled, options }]);
    }

    /// The next event that `wanted` knows.
    pub(crate) fn await_event<T>(&self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap();
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    pub(crate) fn await_captured(&self) -> CapturedPod {
        self.await_event(|event| match event {
            Event::Captured(pod) => Some(*pod),
            _ => None,
        })
    }

    pub(crate) fn await_gone(&self) -> PodUid {
        self.await_event(|event| match event {
            Event::Gone(uid) => Some(uid),
            _ => None,
        })
    }

    pub(crate) fn await_status(&self, wanted: impl Fn(&PodStatus) -> bool) -> PodStatus {
        self.await_event(|event| match event {
            Event::Report(pods) => pods.into_iter().find(|it| wanted(it)),
            _ => None,
        })
    }
}
