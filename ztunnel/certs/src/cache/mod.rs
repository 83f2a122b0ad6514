//! Leaf keys with their certificates, kept on a tmpfs, so that a daemon that restarts while its CA is away still serves.
//!
//! Whoever is root on the node can read them there, as it can read them in the daemon's memory; nobody else can. They
//! are gone with the node's power, unless the node swaps its tmpfs to a disk. What is kept is a stopgap: it is put to
//! use only as long as nothing better can be had.
//!
//! [`entry`]: what a file holds.

mod entry;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use identity::SpiffeId;
use nix::libc::{O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use nix::unistd::geteuid;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::credential::Credential;
use crate::describe;
pub(crate) use entry::Kept;
use entry::{MAX_LENGTH, encode};

/// A folder on a tmpfs that only its owner, the daemon, can enter.
#[derive(Debug)]
pub struct CredentialCache {
    path: PathBuf,
    /// What was checked is what is used, whatever becomes of the path.
    folder: File,
}

/// Why a folder is no place for keys.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Others may look into it.
    #[error("folder of keys {path} has mode {mode:o}: want 700", path = path.display())]
    Exposed {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It cannot be made or opened.
    #[error("folder of keys {path} cannot be used", path = path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// What is written there would survive on a disk.
    #[error("folder of keys {path} is not on a tmpfs", path = path.display())]
    NotOnTmpfs {
        /// The folder.
        path: PathBuf,
    },
    /// It is somebody else's.
    #[error("folder of keys {path} belongs to user {owner}", path = path.display())]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
}

/// Why a file in the folder is not read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("it has mode {mode:o} and belongs to user {owner}: others may have written it")]
    Exposed { mode: u32, owner: u32 },
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it is not one of ours")]
    Malformed,
}

impl CredentialCache {
    /// The folder at `path`, which is made if there is none.
    ///
    /// # Errors
    /// When it is not on a tmpfs, or not the daemon's alone.
    pub fn open(path: &Path) -> Result<Self, CacheError> {
        let io = |source| CacheError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(io)?;
        let folder = OpenOptions::new().read(true).custom_flags(O_DIRECTORY | O_NOFOLLOW).open(path);
        let folder = folder.map_err(io)?;
        let kind = fstatfs(&folder).map_err(|errno| io(errno.into()))?.filesystem_type();
        if ![TMPFS_MAGIC, RAMFS_MAGIC].contains(&kind) {
            return Err(CacheError::NotOnTmpfs { path: path.to_owned() });
        }
        let metadata = folder.metadata().map_err(io)?;
        let (owner, mode) = (metadata.uid(), metadata.mode() & MODE_BITS);
        if owner != geteuid().as_raw() {
            return Err(CacheError::Owner { path: path.to_owned(), owner });
        }
        if mode != FOLDER_MODE {
            return Err(CacheError::Exposed { path: path.to_owned(), mode });
        }
        Ok(Self { path: path.to_owned(), folder })
    }

    /// What is kept for an identity. What cannot be one of our own files is left out, and said.
    pub(crate) fn load(&self, identity: &SpiffeId) -> Option<Kept> {
        let read = self.read(&file_name(identity));
        match read.and_then(|bytes| Kept::parse(&bytes).ok_or(ReadError::Malformed)) {
            Ok(kept) => Some(kept),
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let (folder, cause) = (self.path.display(), describe(&error));
                tracing::warn!(%identity, %folder, cause, "kept certificate is not used");
                None
            }
        }
    }

    /// Keeps what an identity has, instead of what was kept for it before, with the roots that came with it.
    pub(crate) fn keep(&self, credential: &Credential, roots: &[CertificateDer<'static>]) {
        let identity = &credential.leaf().identity;
        if let Err(error) = self.write(&file_name(identity), &encode(credential, roots)) {
            tracing::warn!(%identity, folder = %self.path.display(), %error, "certificate is not kept");
        }
    }

    /// Forgets an identity.
    pub(crate) fn forget(&self, identity: &SpiffeId) {
        self.remove(&file_name(identity));
    }

    /// Forgets everything but these identities.
    pub(crate) fn retain(&self, identities: &BTreeSet<SpiffeId>) {
        let wanted: BTreeSet<_> = identities.iter().map(file_name).collect();
        let names = fs::read_dir(self.at("")).into_iter().flatten().flatten().map(|entry| entry.file_name());
        for name in names.filter_map(|name| name.into_string().ok()).filter(|name| !wanted.contains(name)) {
            self.remove(&name);
        }
    }

    fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let mut file =
            OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(self.at(name))?;
        let metadata = file.metadata()?;
        let (owner, mode) = (metadata.uid(), metadata.mode() & MODE_BITS);
        if owner != geteuid().as_raw() || mode != FILE_MODE {
            return Err(ReadError::Exposed { mode, owner });
        }
        let length = usize::try_from(metadata.len()).ok().filter(|length| *length <= MAX_LENGTH);
        let length = length.filter(|_| metadata.is_file()).ok_or(ReadError::Malformed)?;
        let mut bytes = Zeroizing::new(vec![0; length]);
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let temporary = self.at(&format!("{name}.new"));
        let _none = fs::remove_file(&temporary);
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&temporary);
        let written = file.and_then(|mut file| file.write_all(content));
        let written = written.and_then(|()| fs::rename(&temporary, self.at(name)));
        if written.is_err() {
            let _none = fs::remove_file(&temporary);
        }
        written
    }

    fn remove(&self, name: &str) {
        match fs::remove_file(self.at(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(folder = %self.path.display(), name, %error, "kept certificate cannot be removed");
            }
            _ => {}
        }
    }

    /// The path of a file in the very folder that was checked.
    fn at(&self, name: &str) -> PathBuf {
        Path::new("/proc/self/fd").join(self.folder.as_raw_fd().to_string()).join(name)
    }
}

/// Identities have characters that file names have not.
fn file_name(identity: &SpiffeId) -> String {
    let digest = digest::digest(&digest::SHA256, identity.as_str().as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Like a tmpfs, but never swapped. nix does not name it.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const MODE_BITS: u32 = 0o7777;

#[cfg(test)]
mod tests;
