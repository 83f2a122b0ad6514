//! Where the root is, to be read and changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cluster::kubernetes::{Kubernetes, NamespacedName, StoredSecret, Written};
use zeroize::Zeroizing;

use super::RotateError;
use crate::ca::config::CaServerConfig;
use crate::ca::files::{self, FileError, Readers};
use crate::ca::root::{BROUGHT_KEY, ROOT_CERTIFICATE, ROOT_KEY, RootFiles};

/// A folder or a Secret.
pub(super) enum Place<'a> {
    Folder(PathBuf),
    Secret { kubernetes: &'a Kubernetes, name: &'a NamespacedName },
}

/// What was read there.
pub(super) struct Held {
    pub(super) place: String,
    entries: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// Of a Secret.
    seen: Option<StoredSecret>,
}

/// One change, in an order in which an interruption leaves what can be gone on with.
pub(super) enum Change {
    Put(&'static str, Zeroizing<Vec<u8>>),
    Remove(&'static str),
}

impl<'a> Place<'a> {
    pub(super) fn of(config: &'a CaServerConfig, kubernetes: Option<&'a Kubernetes>) -> Self {
        match (&config.root.secret, kubernetes) {
            (Some(name), Some(kubernetes)) => Self::Secret { kubernetes, name },
            _ => Self::Folder(config.root.folder.clone()),
        }
    }

    pub(super) async fn read(&self) -> Result<Held, RotateError> {
        let place = match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Secret { name, .. } => format!("Secret {name}"),
        };
        let mut entries = BTreeMap::new();
        let seen = match self {
            Self::Folder(folder) => {
                for name in [ROOT_CERTIFICATE, ROOT_KEY, BROUGHT_KEY, NEXT_KEY, NOTE] {
                    let read = files::read(&folder.join(name))?;
                    entries.extend(read.map(|text| (name.to_owned(), Zeroizing::new(text))));
                }
                None
            }
            Self::Secret { kubernetes, name } => {
                let seen = kubernetes.secret(name).await?;
                let all = seen.iter().flat_map(|seen| &seen.entries);
                entries.extend(all.map(|(name, text)| (name.clone(), Zeroizing::new(text.clone()))));
                seen
            }
        };
        Ok(Held { place, entries, seen })
    }

    /// Changes what was read as `held`. A Secret changes as a whole, or not at all.
    pub(super) async fn write(&self, held: &Held, changes: Vec<Change>) -> Result<(), RotateError> {
        match (self, &held.seen) {
            (Self::Folder(folder), _) => {
                for change in changes {
                    match change {
                        Change::Put(name, text) => {
                            let readers =
                                if name == ROOT_CERTIFICATE { Readers::All } else { Readers::Owner };
                            files::write(&folder.join(name), &text, readers)?;
                        }
                        Change::Remove(name) => remove(&folder.join(name))?,
                    }
                }
                Ok(())
            }
            (Self::Secret { kubernetes, name }, Some(seen)) => {
                let mut entries = seen.entries.clone();
                for change in changes {
                    match change {
                        Change::Put(name, text) => drop(entries.insert(name.to_owned(), text.to_vec())),
                        Change::Remove(name) => drop(entries.remove(name)),
                    }
                }
                match kubernetes.replace_secret(name, seen, entries).await? {
                    Written::Done => Ok(()),
                    Written::Raced => Err(RotateError::Raced { place: held.place.clone() }),
                }
            }
            // Without a Secret there is no root in it, and nothing to change was found.
            (Self::Secret { .. }, None) => Ok(()),
        }
    }
}

impl Held {
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.entries.get(name).map(|text| &***text)
    }

    /// The same, as the CA reads it.
    pub(super) fn files(&self) -> RootFiles {
        RootFiles::of_entries(&self.place, |name| self.get(name).map(<[u8]>::to_vec))
    }

    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }
}

#[cfg(test)]
impl Held {
    /// As if it had been read from a folder.
    pub(super) fn of(entries: &[(&str, &[u8])]) -> Self {
        let entry = |(name, text): &(&str, &[u8])| ((*name).to_owned(), Zeroizing::new(text.to_vec()));
        Self { place: "folder".to_owned(), entries: entries.iter().map(entry).collect(), seen: None }
    }

    /// What it is after that.
    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put(name, text) => drop(self.entries.insert(name.to_owned(), text)),
                Change::Remove(name) => drop(self.entries.remove(name)),
            }
        }
    }
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::on("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The key of the root that is to sign.
pub(super) const NEXT_KEY: &str = "next-key.pem";

/// What was done when.
pub(super) const NOTE: &str = "rotation.json";
