//! Which pods each node captures, in a folder that all nodes share.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What all nodes report.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reported {
    nodes: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Pods that are captured by proxies of their own.
    themselves: BTreeSet<Arc<str>>,
}

/// A folder with one file for each node, `<node>.json`, and one for each pod with a proxy of its own, `pod_<uid>.json`: no
/// node's name has such a line in it.
#[derive(Debug)]
pub struct StatusFolder {
    path: PathBuf,
    /// What was last read: a file that cannot be read says what it said before.
    last: Reported,
}

/// Why a node's report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The node's name cannot be that of a file.
    #[error("{node:?} is not the name of a node")]
    Name {
        /// The name.
        node: String,
    },
    /// The folder or file cannot be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// The content of a node's file.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Report {
    /// Uids of the pods that it captures.
    pods: BTreeSet<Arc<str>>,
}

impl Reported {
    /// Whether that node captures that pod, or the pod's own proxy does.
    pub fn captures(&self, node: &str, pod_uid: &str) -> bool {
        self.of_node(node, pod_uid) || self.themselves.contains(pod_uid)
    }

    fn of_node(&self, node: &str, pod_uid: &str) -> bool {
        self.nodes.get(node).is_some_and(|pods| pods.contains(pod_uid))
    }

    /// What the file of that name said.
    fn said_by(&self, name: &str) -> Option<BTreeSet<Arc<str>>> {
        match name.strip_prefix(POD) {
            Some(uid) => self.themselves.get(uid).map(|uid| BTreeSet::from([uid.clone()])),
            None => self.nodes.get(name).cloned(),
        }
    }

    /// Uids of the pods that are reported here and not there, or by another node.
    pub(crate) fn different<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a str> {
        let nodes = self.nodes.keys().chain(other.nodes.keys());
        let pods = |reported: &'a Self, node| reported.nodes.get(node).into_iter().flatten();
        let of_node = |node: &'a Arc<str>| {
            let only = |one: &'a Self, other: &'a Self| {
                pods(one, node).filter(move |pod| !other.of_node(node, pod)).map(|pod| &**pod)
            };
            only(self, other).chain(only(other, self))
        };
        let themselves = self.themselves.symmetric_difference(&other.themselves).map(|pod| &**pod);
        nodes.flat_map(of_node).chain(themselves).collect()
    }

    /// Adds what a node reports.
    #[must_use]
    pub fn with(mut self, node: &str, pod_uids: impl IntoIterator<Item = Arc<str>>) -> Self {
        self.nodes.insert(node.into(), pod_uids.into_iter().collect());
        self
    }

    /// Adds what a pod's own proxy reports.
    #[must_use]
    pub fn with_itself(mut self, pod_uid: &str) -> Self {
        self.themselves.insert(pod_uid.into());
        self
    }
}

impl StatusFolder {
    /// The folder at `path`; it need not be there yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, last: Reported::default() }
    }

    /// Says which pods `node` captures, in place of what it said before. A reader sees the old report or the new one,
    /// whole.
    ///
    /// # Errors
    /// When the folder cannot be made or written, or the name is no node's.
    pub fn report<'a>(
        &self,
        node: &str,
        pod_uids: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), ReportError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let is_pods = node.starts_with(POD);
        if node.is_empty() || node.starts_with('.') || is_pods || !node.chars().all(is_allowed) {
            return Err(ReportError::Name { node: node.to_owned() });
        }
        self.write(node, pod_uids)
    }

    /// Says that a pod is captured by a proxy of its own.
    ///
    /// # Errors
    /// When the folder cannot be made or written, or the uid is no pod's.
    pub fn report_itself(&self, pod_uid: &str) -> Result<(), ReportError> {
        self.write(&own_name(pod_uid)?, [pod_uid])
    }

    /// Says that no proxy of its own captures a pod any more. That none did is no error.
    ///
    /// # Errors
    /// When the folder cannot be written, or the uid is no pod's.
    pub fn withdraw_itself(&self, pod_uid: &str) -> Result<(), ReportError> {
        let path = self.path.join(format!("{}.json", own_name(pod_uid)?));
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(ReportError::Write { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Uids of the pods of which a proxy of their own says that it captures them, as their files are called.
    pub fn themselves(&self) -> BTreeSet<String> {
        let files = fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.path());
        files.filter_map(|path| Some(node(&path)?.strip_prefix(POD)?.to_owned())).collect()
    }

    fn write<'a>(&self, node: &str, pod_uids: impl IntoIterator<Item = &'a str>) -> Result<(), ReportError> {
        let report = Report { pods: pod_uids.into_iter().map(Arc::from).collect() };
        let text = serde_json::to_vec(&report).expect("a list of texts is always JSON");
        let write = |path: &Path, result: io::Result<()>| {
            result.map_err(|source| ReportError::Write { path: path.into(), source })
        };
        write(&self.path, fs::create_dir_all(&self.path))?;
        let (file, unfinished) =
            (self.path.join(format!("{node}.json")), self.path.join(format!(".{node}.json")));
        write(&unfinished, fs::write(&unfinished, text))?;
        write(&file, fs::rename(&unfinished, &file))
    }

    /// What all nodes report. A folder that is not there says nothing.
    pub fn read(&mut self) -> Reported {
        let mut reported = Reported::default();
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(node) = node(&path) else { continue };
            let pods = match read(&path) {
                Ok(report) => Some(report.pods),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a node's report cannot be read");
                    self.last.said_by(node)
                }
            };
            match (node.strip_prefix(POD), pods) {
                // It speaks of itself and of nobody else.
                (Some(uid), Some(pods)) => reported.themselves.extend(pods.get(uid).cloned()),
                (None, Some(pods)) => drop(reported.nodes.insert(node.into(), pods)),
                (_, None) => {}
            }
        }
        self.last = reported.clone();
        reported
    }
}

