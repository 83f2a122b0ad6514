//! Making a root, once.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use certs::Authority;
use nix::fcntl::{Flock, FlockArg};
use rustls_pki_types::UnixTime;
use zeroize::Zeroizing;

use super::{ROOT_CERTIFICATE, ROOT_KEY, Root, RootError, RootFolder};
use crate::ca::files::{self, FileError, Readers};

/// What a root is like that does not exist yet.
#[derive(Clone, Debug)]
pub struct NewRoot {
    /// The organisation that its certificate names.
    pub name: String,
    /// How long it lasts.
    pub lifetime: Duration,
}

/// The root in `folder`, which is made if there is none. Of several processes that come at once, one makes it, and all
/// return it. Blocks while another one is at it.
///
/// # Errors
/// When there is a root that is unusable, or none can be written.
pub fn ensure(folder: &Path, new: &NewRoot, now: UnixTime) -> Result<Root, RootError> {
    fs::create_dir_all(folder).map_err(FileError::on("make", folder))?;
    match RootFolder::read(folder)?.root(now) {
        Err(RootError::Absent { .. } | RootError::Half { .. }) => {}
        root => return root,
    }
    let _lock = lock(&folder.join(LOCK))?;
    // Another one may have made it meanwhile.
    let found = RootFolder::read(folder)?;
    match found.root(now) {
        Err(RootError::Absent { .. } | RootError::Half { .. }) => {}
        root => return root,
    }
    let authority = |source| RootError::Authority { folder: folder.to_owned(), source };
    let (key, certificate) = match (&found.key, &found.roots) {
        // Killed between the two files: the key that is there is kept, whatever it may have signed.
        (Some(key), None) if found.key_path == folder.join(ROOT_KEY) => {
            let key = str::from_utf8(key).map_err(|_| RootError::Key { path: found.key_path.clone() })?;
            let certificate =
                Authority::root_for_key(key, &new.name, new.lifetime, now).map_err(authority)?;
            (None, certificate)
        }
        (None, None) => {
            let made = Authority::make_root(&new.name, new.lifetime, now).map_err(authority)?;
            (Some(made.key), made.certificate)
        }
        _ => return found.root(now),
    };
    write(folder, key.as_ref(), &certificate)?;
    tracing::info!(folder = %folder.display(), name = new.name, "root made");
    RootFolder::read(folder)?.root(now)
}

/// The certificate comes last: who sees it sees its key.
fn write(folder: &Path, key: Option<&Zeroizing<String>>, certificate: &str) -> Result<(), FileError> {
    if let Some(key) = key {
        files::write(&folder.join(ROOT_KEY), key.as_bytes(), Readers::Owner)?;
    }
    files::write(&folder.join(ROOT_CERTIFICATE), certificate.as_bytes(), Readers::All)
}

/// A lock that ends with the process, however it ends.
fn lock(path: &Path) -> Result<Flock<fs::File>, FileError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(FileError::on("open", path))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| FileError::on("lock", path)(error.into()))
}

const LOCK: &str = ".lock";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn those_who_come_at_once_get_one_root() {
        let folder = tempfile::tempdir().unwrap();
        let (path, start) = (folder.path(), Barrier::new(8));
        let roots: Vec<_> = thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        ensure(path, &new(), UnixTime::now()).unwrap().authority.root().clone()
                    })
                })
                .collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(roots.iter().all(|root| *root == roots[0]));
        let names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "lock, key and certificate: {names:?}");
    }

    #[test]
    fn the_key_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        ensure(folder.path(), &new(), UnixTime::now()).unwrap();
        let mode = |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(ROOT_KEY), 0o600);
        assert_eq!(mode(ROOT_CERTIFICATE) & 0o444, 0o444);
    }

    #[test]
    fn a_maker_that_was_killed_half_way_leaves_a_key_that_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        ensure(folder.path(), &new(), UnixTime::now()).unwrap();
        let key = fs::read(folder.path().join(ROOT_KEY)).unwrap();
        fs::remove_file(folder.path().join(ROOT_CERTIFICATE)).unwrap();
        ensure(folder.path(), &new(), UnixTime::now()).unwrap();
        assert_eq!(fs::read(folder.path().join(ROOT_KEY)).unwrap(), key);
    }

    #[test]
    fn a_certificate_without_its_key_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        ensure(folder.path(), &new(), UnixTime::now()).unwrap();
        fs::remove_file(folder.path().join(ROOT_KEY)).unwrap();
        let refused = ensure(folder.path(), &new(), UnixTime::now()).unwrap_err();
        assert!(matches!(refused, RootError::Half { path } if path.ends_with(ROOT_KEY)));
    }

    #[test]
    fn a_broken_root_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        ensure(folder.path(), &new(), UnixTime::now()).unwrap();
        fs::write(folder.path().join(ROOT_KEY), "broken").unwrap();
        assert!(matches!(ensure(folder.path(), &new(), UnixTime::now()), Err(RootError::Authority { .. })));
    }

    fn new() -> NewRoot {
        NewRoot { name: "cluster.local".to_owned(), lifetime: Duration::from_hours(24) }
    }
}
