//! The folder that outlives the daemon: one file for each pod that is captured.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Pod, PodUid};
use crate::netns::{NetnsCookie, PodNetns};
use crate::redirect::{CaptureOptions, CapturePhase, Marks, RulesDigest, RulesetDigest};

/// What must be known of a captured pod to find it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Layout of this file.
    pub(super) version: u32,
    /// Who it is.
    pub(super) pod: Pod,
    /// Where its namespace was mounted, if that was known.
    pub(super) netns_path: Option<PathBuf>,
    /// The namespace's inode: the path may lead to another one by now.
    pub(super) netns_inode: u64,
    /// What tells it from a later one with that inode, where the kernel says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) netns_cookie: Option<NetnsCookie>,
    /// Its marks. They stay, since live connections carry them.
    pub(super) marks: Marks,
    /// How it is captured.
    pub(super) options: CaptureOptions,
    /// Whether it is captured or drains.
    pub(super) phase: CapturePhase,
    /// What the kernel was found to hold after installation; none while that is under way.
    pub(super) digest: Option<RulesDigest>,
    /// What was installed; of an earlier build that did not say, anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made: Option<RulesetDigest>,
}

/// What a later process finds of the pods that this one captured: a folder of records, or nothing.
#[derive(Clone, Debug)]
pub(super) struct Memory(Option<StateFolder>);

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct StateFolder {
    path: PathBuf,
}

/// Why the state folder could not be used.
#[derive(Debug, thiserror::Error)]
#[error("state {} cannot be read or written", path.display())]
pub struct StateError {
    /// Which file or folder.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

impl Record {
    /// Whether that is the pod's namespace. Without a cookie the pod's addresses have to tell: an inode's number is soon
    /// that of another pod's.
    pub(super) fn is_of(&self, netns: &PodNetns) -> bool {
        let is_same = || match self.netns_cookie {
            Some(cookie) => netns.cookie() == Some(cookie),
            None => netns.holds_any(&self.pod.addresses).unwrap_or(false),
        };
        netns.inode() == self.netns_inode && is_same()
    }
}

impl Memory {
    /// Remembers pods in a folder, which is made if there is none.
    pub(super) fn folder(path: &Path) -> Result<Self, StateError> {
        Ok(Self(Some(StateFolder::open(path)?)))
    }

    /// Remembers nothing: whoever comes next knows by itself which pod is its own.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// As [`StateFolder::write`].
    pub(super) fn write(&self, record: &Record) -> Result<(), StateError> {
        self.0.as_ref().map_or(Ok(()), |folder| folder.write(record))
    }

    /// As [`StateFolder::forget`].
    pub(super) fn forget(&self, uid: &PodUid) -> Result<(), StateError> {
        self.0.as_ref().map_or(Ok(()), |folder| folder.forget(uid))
    }

    /// As [`StateFolder::read`].
    pub(super) fn read(&self) -> Result<(Vec<Record>, Vec<StateError>), StateError> {
        self.0.as_ref().map_or_else(|| Ok(Default::default()), StateFolder::read)
    }
}

impl StateFolder {
    /// Makes the folder if there is none. Only root may look inside: the files hold the pods' marks.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| StateError { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned() })
    }

    /// Writes the record: a reader, or the next process, sees all of it or what was there before.
    pub(super) fn write(&self, record: &Record) -> Result<(), StateError> {
        let path = self.file(&record.pod.uid);
        let draft = self.path.join(format!(".{}{DRAFT}", record.pod.uid));
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            fs::rename(&draft, &path)
        };
        write().map_err(|source| {
            // A folder that is full has no room for halves.
            let _none_was_made = fs::remove_file(&draft);
            StateError { path, source }
        })
    }

    /// Forgets the pod. That it is forgotten already is no error.
    pub(super) fn forget(&self, uid: &PodUid) -> Result<(), StateError> {
        let path = self.file(uid);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StateError { path, source }),
            _ => Ok(()),
        }
    }

    /// Every record, and the files that are none with the reason. Drafts of a process that died are removed.
    pub(super) fn read(&self) -> Result<(Vec<Record>, Vec<StateError>), StateError> {
        let folder = |source| StateError { path: self.path.clone(), source };
        let (mut records, mut broken) = (Vec::new(), Vec::new());
        let paths = fs::read_dir(&self.path).and_then(|all| all.map(|entry| Ok(entry?.path())).collect());
        let paths: Vec<_> = paths.map_err(folder)?;
        for path in paths {
            if path.extension().is_some_and(|it| it == &DRAFT[1..]) {
                let _harmless = fs::remove_file(&path);
                continue;
            }
            match read(&path) {
                Ok(record) => records.push(record),
                Err(source) => broken.push(StateError { path, source }),
            }
        }
        records.sort_by(|a, b| a.pod.uid.cmp(&b.pod.uid));
        Ok((records, broken))
    }

    fn file(&self, uid: &PodUid) -> PathBuf {
        self.path.join(uid.as_str())
    }
}

fn read(path: &Path) -> io::Result<Record> {
    let record: Record = serde_json::from_reader(io::BufReader::new(File::open(path)?))?;
    if record.version == VERSION { Ok(record) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Layout of the files.
pub(super) const VERSION: u32 = 1;
/// Ending of files that are being written.
const DRAFT: &str = ".draft";

#[cfg(test)]
mod tests {
    use super::*;

    fn record(uid: &str) -> Record {
        let uid = PodUid::try_from(uid.to_owned()).unwrap();
        let (name, namespace) = ("web".to_owned(), "shop".to_owned());
        let addresses = vec!["10.0.0.1".parse().unwrap()];
        Record {
            version: VERSION,
            pod: Pod { uid, name, namespace, service_account: None, addresses },
            netns_path: Some("/run/netns/x".into()),
            netns_inode: 7,
            netns_cookie: None,
            marks: Marks::random().unwrap(),
            options: CaptureOptions::default(),
            phase: CapturePhase::Capturing,
            digest: None,
            made: None,
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(&folder.path().join("pods")).unwrap();
        let (one, two) = (record("a"), record("b"));
        state.write(&two).unwrap();
        state.write(&one).unwrap();
        state.write(&one).unwrap();
        assert_eq!(state.read().unwrap().0, [one.clone(), two.clone()]);
        state.forget(&one.pod.uid).unwrap();
        state.forget(&one.pod.uid).unwrap();
        assert_eq!(state.read().unwrap().0, [two]);
    }

    #[test]
    fn half_written_and_foreign_files_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        state.write(&record("a")).unwrap();
        fs::write(folder.path().join(".b.draft"), "{").unwrap();
        fs::write(folder.path().join("c"), "{").unwrap();
        let (records, broken) = state.read().unwrap();
        assert_eq!((records.len(), broken.len()), (1, 1));
        assert!(!folder.path().join(".b.draft").exists());
    }
}