/// What the file of a pod is called that is captured by a proxy of its own.
fn own_name(pod_uid: &str) -> Result<String, ReportError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if pod_uid.is_empty() || !pod_uid.chars().all(is_allowed) {
        return Err(ReportError::Name { node: pod_uid.to_owned() });
    }
    Ok(format!("{POD}{pod_uid}"))
}

fn node(path: &Path) -> Option<&str> {
    let json = path.extension() == Some(OsStr::new("json"));
    path.file_stem()?.to_str().filter(|node| json && !node.starts_with('.'))
}

fn read(path: &Path) -> io::Result<Report> {
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::from)
}

/// What the names of files of pods begin with.
const POD: &str = "pod_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_reports_itself_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut status = StatusFolder::new(folder.path().join("status"));
        status.report_itself("uid-1").unwrap();
        let before = status.read();
        assert!(before.captures("any", "uid-1") && !before.captures("any", "uid-2"));
        status.report("node-1", ["uid-3"]).unwrap();
        assert_eq!(status.themselves(), BTreeSet::from(["uid-1".to_owned()]));
        fs::remove_file(folder.path().join("status/node-1.json")).unwrap();
        let forged = folder.path().join("status/pod_uid-1.json");
        fs::write(&forged, r#"{"pods":["uid-1","uid-2"]}"#).unwrap();
        assert_eq!(status.read(), before);
        fs::write(&forged, "{").unwrap();
        assert_eq!(status.read(), before, "a damaged report says what it said before");
        assert!(status.report("pod_uid-3", ["uid-3"]).is_err() && status.report_itself("a/b").is_err());
        status.withdraw_itself("uid-1").unwrap();
        status.withdraw_itself("uid-1").unwrap();
        assert_eq!(status.read(), Reported::default());
        assert_eq!(before.different(&Reported::default()), BTreeSet::from(["uid-1"]));
    }

    #[test]
    fn every_node_reports_for_itself_and_reads_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut status = StatusFolder::new(folder.path().join("status"));
        assert_eq!(status.read(), Reported::default());
        status.report("node-1", ["a", "b"]).unwrap();
        status.report("node-2", ["c"]).unwrap();
        status.report("node-1", ["b"]).unwrap();
        let reported = status.read();
        assert!(reported.captures("node-1", "b") && reported.captures("node-2", "c"));
        assert!(!reported.captures("node-1", "a") && !reported.captures("node-1", "c"));
    }

    #[test]
    fn a_damaged_report_says_what_it_said_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut status = StatusFolder::new(folder.path().into());
        status.report("node-1", ["a"]).unwrap();
        let good = status.read();
        fs::write(folder.path().join("node-1.json"), "{").unwrap();
        assert_eq!(status.read(), good);
        fs::remove_file(folder.path().join("node-1.json")).unwrap();
        assert_eq!(status.read(), Reported::default());
    }

    #[test]
    fn a_name_never_leaves_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        for bad in ["", "..", "a/b", "../x", ".hidden"] {
            assert!(StatusFolder::new(folder.path().into()).report(bad, []).is_err(), "{bad:?}");
        }
    }
}
